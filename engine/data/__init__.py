"""From a window to batches."""

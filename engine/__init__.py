"""The engine: from a window of fresh data to a verified version in Triton. Begin with `cycle.py`."""

"""The contract of a stream's windows: what they must meet, what of it is learnt, and what becomes of a window that breaks it."""

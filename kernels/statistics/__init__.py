"""Statistics of drift, one file each, the function named as its file: its method, paper, shapes, units and an example are there.

All are pure functions of counts, sorted values or moments, NumPy's or CuPy's. Where counts are [..., k], the last axis holds the
bins and the answer has the axes before it. To add a statistic, add a file here and a test of the same name.
"""

"""The peers again, over columns of words, booleans and dates; asked as `benchmarks.peers` says, in the same environments.

The two tables are codes, int32 [rows, columns], -1 for a missing value, which every environment can load. Before the clock starts
each peer makes of them the columns that it takes; `benchmarks.peers.categories.columns` says what the codes stand for.
"""

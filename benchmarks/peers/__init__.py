"""Ours and its peers, one file each, all asked alike.

A peer is a process of its own in an environment of its own. It loads the same two tables, makes ready what it can keep of the
reference, and then answers: a line on its standard input names one of its calls, a line of JSON on its standard output says how
long the call took, how much memory, and what came out. Before a call is timed it is done once on the tables' first rows.

`NAME.py` holds `statistics(reference, current)`: what to keep of the reference, and the calls over the current table, written the
way the peer's documentation shows (its docstring says on which page). `NAME.txt` pins the peer's environment whole. `beside` asks
a peer and ours in turn.
"""

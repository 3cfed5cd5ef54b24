"""A stream's history as one HTML file that needs nothing else: `warmstart report`.

`history` reads the ledger, `charts` draws, `document` arranges. No library and no script at the time of reading.
"""

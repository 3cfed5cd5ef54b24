"""pytest collects doctests here; `backends` imports what exists only inside the embedded server."""

collect_ignore = ["backends"]

"""What can go wrong between this process and a model server, in three words a caller can act on."""

from __future__ import annotations


class Unreachable(RuntimeError):
    """No answer from the server in time. Nothing is known to be wrong with the model: try again later."""


class Refused(RuntimeError):
    """The server answered no, in its own words. Trying again with the same files or inputs ends the same way."""


class CannotStart(RuntimeError):
    """The embedded server cannot run here, or not from this runtime; the message says what to do."""


class Incomplete(Refused):
    """A version folder that no server may be asked to load."""

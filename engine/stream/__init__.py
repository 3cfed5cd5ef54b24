"""The steps of a cycle: what each line of `cycle.py` does for one stream and one window, by stage."""

from __future__ import annotations

from engine.stream.answering import Answering
from engine.stream.arriving import Arriving
from engine.stream.challenging import Challenging
from engine.stream.deciding import Deciding
from engine.stream.ending import Ending


class Stream(Arriving, Answering, Deciding, Challenging, Ending):
    """One stream at work on one cycle. Every method is a step: it may be run again and ends in the same state."""

"""How one window is carried from arrival to a live endpoint. Read this page first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from engine.intact import WindowLost
from engine.ledger.steps import Steps
from engine.nouns import Closing, JobFailure, Window
from engine.stream import Stream


def carry(
    window: Window, steps: Steps, current: Mapping[str, Any], wire: Callable[[Mapping[str, Any]], Stream], latest: bool
) -> Closing:
    """Carry one window to its Outcome. Killed anywhere and called again, it does what is left, once.

    `current` is the resolved configuration of today; the one that this cycle began with is what counts. `latest` is False for a
    window with newer ones behind it. Raises LabelsPending, with the cycle left open, while the window's labels are still to come.
    """
    stream = wire(steps("configuration", recorded, current))
    try:
        return story(window, steps, stream, latest)
    except WindowLost as lost:  # gone or changed under our hands
        return steps("close", stream.lose, lost)


def story(window: Window, steps: Steps, stream: Stream, latest: bool) -> Closing:
    """Every line is a step: done once to its end, remembered by the ledger, safe to run again when it was interrupted."""
    champion = steps("champion", stream.champion)

    breaches = steps("validate", stream.validate, window, champion, latest)
    if breaches and not stream.accepted(breaches):
        return steps("close", stream.quarantine, window, breaches)
    if not breaches and stream.learns():
        steps("learn", stream.learn, window)

    asked = champion
    said = steps("predict", stream.predict, window) if champion else None
    watch = steps("watch", stream.watch, window, champion, said) if champion and said and stream.watches else None
    drift = steps("drift", stream.compare, window, champion, said, watch) if champion and said else None

    if stream.labels_come_later:  # maybe in weeks, and with another champion by then
        labelled = steps("label", stream.label, window)
        if labelled.breaches:
            return steps("close", stream.quarantine, window, labelled.breaches)
        window = labelled.window
        champion = steps("champion.labelled", stream.champion)

    live = steps("score", stream.score, window, said, asked) if said and asked else None
    decision = steps("decide", stream.decide, window, champion, drift, live, latest)
    if not decision.retrain:
        return steps("close", stream.keep, champion, decision)

    challenger = steps("train", stream.train, window, champion)
    if isinstance(challenger, JobFailure):
        return steps("close", stream.give_up, challenger)

    for turn in count(1):  # a second turn only when the champion changed meanwhile
        rival = champion if turn == 1 else steps(f"champion.{turn}", stream.champion)

        card = steps(f"judge.{turn}", stream.judge, window, challenger, rival, champion)
        quality = steps(f"quality.{turn}", stream.gate.judge, card)
        if not quality.passed and turn == 1:
            return steps("close", stream.reject, None, quality)

        version = steps("register", stream.register, window, challenger, champion, card, quality)
        if not quality.passed:
            return steps("close", stream.reject, version, quality)

        served = steps(f"stage.{turn}", stream.stage, version, challenger)
        safety = steps(f"verify.{turn}", stream.gate.verify, served)
        if not safety.passed:
            return steps("close", stream.reject, version, safety)

        if stream.require_approval:
            return steps("close", stream.wait, version, "approval is required (`stream.require_approval`)")

        release = steps(f"release.{turn}", stream.release, version, rival)
        if release.state == "held":
            return steps("close", stream.wait, version, release.reason)
        if release.state != "stale":
            return steps("close", stream.conclude, release, decision, card)

    raise AssertionError("unreachable: a release ends the loop")


def recorded(current: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved configuration, as the first record of a cycle: an edited YAML never changes what was begun."""
    return dict(current)

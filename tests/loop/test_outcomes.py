"""Each way in which a window can end, with a real Triton, a real MLflow and real training jobs."""

from __future__ import annotations

from toy import Toy, rows


def test_the_first_window_is_promoted_as_version_1_and_served(empty: Toy):
    empty.land("day-1", rows(1))
    with empty.engine() as engine:
        (closing,) = engine.carry_pending()
        assert empty.answer().version == 1
        assert list(engine.carry_pending()) == []
    assert closing.reason.startswith("there is no champion yet → rmse ")
    assert empty.outcomes() == [("day-1", "promoted", 1)]
    assert empty.aliases() == {"champion": 1}


def test_a_quiet_window_is_kept_and_a_turned_one_promoted(toy: Toy):
    with toy.engine() as engine:
        toy.land("day-2", rows(2))
        (kept,) = engine.carry_pending()
        toy.land("day-3", rows(3, turned=True))
        (promoted,) = engine.carry_pending()
        assert toy.answer().version == 2
    assert kept.reason == "0 columns drifted, 1 needed"
    assert promoted.reason.startswith("drift in ")
    assert toy.outcomes() == [("day-1", "promoted", 1), ("day-2", "kept", 1), ("day-3", "promoted", 2)]
    assert toy.aliases() == {"champion": 2, "previous": 1}

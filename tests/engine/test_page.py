"""The page of a stream: what it says, and that it needs nothing but itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import story
from click.testing import CliRunner

from engine import app
from engine.configuration import ConfigurationError
from engine.ledger import Ledger
from engine.nouns import Closing, Outcome, SliceScore
from engine.page import charts, document, history

VOID = {"meta"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    story.promoted(made, 1, 1)
    story.kept(made, 2, rmse=3.0)
    story.promoted(made, 3, 2, rmse=4.0)
    story.quarantined(made, 4)
    yield made
    made.close()


class Balanced(HTMLParser):
    """Knows which elements are open; a page is whole when none is."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_live_number_is_over_all_rows_with_squares_averaged_as_squares(ledger: Ledger) -> None:
    found = history.read(ledger, "toy")
    live = found.live_values()
    assert live == [None, 3.0, 4.0, None]
    assert found.overall(live, live) == pytest.approx(((9 + 16) / 2) ** 0.5)
    assert (found.metric, found.live.version, found.counts) == ("rmse", 2, {"promoted": 2, "kept": 1, "quarantined": 1})


def test_the_first_model_is_asked_about_scored_windows_and_compared_where_both_have_a_number(ledger: Ledger) -> None:
    asked: list[str] = []

    def first_model(cycles: object) -> dict[str, dict[str, float]]:
        asked.extend(c.window.id for c in cycles)
        return {cycles[0].id: {"rmse": 6.0}}

    found = history.read(ledger, "toy", first_model=first_model)
    assert asked == ["day-2", "day-3"]
    live, first = found.live_values(), found.first_values()
    assert (found.overall(live, first), found.overall(first, live)) == (3.0, 6.0)


def test_only_the_last_attempt_on_a_window_counts_and_every_attempt_is_told(ledger: Ledger) -> None:
    again = ledger.again(story.window(2))
    ledger.record(again, "close", Closing(Outcome.KEPT, "the second time", 2), again.opened)
    found = history.read(ledger, "toy")
    assert [(e.cycle.window.id, e.cycle.attempt) for e in found.windows] == [
        ("day-1", 1),
        ("day-2", 2),
        ("day-3", 1),
        ("day-4", 1),
    ]
    page = document.page(found)
    assert "day-2, attempt 2" in page
    assert "the second time" in page


def test_the_page_is_whole_and_needs_nothing_but_itself(ledger: Ledger) -> None:
    page = document.page(history.read(ledger, "toy"), now=0.0)
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r"<script|<link|<img|https?://|url\(|@import", page)


def test_what_suppliers_write_is_text_and_not_markup(ledger: Ledger) -> None:
    page = document.page(history.read(ledger, "toy"))
    assert "&lt;speed&gt;: the column is missing &amp; nothing else" in page
    assert "<speed>" not in page


def test_the_page_says_first_what_a_person_must_know(ledger: Ledger) -> None:
    ledger.hold("toy", "rolled back by the test")
    ledger.announce("toy", "new tariff", "ann")
    head = document.page(history.read(ledger, "toy")).partition("</header>")[0]
    assert "Version 2 is live since" in head
    assert "Held: rolled back by the test" in head
    assert "The next window retrains: new tariff" in head
    assert "The last window is quarantined: " in head
    assert "4 windows, day-1 to day-4" in head


def test_what_the_fine_tunes_took_is_shown(ledger: Ledger) -> None:
    page = document.page(history.read(ledger, "toy"))
    panel = page[page.index("<h2>Resources of the fine-tunes") :].partition("</section>")[0]
    assert "day-1: 400 MB" in panel
    assert "day-1: 1.5 s" in panel
    assert "On the GPU" not in panel


def test_a_rollback_is_told_among_the_windows(ledger: Ledger) -> None:
    row = ledger.intend("toy", 1, 2, "rollback", None)
    ledger.finish(row, "done", Closing(Outcome.PROMOTED, ""))
    page = document.page(history.read(ledger, "toy"))
    assert "rollback to version 1: done, 2 is out" in page
    assert "Version 1 is live since" in page


def test_drift_is_shown_as_a_share_of_its_limit_the_furthest_column_first(ledger: Ledger) -> None:
    page = document.page(history.read(ledger, "toy"))
    assert page.index('<label title="speed">') < page.index('<label title="load">')
    assert '<rect class="h6"' in page  # 0.5 is 2.5 × its limit of 0.2
    assert "day-3, speed: psi 0.500, limit 0.2, q 2.0e-03, drifted" in page


def test_the_page_tells_what_the_newest_report_notes(ledger: Ledger) -> None:
    cycle = story.opened(ledger, 5)
    ledger.record(cycle, "drift", replace(story.drifted(5, 0.1), notes=("of <samples>",)), cycle.opened)
    ledger.record(cycle, "close", Closing(Outcome.KEPT, "quiet", 2), cycle.opened)
    assert '<p class="soft">day-5: of &lt;samples&gt;</p>' in document.page(history.read(ledger, "toy"))


def test_slices_are_shown_against_all_rows_and_the_worst_is_marked(ledger: Ledger) -> None:
    assert "<h2>Slices" not in document.page(history.read(ledger, "toy"))
    parts = [("a", 500, 1.0, True), ("<b>", 280, 3.0, True), ("rare", 20, 9.0, False)]
    slices = tuple(SliceScore("kind", value, rows, {"rmse": rmse}, enough) for value, rows, rmse, enough in parts)
    story.kept(ledger, 5, rmse=2.0, slices=slices)
    page = document.page(history.read(ledger, "toy"), now=0.0)
    panel = page[page.index("<h2>Slices: rmse, group by group") :].partition("</section>")[0]
    assert [panel.index(f'title="kind={value}"') for value in ("&lt;b&gt;", "a", "rare")] == sorted(
        panel.index(f'title="kind={value}"') for value in ("&lt;b&gt;", "a", "rare")
    )
    assert "day-5, kind=&lt;b&gt;: rmse 3 on 280 rows; all 800: 2; the worst group" in panel
    assert panel.count('class="mark"') == 1
    assert panel.count(" pale") == 1
    assert "day-5, kind: rmse 2 apart, from a to &lt;b&gt;" in panel
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []


def test_a_stream_in_its_first_window_has_a_page_too(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'new.db'}")
    story.opened(ledger, 1)
    page = document.page(history.read(ledger, "toy"))
    ledger.close()
    assert "Nothing is live yet." in page
    assert "Window day-1 is unfinished" in page


def test_older_cycles_are_counted_and_left_out(ledger: Ledger) -> None:
    found = history.read(ledger, "toy", last=2)
    assert [e.cycle.window.id for e in found.windows] == ["day-3", "day-4"]
    assert found.older == 2
    assert "2 older cycles are not shown" in document.page(found)


def test_a_gap_in_a_line_is_a_gap() -> None:
    drawn = charts.lines([charts.Line("x", "live", [1.0, None, 2.0, 3.0], ["", "", "", ""])])
    assert re.findall(r'class="line" d="([^"]*)"', drawn) == ["M0.5 66.67h0M2.5 33.33h0L3.5 0.00"]


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (5.0, 5.0), (-3.0, 7.0), (1e-9, 2e-9), (0.0, 8_760.0)])
def test_a_scale_covers_what_it_is_for(low: float, high: float) -> None:
    ticks = charts.scale(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 7


def test_the_verb_writes_the_file_and_says_where(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stream").mkdir()
    (tmp_path / "stream" / "toy.yaml").write_text(
        "# @package _global_\nstream:\n  name: toy\n  target: wear\n  columns: {speed: number}\n"
        "  source: {_target_: engine.windows.ParquetFolder, folder: windows}\n"
    )
    ended = CliRunner().invoke(app.cli, ["report", f"platform.state={tmp_path}"])
    assert ended.output == f"{tmp_path}/reports/toy.html\n"
    assert "<h1>toy</h1>" in (tmp_path / "reports" / "toy.html").read_text()
    ended = CliRunner().invoke(app.cli, ["report", f"platform.state={tmp_path}/new"])
    assert isinstance(ended.exception, ConfigurationError)
    assert str(ended.exception) == "stream 'toy' has no history yet: `warmstart run stream=toy` begins one"

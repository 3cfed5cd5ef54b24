"""Whatever is misspelt or misplaced in a setting is told in a sentence: where, and what was probably meant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine import settings, wiring
from engine.configuration import ConfigurationError, resolve, resolve_outside
from engine.signatures import NoSuchTarget, parameters

GOOD = """\
# @package _global_
stream:
  name: mine
  source: {_target_: engine.windows.ParquetFolder, folder: windows}
  target: y
  columns: {x: number}
gate: {margin: 0.1}
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stream of one's own in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "stream" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(GOOD)
    return path


def refusal(*overrides: str) -> str:
    """What is said about a configuration, up to the list of what there is."""
    with pytest.raises(ConfigurationError) as refused:
        wiring.parts(resolve(overrides))
    return str(refused.value)


OVERRIDES = {
    "gate.margn=0.1": "gate.margn=0.1: there is no setting 'gate.margn'; did you mean 'gate.margin'? engine.gate.Gate takes ",
    "margin=0.1": "margin=0.1: there is no setting 'margin'; did you mean 'gate.margin'?",
    "tirgger=drift": "tirgger=drift: there is no setting 'tirgger'; did you mean 'trigger'?",
    "trigger=drfit": "there is no trigger 'drfit'; did you mean 'drift'? Known: all, ",
    "strategy.half_lif=2": "strategy.half_lif=2: there is no setting 'strategy.half_lif'; did you mean 'strategy.half_life'?",
    "model.widht=8": "model.widht=8: there is no setting 'model.widht'; did you mean 'model.width'?",
    "trainer.max_stepz=8": "trainer.max_stepz=8: there is no setting 'trainer.max_stepz'; did you mean 'trainer.max_steps'?",
    "trigger.triggers.1.metrc=mae": "trigger.triggers.1.metrc=mae: there is no setting 'trigger.triggers.1.metrc'; "
    "did you mean 'trigger.triggers.1.metric'?",
    "+foo=1": "+foo=1: there is no setting 'foo'. There are stream, ",
    "stream.seed=abc": "stream.seed=abc: `stream.seed` is 'abc'; it must be a whole number",
    "stream.seed=1.5": "stream.seed=1.5: `stream.seed` is 1.5; it must be a whole number",
    "stream.seed=null": "stream.seed=null: `stream.seed` is empty; it must be a whole number",
    "stream.require_approval=1": "stream.require_approval=1: `stream.require_approval` is 1; it must be true or false",
    "gate.margin=true": "gate.margin=true: `gate.margin` is true; it must be a number",
    "stream.catch_up=eech": "stream.catch_up=eech: `stream.catch_up` is 'eech'; did you mean 'each'? It can be latest, each",
    "stream.drift.effect=psy": "stream.drift.effect=psy: `stream.drift.effect` is 'psy'; did you mean 'psi'? It can be psi, ",
    "serving.mode=extrenal": "serving.mode=extrenal: `serving.mode` is 'extrenal'; did you mean 'external'?",
    "stream.classes=abc": "stream.classes=abc: `stream.classes` is 'abc'; it must be a list: [a, b]",
    "stream.watch=null": "stream.watch=null: `stream.watch` is empty, where settings belong",
    "stream.contract=strict": "stream.contract=strict: `stream.contract` is 'strict', where settings belong: _target_, ",
    "stream.source._target_=engine.windows.ParquetFoldr": "stream.source._target_=engine.windows.ParquetFoldr: "
    "`engine.windows.ParquetFoldr`: there is no name in engine.windows 'ParquetFoldr'; did you mean 'ParquetFolder'?",
    "strategy._target_=engine.strategis.warm.Warm": "strategy._target_=engine.strategis.warm.Warm: "
    "`engine.strategis.warm.Warm`: there is no module 'engine.strategis'; did you mean 'engine.strategies'?",
    "gate.margin=[1": "the value of `gate.margin=[1` cannot be read: close what it opens, or quote it",
    "mine": "'mine' is no setting: write KEY=VALUE, without spaces; did you mean 'stream=mine'?",
    "gate.margin": "'gate.margin' is no setting: write KEY=VALUE, without spaces, such as `gate.margin=0.01`",
    "stream=mien": "there is no stream 'mien'; did you mean 'mine'?",
    "platform=postgres": "`platform.ledger` cannot be resolved: set the environment variable WARMSTART_LEDGER, "
    "or `platform.ledger=VALUE`",
}


@pytest.mark.parametrize(("override", "message"), OVERRIDES.items(), ids=list(OVERRIDES))
def test_an_override_that_cannot_be_is_told_with_what_was_meant(override: str, message: str, mine: Path) -> None:
    assert refusal(override).startswith(message)


FILES = {
    "a key": (
        GOOD.replace("columns:", "colums:"),
        ", line 6: there is no setting 'stream.colums'; did you mean 'stream.columns'?",
    ),
    "a key of a target": (
        GOOD.replace("margin", "margn"),
        ", line 7: there is no setting 'gate.margn'; did you mean 'gate.margin'?",
    ),
    "a key at the wrong depth": (GOOD + "seed: 3\n", ", line 8: there is no setting 'seed'; did you mean 'stream.seed'?"),
    "a target": (
        GOOD.replace("ParquetFolder", "ParquetFile"),
        ", line 4: `engine.windows.ParquetFile`: there is no name in engine.windows 'ParquetFile'; did you mean 'ParquetFolder'?",
    ),
    "a type": (GOOD.replace("  target", "  seed: abc\n  target"), ", line 5: `stream.seed` is 'abc'; it must be a whole number"),
    "a tab": (GOOD.replace("  target", "\ttarget"), ", line 5: a tab where YAML wants spaces: indent with spaces only"),
    "indentation": (GOOD.replace("  target", " target"), ", line 5: this is no YAML (while parsing a block mapping expected"),
    "a quote": (GOOD.replace("mine", "'mine"), ", line 8: this is no YAML (while scanning a quoted scalar"),
    "a key twice": (GOOD + "gate: {}\n", ", line 8: this is no YAML (while constructing a mapping found duplicate key gate)"),
    "no header": (
        GOOD.replace("# @package _global_\n", ""),
        ": its settings are taken for settings of `stream`; begin it with `# @package _global_`",
    ),
    "a word alone": ("hello", ": it holds no settings: write `KEY: VALUE` in each line"),
    "a list": ("- a\n- b\n", ": it holds no settings: write `KEY: VALUE` in each line"),
}


@pytest.mark.parametrize(("text", "message"), FILES.values(), ids=list(FILES))
def test_a_mistake_in_the_yaml_is_told_with_its_file_and_line(text: str, message: str, mine: Path) -> None:
    mine.write_text(text)
    assert refusal().startswith(f"stream/mine.yaml{message}")


def test_a_file_that_is_no_utf8_is_told_so(mine: Path) -> None:
    mine.write_bytes(GOOD.encode("utf-16"))
    assert refusal().startswith("stream/mine.yaml: this is no UTF-8 text: save it as UTF-8")


def test_an_empty_file_lacks_what_a_stream_needs(mine: Path) -> None:
    mine.write_text("")
    assert refusal() == (
        "these settings have no value: stream.columns, stream.name, stream.source, stream.target; "
        "give each as `KEY=VALUE` or in the YAML"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("override /trigger: drfit", "there is no trigger 'drfit'; did you mean 'drift'?"),
        ("override /triger: drift", "there is no group 'triger'; did you mean 'trigger'?"),
    ],
)
def test_a_misspelt_default_is_told_with_what_was_meant(line: str, message: str, mine: Path) -> None:
    mine.write_text(GOOD.replace("stream:", f"defaults:\n  - {line}\nstream:", 1))
    assert refusal().startswith(message)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("[x]", "stream.columns: write `NAME: KIND` for each column; there are number, boolean, category"),
        ("{x: nubmer}", "stream.columns.x: 'nubmer' is no kind of column; there are number, boolean, category"),
        ("{x number}", "stream.columns.x number: None is no kind of column"),
        ("{on: number}", "stream.columns: YAML reads the name True as no text: put it in quotes"),
        (
            "{x: {kind: number, nulable: false}}",
            "stream.columns.x: there is no setting of a column 'nulable'; did you mean 'nullable'",
        ),
    ],
)
def test_a_column_that_cannot_be_is_told(columns: str, message: str, mine: Path) -> None:
    mine.write_text(GOOD.replace("{x: number}", columns))
    assert refusal().startswith(message)


def test_a_name_that_yaml_takes_for_a_number_wants_quotes(mine: Path) -> None:
    mine.write_text(GOOD.replace("target: y", "target: 2024"))
    assert refusal() == "stream.target: 2024 is no text: put it in quotes"


def test_what_is_to_be_built_needs_a_target(mine: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"stream\.source: it needs a `_target_`, the class to build"):
        wiring.build(resolve(["stream.source=windows"])["stream"]["source"], "stream.source")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("engine.modls.table.TableNet", "there is no module 'engine.modls'; did you mean 'engine.models'?"),
        ("engine.models.table.TableNets", "there is no name in engine.models.table 'TableNets'; did you mean 'TableNet'?"),
        ("engine.models.table.TableNets.of", "there is no name in engine.models.table 'TableNets'; did you mean 'TableNet'?"),
        ("engine.models.table", "it is a module; say which class in it: engine.models.table.NAME"),
    ],
)
def test_a_recorded_configuration_may_name_what_is_gone_since(target: str, message: str, mine: Path) -> None:
    recorded = resolve([])
    recorded["model"]["_target_"] = target
    with pytest.raises(ConfigurationError) as refused:
        wiring.parts(recorded)
    assert str(refused.value) == f"model._target_: `{target}`: {message}"


def test_a_mistake_in_a_module_of_ones_own_is_told_with_its_line(mine: Path) -> None:
    Path("strategies_of_mine.py").write_text("class Mine:\n    def draw(self:\n")
    said = refusal("strategy._target_=strategies_of_mine.Mine")
    assert "strategies_of_mine.py, line 2: " in said


def test_what_a_strategy_takes_can_be_overridden_though_no_yaml_names_it(mine: Path) -> None:
    assert resolve(["strategy.half_life=2"])["strategy"]["half_life"] == 2
    assert resolve(["+strategy.half_life=2", "strategy=replay"])["strategy"]["half_life"] == 2


def test_settings_of_a_stream_are_refused_where_there_is_none(mine: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gate\.margin=1: there is no setting 'gate'\. There are serving, platform"):
        resolve_outside(["gate.margin=1"])
    with pytest.raises(ConfigurationError, match="`trigger` belongs to a stream; what is set here is where things are"):
        resolve_outside(["trigger=drift"])


@pytest.mark.parametrize("target", ["pytorch_lightning.Trainer", "engine.models.table.TableNet", "engine.strategies.warm.Warm"])
def test_what_a_target_takes_is_what_its_signature_says(target: str) -> None:
    import inspect

    from hydra.utils import get_object

    assert list(parameters(target) or ()) == list(inspect.signature(get_object(target)).parameters)


def test_what_cannot_be_told_from_source_is_left_to_the_building() -> None:
    assert parameters("builtins.dict") is None
    assert parameters("torch.nn.Linear") is None
    with pytest.raises(NoSuchTarget):
        parameters("engine.nothing.Here")


def test_settings_are_checked_without_importing_what_they_configure() -> None:
    program = (
        "import sys; from engine.configuration import resolve\n"
        "resolve(['stream=flights', 'model.width=8', 'trainer.max_steps=3'])\n"
        "print(*({'torch', 'pytorch_lightning', 'mlflow', 'numpy', 'polars'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_shipped_setting_has_a_name() -> None:
    names = set(settings.names(settings.shipped("config")))
    assert {"stream.seed", "stream.slices.judge", "retention.releases", "platform.state", "serving.mode"} <= names

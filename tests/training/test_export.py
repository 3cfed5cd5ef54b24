from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
import pytorch_lightning as lightning
import torch
from onnx import numpy_helper
from stream import SCHEMA, week

from engine import export
from engine.data import golden, table
from engine.data.table import Arrays
from engine.models.table import TableNet
from engine.nouns import Column, Schema


def net(*weeks: int, schema: Schema = SCHEMA, **changes: tuple[str, ...]) -> TableNet:
    torch.manual_seed(len(weeks))
    module = TableNet(schema, width=32)
    for number in weeks:
        frame = week(number, **changes)  # type: ignore[arg-type]
        module.adapt(table.inputs(frame, schema), table.target(frame, schema), frame.height)
    return module.eval()


def asked(number: int = 9, rows: int = 600) -> Arrays:
    return table.inputs(week(number, rows), SCHEMA)


def answers(path: Path, inputs: Arrays) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, inputs)
    return answer


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    assert export.write(net(0), SCHEMA, path, golden.rows(asked())) == "graph"
    return path


def test_the_graph_takes_raw_columns_in_the_words_of_the_signature(exported: Path) -> None:
    graph = onnx.load(exported).graph
    found = [(i.name, i.type.tensor_type.elem_type, i.type.tensor_type.shape.dim[1].dim_value) for i in graph.input]
    assert found == [(s.name, export.TYPES[s.datatype], s.width) for s in table.signature(SCHEMA)]
    (output,) = graph.output
    assert (output.name, output.type.tensor_type.elem_type) == ("minutes", onnx.TensorProto.FLOAT)


def test_the_graph_loads_in_the_oldest_runtime_promised_and_tells_no_paths(exported: Path) -> None:
    model = onnx.load(exported)
    assert model.ir_version <= 10
    assert {(o.domain, o.version) for o in model.opset_import} == {("", 18), ("ai.onnx.ml", 2)}
    assert b".py" not in exported.read_bytes()


@pytest.mark.parametrize("rows", [0, 1, 2, 600, 10_000])
def test_any_number_of_rows_answers_like_torch(exported: Path, rows: int) -> None:
    inputs = asked(rows=max(rows, 1))
    inputs = {name: array[:rows] for name, array in inputs.items()}
    got = answers(exported, inputs)
    assert got.shape == (rows, 1)
    if rows:
        np.testing.assert_allclose(got, export.predict(net(0), inputs, SCHEMA)["minutes"], rtol=1e-5, atol=1e-4)


def test_edges_answer_with_numbers_and_like_torch(exported: Path) -> None:
    edges = {name: array[-4:] for name, array in golden.rows(asked()).items()}
    got = answers(exported, edges)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, export.predict(net(0), edges, SCHEMA)["minutes"], rtol=1e-5, atol=1e-4)


def test_a_new_export_with_old_graph_equals_a_full_one_in_every_weight_and_word(exported: Path, tmp_path: Path) -> None:
    module = net(0, 1, cities=("Oslo", "Zürich", "Rome"))
    assert export.write(module, SCHEMA, tmp_path / "model.onnx", golden.rows(asked()), exported) == "weights"
    exchanged, full = onnx.load(tmp_path / "model.onnx").graph, export.full(module, SCHEMA, golden.rows(asked())).graph
    weights = [{t.name: numpy_helper.to_array(t) for t in graph.initializer} for graph in (exchanged, full)]
    assert weights[0].keys() == weights[1].keys() >= module.state_dict().keys()
    for name in weights[0]:
        np.testing.assert_allclose(weights[0][name], weights[1][name], rtol=0, atol=1e-6, err_msg=name)
    words = [[n.attribute for n in graph.node if n.op_type == "LabelEncoder"] for graph in (exchanged, full)]
    keys = [{a.name: list(a.strings) or list(a.ints) for a in attributes} for (attributes,) in words]
    assert keys[0] == keys[1]
    assert keys[0]["keys_strings"] == [b"", b"Oslo", b"Rome", "Zürich".encode()]


def test_a_table_of_words_may_outgrow_the_old_graph(exported: Path, tmp_path: Path) -> None:
    towns = tuple(f"town {i}" for i in range(40))
    module = net(0, 1, cities=towns)
    with torch.no_grad():  # so that every town has an answer of its own
        for words in module.categories.tables:
            words.add_(torch.randn(words.shape))
    before = {t.name: list(t.dims) for t in onnx.load(exported).graph.initializer}
    assert export.write(module, SCHEMA, tmp_path / "model.onnx", golden.rows(asked()), exported) == "weights"
    after = {t.name: list(t.dims) for t in onnx.load(tmp_path / "model.onnx").graph.initializer}
    assert {name: (before[name], after[name]) for name in before if before[name] != after[name]} == {
        "categories.tables.0": ([16, 8], [64, 8])
    }
    inputs = table.inputs(week(9, cities=(*towns, "Oslo", "never seen")), SCHEMA)
    got = answers(tmp_path / "model.onnx", inputs)
    np.testing.assert_allclose(got, export.predict(module, inputs, SCHEMA)["minutes"], rtol=1e-5, atol=1e-4)
    full = export.full(module, SCHEMA, golden.rows(asked()))
    onnx.save(full, tmp_path / "full.onnx")
    np.testing.assert_allclose(got, answers(tmp_path / "full.onnx", inputs), rtol=1e-5, atol=1e-4)


def test_a_wider_layer_gets_a_new_graph(exported: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = TableNet(SCHEMA, width=40)
    module.adapt(asked(0), table.target(week(0), SCHEMA), 600)
    assert export.write(module, SCHEMA, tmp_path / "model.onnx", golden.rows(asked()), exported) == "graph"
    got = answers(tmp_path / "model.onnx", asked())
    np.testing.assert_allclose(got, export.predict(module, asked(), SCHEMA)["minutes"], rtol=1e-5, atol=1e-4)


def test_other_columns_get_a_new_graph(exported: Path, tmp_path: Path) -> None:
    fewer = replace(SCHEMA, columns=SCHEMA.columns[:2])
    inputs = golden.rows(table.inputs(week(9), fewer))
    assert export.write(net(0, schema=fewer), fewer, tmp_path / "model.onnx", inputs, exported) == "graph"


class Folding(lightning.LightningModule):
    """Its graph keeps `weight` and holds a product of it beside, as an exporter that folds constants would leave it."""

    vocabularies: dict[str, list[str]] = {}  # noqa: RUF012

    def __init__(self, weight: float, frozen: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([weight], dtype=torch.float32))
        self.frozen = frozen

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(torch.float32) * self.weight + self.frozen


def test_a_value_folded_into_the_graph_never_stays_old(tmp_path: Path) -> None:
    schema = Schema((Column("x", "number"),), target="y")
    inputs = {"x": np.arange(8.0)[:, None]}
    assert export.write(Folding(2, 1), schema, tmp_path / "1.onnx", inputs) == "graph"
    assert export.write(Folding(3, 1), schema, tmp_path / "2.onnx", inputs, tmp_path / "1.onnx") == "weights"
    assert export.write(Folding(3, 7), schema, tmp_path / "3.onnx", inputs, tmp_path / "2.onnx") == "graph"
    np.testing.assert_array_equal(answers(tmp_path / "3.onnx", inputs), 3 * inputs["x"] + 7)


def test_a_graph_that_lost_a_weight_is_noted_and_not_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = Schema((Column("x", "number"),), target="y")
    inputs = {"x": np.arange(8.0)[:, None]}
    full = export.full

    def folded(*arguments: object) -> onnx.ModelProto:
        model = full(*arguments)  # type: ignore[arg-type]
        for tensor in model.graph.initializer:
            if tensor.name == "weight":
                tensor.name = "weight_squared"
        for node in model.graph.node:
            node.input[:] = ["weight_squared" if name == "weight" else name for name in node.input]
        model.graph.initializer.append(numpy_helper.from_array(np.array([2.0], dtype=np.float32), "weight"))
        return model

    monkeypatch.setattr(export, "full", folded)
    assert export.write(Folding(2, 1), schema, tmp_path / "1.onnx", inputs) == "graph"
    assert {p.key: p.value for p in onnx.load(tmp_path / "1.onnx").metadata_props}[export.EXCHANGEABLE] == "false"
    assert export.write(Folding(3, 1), schema, tmp_path / "2.onnx", inputs, tmp_path / "1.onnx") == "graph"


def test_a_graph_that_answers_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = Schema((Column("x", "number"),), target="y")
    inputs = {"x": np.arange(8.0)[:, None]}
    wrong = export.full(Folding(2, 1), schema, inputs)
    monkeypatch.setattr(export, "full", lambda *_: wrong)
    with pytest.raises(export.ExportMismatch, match="y differs from torch's by"):
        export.write(Folding(5, 1), schema, tmp_path / "model.onnx", inputs)


def test_columns_may_be_named_like_values_inside_the_graph(tmp_path: Path) -> None:
    schema = Schema((Column("x", "number"), Column("mul", "number"), Column("val_0", "category")), target="add")
    module = TableNet(schema, width=8)
    frame = pl.DataFrame({"x": [1.0, 2.0], "mul": [3.0, 4.0], "val_0": ["a", "b"], "add": [1.0, 2.0]})
    inputs = table.inputs(frame, schema)
    module.adapt(inputs, table.target(frame, schema), 2)
    assert export.write(module, schema, tmp_path / "model.onnx", golden.rows(inputs)) == "graph"
    np.testing.assert_allclose(answers(tmp_path / "model.onnx", inputs), export.predict(module, inputs, schema)["add"], rtol=1e-5)


def test_sixty_numbers_go_in_packed(tmp_path: Path) -> None:
    schema = Schema((*(Column(f"n{i}", "number") for i in range(60)), Column("c", "category")), target="y")
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({f"n{i}": rng.normal(size=200) for i in range(60)} | {"c": ["a", "b"] * 100, "y": rng.normal(size=200)})
    inputs = table.inputs(frame, schema)
    module = TableNet(schema, width=16)
    module.adapt(inputs, table.target(frame, schema), 200)
    assert export.write(module, schema, tmp_path / "model.onnx", golden.rows(inputs)) == "graph"
    got = answers(tmp_path / "model.onnx", inputs)
    np.testing.assert_allclose(got, export.predict(module, inputs, schema)["y"], rtol=1e-4, atol=1e-4)


def test_several_classes_answer_like_torch_and_take_new_weights_in_the_old_graph(tmp_path: Path) -> None:
    schema = replace(SCHEMA, task="multiclass", classes=("a", "b", "c"))
    torch.manual_seed(0)
    made = TableNet(schema, width=32)
    made.adapt(asked(0), np.zeros((600, 1)), 600)
    assert export.write(made, schema, tmp_path / "one.onnx", golden.rows(asked())) == "graph"
    inputs = asked(5, rows=7)
    torch.testing.assert_close(answers(tmp_path / "one.onnx", inputs), export.predict(made, inputs, schema)["minutes"])
    with torch.no_grad():
        made.head.weight.mul_(3)
    assert export.write(made, schema, tmp_path / "two.onnx", golden.rows(asked()), tmp_path / "one.onnx") == "weights"
    found = answers(tmp_path / "two.onnx", inputs)
    assert found.shape == (7, 3)
    torch.testing.assert_close(found, export.predict(made, inputs, schema)["minutes"])

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stream import SCHEMA, week

from engine.data import table
from engine.data.batches import tensors
from engine.export import predict
from engine.models import Learner
from engine.models.categories import CategoryEncoder
from engine.models.heads import Binary, Regression
from engine.models.numbers import FAR, NumberEncoder
from engine.models.table import TableNet
from engine.nouns import Column, Schema


def adapted(*weeks: int) -> TableNet:
    torch.manual_seed(0)
    net = TableNet(SCHEMA, width=32)
    for number in weeks:
        frame = week(number)
        net.adapt(table.inputs(frame, SCHEMA), table.target(frame, SCHEMA), frame.height)
    return net


def test_bins_fill_one_after_the_other() -> None:
    encoder = NumberEncoder(1, bins=4)
    encoder.refit(np.linspace(0, 8, 101)[:, None])
    assert encoder(torch.tensor([[5.0]], dtype=torch.float64))[0, :4].tolist() == [1, 1, 0.5, 0]
    assert encoder(torch.tensor([[-9.0]], dtype=torch.float64))[0, :4].tolist() == [0, 0, 0, 0]
    assert encoder(torch.tensor([[99.0]], dtype=torch.float64))[0, :4].tolist() == [1, 1, 1, 1]


def test_missing_has_a_flag_and_no_bins() -> None:
    encoder = NumberEncoder(1, bins=4)
    encoder.refit(np.linspace(0, 8, 101)[:, None])
    assert encoder(torch.tensor([[float("nan")]], dtype=torch.float64))[0].tolist() == [0, 0, 0, 0, 0, 1]


def test_infinity_counts_as_the_farthest_number_told_apart() -> None:
    encoder = NumberEncoder(1)
    encoder.refit(np.random.default_rng(0).normal(50, 3, (1000, 1)))
    reach = FAR * encoder.scale
    ends = torch.stack([encoder.center - reach, encoder.center + reach])
    infinite = torch.tensor([[float("-inf")], [float("inf")]], dtype=torch.float64)
    assert torch.equal(encoder(infinite), encoder(ends))
    assert torch.isfinite(encoder(infinite)).all()


@pytest.mark.parametrize("values", [[5.0, 5.0], [float("nan"), float("inf")], [1e308, -1e308], [0.0, 5e-324]])
def test_degenerate_columns_encode_to_finite_features(values: list[float]) -> None:
    encoder = NumberEncoder(1)
    encoder.refit(np.array(values)[:, None])
    asked = torch.tensor([[v] for v in [*values, 0.0, float("nan"), float("inf")]], dtype=torch.float64)
    assert torch.isfinite(encoder(asked)).all()


def test_neighbouring_epoch_times_are_told_apart() -> None:
    encoder = NumberEncoder(1)
    moments = 1_700_000_000_000_000 + np.arange(16.0)[:, None]
    encoder.refit(moments)
    assert len(torch.unique(encoder(torch.from_numpy(moments)), dim=0)) == 16


def test_vocabularies_grow_and_codes_stay() -> None:
    encoder = CategoryEncoder(("city",))
    encoder.grow({"city": np.array([["b"], [""], ["a"]], dtype=object)})
    assert encoder.vocabularies["city"] == ["", "a", "b"]
    encoder.grow({"city": np.array([["0"], ["a"]], dtype=object)})
    assert encoder.vocabularies["city"] == ["", "a", "b", "0"]


def test_a_new_category_answers_like_the_unknown_one_and_old_ones_as_before() -> None:
    net = adapted(0)
    frame = week(1, cities=("Oslo", "Zürich", "Rome"))
    inputs = table.inputs(frame, SCHEMA)
    before = predict(net, inputs, SCHEMA)["minutes"]
    net.categories.grow(table.inputs(week(2, cities=tuple(f"town {i}" for i in range(40))), SCHEMA))
    net.categories.grow(inputs)
    assert net.vocabularies["city"][:3] == ["", "Oslo", "Zürich"]
    assert len(net.categories.tables[0]) == 64
    np.testing.assert_array_equal(predict(net, inputs, SCHEMA)["minutes"], before)


def test_strings_become_their_place_in_the_vocabulary() -> None:
    strings = np.array([["b"], ["?"], [""]], dtype=object)
    (codes,) = tensors({"city": strings}, {"city": ["", "a", "b"]})
    assert codes.tolist() == [[3], [0], [1]]


def test_a_moving_target_scale_moves_no_prediction() -> None:
    torch.manual_seed(0)
    head = Regression(4, 32)
    head.adapt(np.random.default_rng(0).normal(100, 20, (500, 1)))
    features = torch.randn(50, 4, 32)
    before = head.predict(head(features))
    head.adapt(np.random.default_rng(1).normal(-3000, 7, (500, 1)))
    assert head.mean.item() == pytest.approx(-3000, abs=2)
    torch.testing.assert_close(head.predict(head(features)), before, rtol=1e-5, atol=1e-5)


def test_bins_are_refitted_each_time_the_history_has_doubled() -> None:
    net = adapted(0)
    seen = []
    for number in range(1, 8):
        frame = week(number)
        net.adapt(table.inputs(frame, SCHEMA), table.target(frame, SCHEMA), frame.height)
        seen.append(net.rows_at_refit // 600)
    assert seen == [2, 2, 4, 4, 4, 4, 8]


def test_a_checkpoint_brings_everything_back() -> None:
    net = adapted(0, 1)
    checkpoint: dict[str, object] = {"state_dict": net.state_dict()}
    net.on_save_checkpoint(checkpoint)
    other = TableNet(SCHEMA, width=32)
    other.on_load_checkpoint(checkpoint)
    other.load_state_dict(net.state_dict())
    inputs = table.inputs(week(2), SCHEMA)
    np.testing.assert_array_equal(predict(other, inputs, SCHEMA)["minutes"], predict(net, inputs, SCHEMA)["minutes"])
    assert (other.rows_seen, other.rows_at_refit) == (1200, 1200)


def test_other_columns_than_the_parents_are_named() -> None:
    checkpoint: dict[str, object] = {}
    adapted(0).on_save_checkpoint(checkpoint)
    grown = replace(SCHEMA, columns=(*SCHEMA.columns, Column("wind", "number")))
    with pytest.raises(ValueError, match=r"other columns \(wind\)"):
        TableNet(grown).on_load_checkpoint(checkpoint)


def test_a_binary_head_answers_with_probabilities() -> None:
    net = TableNet(replace(SCHEMA, task="binary"), width=32)
    assert isinstance(net.head, Binary)
    chances = predict(net, table.inputs(week(0), SCHEMA), SCHEMA)["minutes"]
    assert chances.dtype == np.float32
    assert ((chances > 0) & (chances < 1)).all()


def test_a_multiclass_head_answers_with_one_probability_a_class() -> None:
    schema = replace(SCHEMA, task="multiclass", classes=("a", "b", "c"))
    chances = predict(TableNet(schema, width=32), table.inputs(week(0), SCHEMA), schema)["minutes"]
    assert chances.shape == (week(0).height, 3)
    assert chances.dtype == np.float32
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)


def test_a_multiclass_task_without_classes_is_told_to_name_them() -> None:
    with pytest.raises(ValueError, match=r"give them in `stream\.classes`"):
        TableNet(replace(SCHEMA, task="multiclass"))


def test_other_classes_than_the_parents_are_refused() -> None:
    schema = replace(SCHEMA, task="multiclass", classes=("a", "b"))
    checkpoint: dict[str, object] = {}
    TableNet(schema).on_save_checkpoint(checkpoint)
    with pytest.raises(ValueError, match="trained on other classes"):
        TableNet(replace(schema, classes=("a", "b", "c"))).on_load_checkpoint(checkpoint)


@pytest.mark.parametrize("kind", ["number", "category"])
def test_a_table_of_one_kind_of_column_works(kind: str, tmp_path: Path) -> None:
    schema = Schema((Column("x", kind),), target="y")  # type: ignore[arg-type]
    net = TableNet(schema, width=8)
    assert isinstance(net, Learner)
    codes = torch.zeros(3, 1, dtype=torch.int64 if kind == "category" else torch.float64)
    assert net(codes).shape == (3, 1)

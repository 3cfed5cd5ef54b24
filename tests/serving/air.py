"""A small model as the engine exports one: raw columns in, strings included, each `[rows, 1]`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serving.config import ModelConfig, Tensor
from serving.golden import Golden

CARRIERS = ("AA", "DL", "UA")


def graph(path: Path, offset: float) -> None:
    """y = distance + offset + 10 * place of carrier in CARRIERS (unknown: -1) + 1000 * night; echo = carrier."""
    inputs = [
        helper.make_tensor_value_info(name, kind, ["rows", 1])
        for name, kind in (("carrier", TensorProto.STRING), ("distance", TensorProto.DOUBLE), ("night", TensorProto.BOOL))
    ]
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["rows", 1]),
        helper.make_tensor_value_info("echo", TensorProto.STRING, ["rows", 1]),
    ]
    numbers = {"ten": 10.0, "thousand": 1000.0, "offset": float(offset)}
    constants = [numpy_helper.from_array(np.array(value), name) for name, value in numbers.items()]
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["carrier"],
            ["place"],
            domain="ai.onnx.ml",
            keys_strings=list(CARRIERS),
            values_int64s=list(range(len(CARRIERS))),
            default_int64=-1,
        ),
        helper.make_node("Cast", ["place"], ["place_d"], to=TensorProto.DOUBLE),
        helper.make_node("Cast", ["night"], ["night_d"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["place_d", "ten"], ["a"]),
        helper.make_node("Mul", ["night_d", "thousand"], ["b"]),
        helper.make_node("Sum", ["distance", "a", "b", "offset"], ["y"]),
        helper.make_node("Identity", ["carrier"], ["echo"]),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(helper.make_graph(nodes, "air", inputs, outputs, constants), opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def rows(*carriers: str | None) -> dict[str, np.ndarray]:
    n = len(carriers)
    return {
        "carrier": np.array(carriers, dtype=object).reshape(n, 1),
        "distance": np.arange(n, dtype=np.float64).reshape(n, 1),
        "night": (np.arange(n) % 2 == 1).reshape(n, 1),
    }


def expected(inputs: dict[str, np.ndarray], offset: float) -> np.ndarray:
    place = np.array([CARRIERS.index(c) if c in CARRIERS else -1 for c in inputs["carrier"].ravel()], dtype=float)
    return inputs["distance"] + 10 * place[:, None] + 1000 * inputs["night"] + offset


CONFIG = ModelConfig(
    name="air",
    inputs=(Tensor("carrier", "BYTES"), Tensor("distance", "FP64"), Tensor("night", "BOOL")),
    outputs=(Tensor("y", "FP64"), Tensor("echo", "BYTES")),
    max_batch_size=64,
)


def files(folder: Path, offset: float, golden_offset: float | None = None) -> dict[str, Path]:
    """What a training hands over. The model answers `offset` more; `golden_offset` is what its golden rows claim."""
    folder.mkdir(parents=True, exist_ok=True)
    graph(folder / "model.onnx", offset)
    inputs = rows("UA", "AA", "", "ZZ", "DL")
    echo = np.array([[c or ""] for c in inputs["carrier"].ravel()], dtype=object)
    claimed = offset if golden_offset is None else golden_offset
    Golden(inputs, {"y": expected(inputs, claimed), "echo": echo}).save(folder / "golden.npz")
    return {"model.onnx": folder / "model.onnx", "golden.npz": folder / "golden.npz"}


def packed(folder: Path, width: int) -> dict[str, Path]:
    """One input `x` of `width` FP32 columns; y is their sum."""
    folder.mkdir(parents=True, exist_ok=True)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", width])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])
    axes = numpy_helper.from_array(np.array([1]), "axes")
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"])]
    graph = helper.make_graph(nodes, "packed", [x], [y], [axes])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(folder / "model.onnx"))
    inputs = np.ones((3, width), np.float32)
    Golden({"x": inputs}, {"y": inputs.sum(axis=1, keepdims=True)}).save(folder / "golden.npz")
    return {"model.onnx": folder / "model.onnx", "golden.npz": folder / "golden.npz"}

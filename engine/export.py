"""From a LightningModule to an ONNX graph that takes raw columns, strings included.

torch exports the network with int64 codes for category columns; a LabelEncoder per column, put before it, turns strings into
codes. Inputs, outputs and dynamic batches are those of `engine.data.table.signature`.

A full export takes seconds, and after most fits only numbers have changed. So the last graph is taken again, with the new
weights in its initializers, which keep the state dict's names, and the new words in its LabelEncoders: milliseconds. A table of
embeddings may have grown meanwhile: looking a row up does not ask how many there are. An exporter may fold a weight into a
constant, and then the old one would stay in silence. Three checks stand against that: a full export tries the exchange once, with
disturbed weights, and notes in the graph whether it works; every tensor of the state dict must be an initializer of the same
shape, or a table that is looked up and nothing else; and whatever comes out has to answer like torch on the golden rows.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper

from engine.data import table
from engine.data.batches import tensors
from engine.data.table import Arrays
from engine.nouns import Schema

# ONNX Runtime 1.19, the oldest that a supported Triton image carries, reads up to IR 10; opset 18 is what torch exports natively.
OPSET = 18
IR = 10
EXCHANGEABLE = "warmstart.weights_exchangeable"
TYPES = {"FP64": onnx.TensorProto.DOUBLE, "BOOL": onnx.TensorProto.BOOL, "BYTES": onnx.TensorProto.STRING}


class ExportMismatch(RuntimeError):
    """The graph does not answer like the module it was made from."""


def predict(module: Any, inputs: Arrays, schema: Schema) -> Arrays:
    """What the module itself answers to raw arrays, by torch on the CPU."""
    module.eval()
    with torch.no_grad():
        return {schema.target: module(*tensors(inputs, module.vocabularies, next(module.parameters()).device)).cpu().numpy()}


def write(module: Any, schema: Schema, path: Path, golden: Arrays, previous: Path | None = None) -> Literal["graph", "weights"]:
    """Write the graph of `module`, on the CPU and in eval mode, to `path`; says whether it is new or `previous` with new weights.

    `golden` are raw inputs on which the graph must answer like torch.

    Raises:
        ExportMismatch: a new graph does not answer like the module.
    """
    expected = predict(module, golden, schema)[schema.target]
    if previous is not None and previous.exists():
        graph = exchange(onnx.load(previous), module, schema)
        if graph is not None and _deviation(graph, golden, expected) <= 1:
            path.write_bytes(graph.SerializeToString())
            return "weights"
    graph = full(module, schema, golden)
    deviation = _deviation(graph, golden, expected)
    if not deviation <= 1:
        raise ExportMismatch(
            f"the exported graph's {schema.target} differs from torch's by {deviation:.3g} tolerances on the golden rows; "
            "the module's forward does something that torch.onnx.export does not carry over"
        )
    onnx.helper.set_model_props(graph, {EXCHANGEABLE: str(_exchangeable(graph, module, schema, golden)).lower()})
    path.write_bytes(graph.SerializeToString())
    return "graph"


def full(module: Any, schema: Schema, golden: Arrays) -> onnx.ModelProto:
    """Export the module anew, with four golden rows as the example."""
    specs = table.signature(schema)
    parameters = inspect.signature(module.forward).parameters.values()
    batch = torch.export.Dim("batch", min=1)
    rows = tuple({0: batch} for _ in specs)
    shapes = (rows,) if any(p.kind is p.VAR_POSITIONAL for p in parameters) else rows
    example = tuple(x[:4].clone() for x in tensors(golden, module.vocabularies))
    with warnings.catch_warnings():
        # torch.export copies the module's hooks and buffers by deprecated calls of its own; nothing that a caller could change.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            verbose=False,
            optimize=False,
            opset_version=OPSET,
            dynamic_shapes=shapes,
            input_names=[f"input.{spec.name}" for spec in specs],
            output_names=[f"output.{schema.target}"],
        )
    if program is None:
        raise ExportMismatch("torch.onnx.export returned no program")
    model = program.model_proto
    model.ir_version = IR
    _strip(model)
    _rename(model, schema)
    _prepend_vocabularies(model, module, schema)
    onnx.checker.check_model(model, full_check=True)
    return model


def _strip(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes on every node: source paths and stack traces, most of the file."""
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]


def _rename(model: onnx.ModelProto, schema: Schema) -> None:
    """Give inputs and outputs their own names; an inner value that has one of them already makes way."""
    graph = model.graph
    specs = table.signature(schema)
    public = {spec.name for spec in specs} | {schema.target}
    taken = public & {name for node in graph.node for name in node.output}
    clash = public & {tensor.name for tensor in graph.initializer}
    if clash:
        raise ValueError(f"columns named like weights of the module cannot be exported: {', '.join(sorted(clash))}; rename them")
    new = {name: f"{name}.inner" for name in taken}
    new |= {f"input.{spec.name}": f"{spec.name}.code" if spec.datatype == "BYTES" else spec.name for spec in specs}
    new[f"output.{schema.target}"] = schema.target
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        value.name = new.get(value.name, value.name)


def _lookup(column: str) -> str:
    return f"{column}.vocabulary"


def _prepend_vocabularies(model: onnx.ModelProto, module: Any, schema: Schema) -> None:
    graph = model.graph
    lookups = []
    for value, spec in zip(graph.input, table.signature(schema), strict=True):
        if spec.datatype != "BYTES":
            continue
        lookups.append(
            onnx.helper.make_node(
                "LabelEncoder", [spec.name], [f"{spec.name}.code"], name=_lookup(spec.name), domain="ai.onnx.ml", default_int64=0
            )
        )
        _fill(lookups[-1], module.vocabularies[spec.name])
        value.name = spec.name
        value.type.tensor_type.elem_type = onnx.TensorProto.STRING
    nodes = [*lookups, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    if lookups:
        model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 2))


def _fill(node: onnx.NodeProto, words: list[str]) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name == "default_int64"]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.append(onnx.helper.make_attribute("keys_strings", words))
    node.attribute.append(onnx.helper.make_attribute("values_int64s", list(range(1, len(words) + 1))))


def exchange(model: onnx.ModelProto, module: Any, schema: Schema) -> onnx.ModelProto | None:
    """Put the module's weights and vocabularies into an exported graph; None when the graph is not made for them."""
    if any(prop.key == EXCHANGEABLE and prop.value != "true" for prop in model.metadata_props):
        return None
    asked = [(spec.name, TYPES[spec.datatype], spec.width) for spec in table.signature(schema)]
    if [(i.name, i.type.tensor_type.elem_type, i.type.tensor_type.shape.dim[1].dim_value) for i in model.graph.input] != asked:
        return None
    lookups = {node.name: node for node in model.graph.node if node.op_type == "LabelEncoder"}
    if set(lookups) != {_lookup(column) for column in module.vocabularies}:
        return None
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    tables = _looked_up(model)
    for name, weight in module.state_dict().items():
        new = numpy_helper.from_array(weight.detach().cpu().numpy(), name)
        if name not in held or held[name].data_type != new.data_type:
            return None
        if held[name].dims[1:] != new.dims[1:] if name in tables else held[name].dims != new.dims:
            return None
        held[name].CopyFrom(new)
    for column, words in module.vocabularies.items():
        _fill(lookups[_lookup(column)], words)
    return model


def _looked_up(model: onnx.ModelProto) -> set[str]:
    """The initializers that rows are looked up in and that nothing else asks for: how many rows they have is their own affair."""
    rows: set[str] = set()
    otherwise = {value.name for value in model.graph.output}
    for node in model.graph.node:
        along = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        for place, name in enumerate(node.input):
            (rows if node.op_type == "Gather" and along == 0 and place == 0 else otherwise).add(name)
    return rows - otherwise


def _exchangeable(model: onnx.ModelProto, module: Any, schema: Schema, golden: Arrays) -> bool:
    """Try it: disturb every weight of the module for a moment, put them into a copy of the graph, compare."""
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    noise = torch.Generator().manual_seed(0)
    trial = onnx.ModelProto()
    trial.CopyFrom(model)
    try:
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.1 * torch.rand(tensor.shape, generator=noise, dtype=tensor.dtype))
        exchanged = exchange(trial, module, schema)
        return exchanged is not None and _deviation(exchanged, golden, predict(module, golden, schema)[schema.target]) <= 1
    finally:
        module.load_state_dict(weights)


def _deviation(model: onnx.ModelProto, golden: Arrays, expected: np.ndarray[Any, np.dtype[Any]]) -> float:
    """The largest difference to torch's answers in units of the tolerance; the same infinity, or NaN in both, is none."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    got = session.run(None, golden)[0]
    finite = np.isfinite(expected)
    if got.shape != expected.shape or not np.array_equal(got[~finite], expected[~finite], equal_nan=True):
        return float("inf")
    size = np.abs(expected[finite])
    tolerance = 1e-4 * size + 1e-5 * size.max(initial=0) + 1e-12
    return float(np.max(np.abs(got[finite] - expected[finite]) / tolerance, initial=0))

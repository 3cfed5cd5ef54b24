"""The `onnxruntime` backend of the embedded server: a Triton Python-based backend around ONNX Runtime.

It serves the very repository that NVIDIA's own `onnxruntime` backend serves in a GPU container: `backend: "onnxruntime"` and
`N/model.onnx`, nothing else. It runs in the server's own environment (NumPy 1.26), never in the engine's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb


class TritonPythonModel:
    """One version of one model. Triton makes it, calls it and names its methods."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the graph. An error here is what the caller of `load` is told."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        options = ort.SessionOptions()
        # One thread unless asked for more, and none that spins: every version of every model has such a process.
        options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", "1"))
        options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", "1"))
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        folder = Path(args["model_repository"]) / args["model_version"]
        path = folder / (config.get("default_model_filename") or "model.onnx")
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request for itself: what is wrong with one is told to its sender only."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            # One walk over the inputs. get_input_tensor_by_name searches them anew for each name.
            feed = {tensor.name(): _text(tensor.as_numpy()) for tensor in request.inputs()}
            arrays = self.session.run(self.outputs, feed)
        except Exception as error:  # Whatever it is, it belongs to this request.
            return pb.InferenceResponse(error=pb.TritonError(f"{type(error).__name__}: {error}"))
        return pb.InferenceResponse([pb.Tensor(n, a) for n, a in zip(self.outputs, arrays, strict=True)])


def _text(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    # ONNX Runtime turns b"UA" into "b'UA'" without a word, which makes every category an unknown one.
    if array.dtype != object:
        return array
    return np.array([value.decode() for value in array.ravel().tolist()], dtype=object).reshape(array.shape)

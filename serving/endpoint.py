"""One model server, spoken to over gRPC: control and inference, with a deadline on every call.

Control goes over gRPC and not HTTP because an HTTP load stalls every inference on the HTTP thread that it took.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.errors import Refused, Unreachable

INFER_SECONDS: Final = 10.0
LOAD_SECONDS: Final = 120.0
CONTROL_SECONDS: Final = 5.0

# How often a batch of several requests is begun again when the live version changes in the middle of it.
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, and which version of it. Strings come back as `str` in object arrays."""

    outputs: Mapping[str, NDArray[Any]]
    version: int


@dataclass(frozen=True)
class Endpoint:
    """A Triton server at `address` ("host:port" of its gRPC). Safe to use from several threads; `close` it at the end.

    Every method but `live` raises `Unreachable` when no answer came in time, and `Refused` with the server's words when the
    answer was no.
    """

    address: str

    @cached_property
    def _client(self) -> Any:
        from tritonclient.grpc import InferenceServerClient

        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            # The server is inside the same network; a proxy from the environment is for the world outside.
            ("grpc.enable_http_proxy", 0),
            # gRPC's own back-off grows to two minutes: a server that is back would look dead for that long.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        # An endpoint that nobody closed is let go of before the interpreter takes gRPC apart, which its own end does not survive.
        weakref.finalize(self, _let_go, self.__dict__)
        return InferenceServerClient(self.address, channel_args=options)

    def live(self) -> bool:
        """True when the server answers at all."""
        try:
            return bool(self._call(self._client.is_server_live, seconds=CONTROL_SECONDS))
        except Unreachable:
            return False

    def ready(self, name: str, version: int | None = None) -> bool:
        """True when the model, or that version of it, is loaded and answers."""
        return bool(self._call(self._client.is_model_ready, name, _text(version), seconds=CONTROL_SECONDS))

    def loaded(self, name: str) -> tuple[int, ...]:
        """The versions that are ready, lowest first. Unversioned requests go to the last of them."""
        index = self._call(self._client.get_model_repository_index, seconds=CONTROL_SECONDS)
        return tuple(sorted(int(m.version) for m in index.models if m.name == name and m.state == "READY"))

    def load(self, name: str, seconds: float = LOAD_SECONDS) -> None:
        """Make the server hold exactly what the model's `config.pbtxt` names. Returns when it does.

        A load that fails leaves the versions that were loaded before it.
        """
        self._call(self._client.load_model, name, seconds=seconds)

    def unload(self, name: str) -> None:
        """Let go of a model. One that is not loaded, or not there, is none to let go of."""
        if self.loaded(name):
            self._call(self._client.unload_model, name, seconds=CONTROL_SECONDS)

    def infer(
        self, name: str, inputs: Mapping[str, NDArray[Any]], version: int | None = None, seconds: float = INFER_SECONDS
    ) -> Answer:
        """Ask a model, in as many requests as its `max_batch_size` asks for; the whole answer is of one version.

        Args:
            name: The model.
            inputs: By the model's own input names, each with the batch axis first: `[rows, 1]` for a scalar column. Strings
                are `str` or object arrays, sent as UTF-8; None is sent as the empty string.
            version: None asks the one that answers the world.
            seconds: For each request.

        Raises:
            ValueError: There are no rows to ask about, or not the same number for every input.
        """
        lengths = {len(array) for array in inputs.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"{name}: every input must have the same number of rows, at least one; these have {sorted(lengths)}")
        rows = lengths.pop()
        if rows == 1:
            return self._ask(name, inputs, version, seconds)
        described = self._call(self._client.get_model_config, name, _text(version), seconds=CONTROL_SECONDS)
        size = described.config.max_batch_size
        for _ in range(_ATTEMPTS):
            answers = [
                self._ask(name, {key: array[i : i + size] for key, array in inputs.items()}, version, seconds)
                for i in range(0, rows, size)
            ]
            first = answers[0]
            if len(answers) == 1:
                return first
            if all(answer.version == first.version for answer in answers):
                return Answer({k: np.concatenate([a.outputs[k] for a in answers]) for k in first.outputs}, first.version)
        raise Refused(f"{name} at {self.address} changed its version {_ATTEMPTS} times during one batch of {rows} rows")

    def close(self) -> None:
        """Drop the connection. Call it before the server is stopped, and not while another thread is asking."""
        _let_go(self.__dict__)

    def _ask(self, name: str, inputs: Mapping[str, NDArray[Any]], version: int | None, seconds: float) -> Answer:
        from tritonclient.grpc import InferInput
        from tritonclient.utils import np_to_triton_dtype

        tensors = []
        for key, array in inputs.items():
            data = _encoded(array)
            tensor = InferInput(key, list(data.shape), np_to_triton_dtype(data.dtype))
            tensor.set_data_from_numpy(data)
            tensors.append(tensor)
        result = self._call(self._client.infer, name, tensors, _text(version), seconds=seconds)
        response = result.get_response()
        outputs = {output.name: _decoded(result.as_numpy(output.name)) for output in response.outputs}
        return Answer(outputs, int(response.model_version))

    def _call(self, method: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
        from tritonclient.utils import InferenceServerException

        try:
            return method(*arguments, client_timeout=seconds)
        except InferenceServerException as error:
            what = f"{method.__name__} {arguments[0] if arguments else ''}".strip()
            status = str(error.status())
            if status == "StatusCode.DEADLINE_EXCEEDED":
                raise Unreachable(
                    f"the model server at {self.address} did not answer `{what}` within {seconds:g} s; look at its log"
                ) from error
            # UNAVAILABLE is no connection, a server that stops, a full queue; and, in these words, a model that is going.
            unloaded = "not at ready state" in error.message()
            if status in ("StatusCode.UNAVAILABLE", "StatusCode.CANCELLED") and not unloaded:
                raise Unreachable(
                    f"no model server answers at {self.address} ({error.message()}); start it, or correct the address"
                ) from error
            if status == "StatusCode.UNIMPLEMENTED":
                raise Unreachable(
                    f"what answers at {self.address} is no model server ({error.message()}); correct the address"
                ) from error
            # What follows "At:" is where in the backend it happened: for the server's log, not for the caller.
            words = str(error.message()).partition("\nAt:")[0].strip()
            raise Refused(f"the model server at {self.address} refused `{what}`: {words}") from error


def _let_go(holder: dict[str, Any]) -> None:
    if client := holder.pop("_client", None):
        client.close()


def _text(version: int | None) -> str:
    return "" if version is None else str(version)


def _encoded(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "OUS":
        return array
    # Left to itself the client sends the text "None" for a missing value.
    values = [b"" if v is None else v if isinstance(v, bytes) else str(v).encode() for v in array.ravel().tolist()]
    return np.array(values, dtype=object).reshape(array.shape)


def _decoded(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype != object:
        return array
    return np.array([value.decode() for value in array.ravel().tolist()], dtype=object).reshape(array.shape)

"""A model's `config.pbtxt` as a dataclass: written from it, read back into it.

The text is parsed and printed by protobuf itself with Triton's own message (`tritonclient.grpc.model_config_pb2`), which is
imported on first use. Fields this dataclass does not name are dropped when a text is read: the configuration of a version
is written by whoever publishes it and is never edited by hand.

Source of the fields: Triton's model_config.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output. `data_type` is KServe's word ("FP64", "BOOL", "BYTES" for strings); `dims` leaves out the batch.

    A scalar column is `dims=(1,)`, so that a request carries `[batch, 1]`.
    """

    name: str
    data_type: str
    dims: tuple[int, ...] = (1,)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What Triton must know to serve a model, the same for the embedded server and for one in a container.

    Args:
        name: The model's name, which is also its folder.
        inputs: In the order of the graph.
        outputs: In the order of the graph.
        max_batch_size: Rows in one request, at most. Above zero: every tensor has a leading batch axis.
        versions: Exactly these are loaded, whatever else the folder holds. Unversioned requests go to the highest.
        backend: "onnxruntime" is NVIDIA's own in a container and `serving/backends/onnxruntime` in the embedded server.
        instances: Copies of each version on each device. Said outright, because Triton would start two of an ONNX model on a
            CPU: measured here, twice the memory and twice the time to load for the same answers in a second.
        parameters: Passed to the backend as they are, e.g. `intra_op_thread_count`.
        tensorrt: Let ONNX Runtime hand the graph to TensorRT where there is a GPU. Without one it changes nothing.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int = 4096
    versions: tuple[int, ...] = ()
    backend: str = "onnxruntime"
    instances: int = 1
    parameters: Mapping[str, str] = field(default_factory=dict)
    tensorrt: bool = False

    def __post_init__(self) -> None:
        if self.max_batch_size < 1:
            raise ValueError(f"{self.name}: max_batch_size is {self.max_batch_size}; it must be at least 1")

    def to_pbtxt(self) -> str:
        """The text of `config.pbtxt`. Where the model runs is not in it: the server places it where its hardware is."""
        from google.protobuf import text_format
        from tritonclient.grpc import model_config_pb2 as pb

        message = pb.ModelConfig(name=self.name, backend=self.backend, max_batch_size=self.max_batch_size)
        for tensors, target in ((self.inputs, message.input), (self.outputs, message.output)):
            for tensor in tensors:
                target.add(name=tensor.name, data_type=pb.DataType.Value(_written(tensor.data_type)), dims=tensor.dims)
        message.instance_group.add(count=self.instances)
        message.version_policy.specific.versions.extend(self.versions)
        for key, value in sorted(self.parameters.items()):
            message.parameters[key].string_value = value
        if self.tensorrt:
            message.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
        return str(text_format.MessageToString(message))

    @classmethod
    def from_pbtxt(cls, text: str) -> ModelConfig:
        """Read what `to_pbtxt` wrote.

        Raises:
            ValueError: The text is not a model configuration.
        """
        from google.protobuf import text_format
        from tritonclient.grpc import model_config_pb2 as pb

        try:
            message = text_format.Parse(text, pb.ModelConfig())
        except text_format.ParseError as error:
            raise ValueError(f"not a config.pbtxt: {error}") from error

        def tensors(fields: list[pb.ModelInput]) -> tuple[Tensor, ...]:
            return tuple(Tensor(f.name, _read(pb.DataType.Name(f.data_type)), tuple(f.dims)) for f in fields)

        accelerators = message.optimization.execution_accelerators.gpu_execution_accelerator
        return cls(
            name=message.name,
            inputs=tensors(message.input),
            outputs=tensors(message.output),
            max_batch_size=message.max_batch_size,
            versions=tuple(message.version_policy.specific.versions),
            backend=message.backend,
            instances=message.instance_group[0].count if message.instance_group else 1,
            parameters={key: value.string_value for key, value in message.parameters.items()},
            tensorrt=any(a.name == "tensorrt" for a in accelerators),
        )


def _written(data_type: str) -> str:
    # The protocol says BYTES where the configuration says TYPE_STRING; every other name is the same.
    return "TYPE_STRING" if data_type == "BYTES" else f"TYPE_{data_type}"


def _read(written: str) -> str:
    return "BYTES" if written == "TYPE_STRING" else written.removeprefix("TYPE_")

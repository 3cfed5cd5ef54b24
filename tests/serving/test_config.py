from __future__ import annotations

import pytest

from serving.config import ModelConfig, Tensor

WHOLE = ModelConfig(
    name="flights",
    inputs=(Tensor("carrier", "BYTES"), Tensor("distance", "FP64"), Tensor("night", "BOOL"), Tensor("packed", "FP32", (300,))),
    outputs=(Tensor("y", "FP32"), Tensor("label", "INT64")),
    max_batch_size=1024,
    versions=(4, 5),
    instances=2,
    parameters={"intra_op_thread_count": "2"},
    tensorrt=True,
)


def test_what_is_written_is_read_back():
    assert ModelConfig.from_pbtxt(WHOLE.to_pbtxt()) == WHOLE


def test_a_plain_configuration_leaves_everything_else_to_the_server():
    text = ModelConfig("m", (Tensor("x", "BYTES"),), (Tensor("y", "FP64"),), versions=(7,)).to_pbtxt()
    assert "data_type: TYPE_STRING" in text
    assert "version_policy{specific{versions:7}}" in "".join(text.split())
    assert 'backend: "onnxruntime"' in text
    assert "instance_group{count:1}" in "".join(text.split())
    assert "optimization" not in text


def test_tensorrt_is_asked_for_in_the_servers_own_words():
    assert 'gpu_execution_accelerator{name:"tensorrt"}' in "".join(WHOLE.to_pbtxt().split())


def test_a_text_that_is_no_configuration_is_refused():
    with pytest.raises(ValueError, match=r"not a config\.pbtxt"):
        ModelConfig.from_pbtxt("name: flights }")


def test_a_model_without_a_batch_axis_is_refused():
    with pytest.raises(ValueError, match="max_batch_size is 0"):
        ModelConfig("m", (), (), max_batch_size=0)

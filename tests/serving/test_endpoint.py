from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from air import CONFIG, expected, files, packed, rows

from serving.config import ModelConfig, Tensor
from serving.endpoint import Endpoint
from serving.errors import Refused, Unreachable
from serving.ports import free_ports
from serving.release import Deployment


@pytest.fixture(scope="module")
def air(everything: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    everything.stage("air", 1, files(tmp_path_factory.mktemp("air"), 1), CONFIG)
    everything.switch("air", 1, keep=None)
    yield everything.endpoints[0]
    everything.endpoints[0].unload("air")
    shutil.rmtree(everything.repository.root / "air")


def test_strings_null_empty_unknown_and_not_ascii_arrive_as_they_were_sent(air):
    inputs = rows("UA", None, "", "ZZ", "Ñandú", "AA")
    answer = air.infer("air", inputs)
    assert answer.version == 1
    np.testing.assert_array_equal(answer.outputs["y"], expected(inputs, 1))
    assert answer.outputs["echo"].ravel().tolist() == ["UA", "", "", "ZZ", "Ñandú", "AA"]
    fixed_width = {**rows("UA", "DL"), "carrier": np.array([["UA"], ["DL"]])}
    np.testing.assert_array_equal(air.infer("air", fixed_width).outputs["y"], expected(rows("UA", "DL"), 1))


@pytest.mark.parametrize("count", [1, 2, 64, 65, 200])
def test_a_batch_of_any_size_is_answered_in_its_order(air, count):
    inputs = rows(*(["UA", "AA", None, "DL", "?"] * 40)[:count])
    answer = air.infer("air", inputs)
    np.testing.assert_array_equal(answer.outputs["y"], expected(inputs, 1))
    assert answer.outputs["echo"].shape == (count, 1)


def test_nan_and_infinity_pass_through(air):
    inputs = {**rows("AA", "AA", "AA"), "distance": np.array([[np.nan], [np.inf], [-np.inf]])}
    assert air.infer("air", inputs).outputs["y"].ravel().tolist() == [pytest.approx(np.nan, nan_ok=True), np.inf, -np.inf]


def test_one_endpoint_serves_several_threads(air):
    inputs = [rows(*(["UA", "AA", None, "DL", "?"] * (n + 1))) for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda x: air.infer("air", x), inputs * 5))
    for x, answer in zip(inputs * 5, answers, strict=True):
        np.testing.assert_array_equal(answer.outputs["y"], expected(x, 1))


def test_a_bad_request_is_refused_in_the_servers_words_and_the_next_one_answered(air):
    bad = {
        "missing required input": {"carrier": rows("UA")["carrier"]},
        "UnicodeDecodeError": {**rows("UA"), "carrier": np.array([[b"\xff"]], dtype=object)},
        "data-type": {**rows("UA"), "distance": np.array([[1]], dtype=np.int64)},
        "unexpected shape": {**rows("UA"), "distance": np.array([[1.0, 2.0]])},
    }
    for words, inputs in bad.items():
        with pytest.raises(Refused, match=words):
            air.infer("air", inputs)
    assert air.infer("air", rows("UA")).version == 1


def test_no_rows_and_uneven_rows_are_told_before_anything_is_sent(air):
    with pytest.raises(ValueError, match=r"air: every input must have the same number of rows, at least one; these have \[0\]"):
        air.infer("air", {key: array[:0] for key, array in rows("UA").items()})
    with pytest.raises(ValueError, match=r"these have \[1, 2\]"):
        air.infer("air", {**rows("UA", "DL"), "night": np.array([[True]])})


def test_a_model_or_version_that_is_not_there_is_refused(air):
    for ask in (lambda: air.infer("nobody", rows("UA", "AA")), lambda: air.infer("air", rows("UA"), version=9)):
        with pytest.raises(Refused, match="unknown model"):
            ask()
    with pytest.raises(Refused, match="failed to load 'nobody'"):
        air.load("nobody")
    assert (air.ready("air"), air.ready("air", 1), air.ready("air", 9), air.ready("nobody")) == (True, True, False, False)
    assert air.loaded("air") == (1,)
    air.unload("nobody")


def test_an_address_where_nobody_listens_says_so_and_what_to_do():
    endpoint = Endpoint(f"127.0.0.1:{free_ports()[0]}")
    assert not endpoint.live()
    with pytest.raises(Unreachable, match=rf"no model server answers at {endpoint.address} .*start it, or correct the address"):
        endpoint.infer("air", rows("UA"))
    endpoint.close()


def test_a_server_that_never_answers_is_unreachable_not_refused():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        endpoint = Endpoint(f"127.0.0.1:{mute.getsockname()[1]}")
        with pytest.raises(Unreachable, match=r"did not answer `infer air` within 0\.3 s; look at its log"):
            endpoint.infer("air", rows("UA"), seconds=0.3)
        endpoint.close()


def test_a_wide_table_goes_as_one_packed_input(deployment, tmp_path):
    config = ModelConfig("wide", (Tensor("x", "FP32", (300,)),), (Tensor("y", "FP32"),), max_batch_size=512, tensorrt=True)
    deployment.stage("wide", 1, packed(tmp_path, 300), config)
    assert deployment.verify("wide", 1).agrees(1e-6)
    x = np.random.default_rng(0).normal(size=(1000, 300)).astype(np.float32)
    answer = deployment.endpoints[0].infer("wide__next", {"x": x})
    np.testing.assert_allclose(answer.outputs["y"], x.sum(axis=1, keepdims=True), atol=1e-4)


def test_the_backend_takes_its_thread_count_from_the_configuration(deployment, tmp_path):
    config = replace(CONFIG, parameters={"intra_op_thread_count": "none"})
    with pytest.raises(Refused, match="invalid literal for int"):
        deployment.stage("threads", 1, files(tmp_path, 1), config)

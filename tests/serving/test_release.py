from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from air import CONFIG, expected, files, rows

from serving.endpoint import Endpoint
from serving.errors import Incomplete, Refused
from serving.release import Deployment, Verification
from serving.server import EmbeddedServer

CLIENTS = 3


@dataclass
class Traffic:
    """What unversioned clients saw: when each request was sent, and by which version it was answered."""

    answers: list[tuple[float, int]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def before(self, moment: float) -> set[int]:
        return {version for sent, version in self.answers if sent < moment}


@contextmanager
def traffic(address: str, name: str = "air") -> Iterator[Traffic]:
    seen, stop = Traffic(), threading.Event()
    inputs = rows("UA", "ZZ")

    def client() -> None:
        endpoint = Endpoint(address)
        while not stop.is_set():
            sent = time.perf_counter()
            try:
                answer = endpoint._ask(name, inputs, None, 10.0)
                np.testing.assert_array_equal(answer.outputs["y"], expected(inputs, answer.version))
                seen.answers.append((sent, answer.version))
            except Exception as error:
                seen.failures.append(repr(error))
            time.sleep(0.002)
        endpoint.close()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def live(deployment: Deployment, tmp_path: Path, version: int, keep: int | None = None) -> None:
    deployment.stage("air", version, files(tmp_path / str(version), version), CONFIG)
    assert deployment.verify("air", version).agrees(1e-12)
    deployment.switch("air", version, keep)


def test_five_rounds_of_stage_switch_and_rollback_lose_no_request(deployment, tmp_path, capsys):
    live(deployment, tmp_path, 1)
    endpoint = deployment.endpoints[0]
    took: dict[str, list[float]] = {"stage": [], "switch": [], "rollback": []}

    @contextmanager
    def timed(step: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        took[step].append(time.perf_counter() - begin)

    with traffic(endpoint.address) as seen:
        for version in range(2, 7):
            source = files(tmp_path / str(version), version)
            with timed("stage"):
                deployment.stage("air", version, source, CONFIG)
            assert deployment.verify("air", version) == Verification(version, 5, 0.0, 0.0, 0, 0)
            verified = time.perf_counter()
            assert version not in seen.before(verified)
            with timed("switch"):
                deployment.switch("air", version, keep=1)
            assert endpoint.loaded("air") == (1, version)
            switched = time.perf_counter()
            time.sleep(0.05)
            assert {v for sent, v in seen.answers if sent > switched} == {version}
            with timed("rollback"):
                deployment.rollback("air", 1)
            rolled_back = time.perf_counter()
            time.sleep(0.05)
            assert {v for sent, v in seen.answers if sent > rolled_back} == {1}
            assert endpoint.loaded("air") == (1,)
    assert seen.failures == []
    assert len(seen.answers) > 200
    assert max(took["rollback"]) <= 0.25
    assert not (deployment.repository.root / "air__next").exists()
    with capsys.disabled():
        figures = ", ".join(f"{step} {1e3 * np.median(s):.0f} ms (worst {1e3 * max(s):.0f})" for step, s in took.items())
        print(f"\n  {figures}; {len(seen.answers)} requests, {len(seen.failures)} failed")


def test_after_a_rollback_the_next_switch_leaves_out_the_version_that_was_rolled_back(deployment, tmp_path):
    for version, keep in ((4, None), (5, 4)):
        live(deployment, tmp_path, version, keep)
    deployment.rollback("air", 4)
    live(deployment, tmp_path, 6, keep=4)
    assert deployment.endpoints[0].loaded("air") == (4, 6)
    assert deployment.repository.selected("air") == (4, 6)
    deployment.rollback("air", 5)
    assert deployment.endpoints[0].loaded("air") == (5,)


def test_an_older_number_can_be_switched_to_and_answers_alone(deployment, tmp_path):
    live(deployment, tmp_path, 5)
    with traffic(deployment.endpoints[0].address) as seen:
        live(deployment, tmp_path, 4, keep=5)
        assert deployment.endpoints[0].loaded("air") == (4,)
    assert seen.failures == []


def test_a_version_with_another_configuration_replaces_the_old_one_without_losing_a_request(deployment, tmp_path):
    live(deployment, tmp_path, 1)
    with traffic(deployment.endpoints[0].address) as seen:
        deployment.stage("air", 2, files(tmp_path / "2", 2), replace(CONFIG, max_batch_size=32))
        deployment.switch("air", 2, keep=1)
        assert deployment.endpoints[0].loaded("air") == (2,)
        time.sleep(0.05)
        deployment.rollback("air", 1)
    assert seen.failures == []
    assert {version for _, version in seen.answers} == {1, 2}


def test_a_torn_model_is_refused_and_the_old_version_keeps_serving(deployment, tmp_path):
    live(deployment, tmp_path, 1)
    source = files(tmp_path / "2", 2)
    source["model.onnx"].write_bytes(source["model.onnx"].read_bytes()[:100])
    with traffic(deployment.endpoints[0].address) as seen:
        with pytest.raises(Refused, match=r"load failed for model 'air__next'.*ONNXRuntimeError"):
            deployment.stage("air", 2, source, CONFIG)
        aside = deployment.discard("air", 2)
    assert aside == deployment.repository.root / "air" / ".rejected-2"
    assert seen.failures == []
    assert {version for _, version in seen.answers} == {1}
    live(deployment, tmp_path, 3, keep=1)


def test_a_folder_that_lost_its_model_file_is_refused_before_the_load(deployment, tmp_path):
    live(deployment, tmp_path, 1)
    live(deployment, tmp_path, 2, keep=1)
    (deployment.repository.root / "air" / "1" / "model.onnx").unlink()
    with pytest.raises(Incomplete, match=r"air 1: .*model\.onnx is missing"):
        deployment.rollback("air", 1)
    assert deployment.endpoints[0].infer("air", rows("UA")).version == 2


def test_what_does_not_give_its_golden_outputs_is_measured_when_staged_and_taken_back_when_switched(deployment, tmp_path):
    live(deployment, tmp_path, 1)
    deployment.stage("air", 2, files(tmp_path / "2", 2, golden_offset=3), CONFIG)
    found = deployment.verify("air", 2)
    assert found.max_abs == 1.0
    assert not found.agrees()
    with pytest.raises(Refused, match=r"air 2 at .* does not give its golden outputs"):
        deployment.switch("air", 2, keep=1)
    assert deployment.endpoints[0].loaded("air") == (1,)
    assert deployment.repository.selected("air") == (1,)
    assert deployment.discard("air", 2) == deployment.repository.root / "air" / ".rejected-2"


def test_a_first_version_that_fails_is_unloaded(deployment, tmp_path):
    deployment.stage("air", 1, files(tmp_path / "1", 1, golden_offset=np.nan), CONFIG)
    assert deployment.verify("air", 1).mismatched == 5
    with pytest.raises(Refused):
        deployment.switch("air", 1, keep=None)
    assert not deployment.endpoints[0].ready("air")
    assert deployment.repository.names() == ()


def test_without_golden_rows_nothing_is_staged(deployment, tmp_path):
    source = files(tmp_path, 1)
    with pytest.raises(ValueError, match=r"golden\.npz is not among the files"):
        deployment.stage("air", 1, {"model.onnx": source["model.onnx"]}, CONFIG)


def test_every_server_that_reads_the_repository_is_loaded_and_verified(deployment, runtime, tmp_path):
    replica = EmbeddedServer.start(deployment.repository.root, runtime, tmp_path / "replica")
    endpoints = (*deployment.endpoints, Endpoint(replica.address))
    both = Deployment(deployment.repository, endpoints)
    try:
        for version, keep in ((1, None), (2, 1)):
            live(both, tmp_path, version, keep)
        assert [endpoint.loaded("air") for endpoint in endpoints] == [(1, 2), (1, 2)]
        both.rollback("air", 1)
        assert [endpoint.loaded("air") for endpoint in endpoints] == [(1,), (1,)]
    finally:
        endpoints[1].close()
        replica.stop(timeout=0.2)


def test_latency_of_a_model_against_itself_is_a_ratio_near_one(deployment, tmp_path):
    deployment.stage("air", 1, files(tmp_path / "1", 1), CONFIG)
    alone = deployment.latency("air", 1)
    assert alone.ratio is None
    assert 0 < alone.staged_ms < 50
    deployment.switch("air", 1, keep=None)
    deployment.stage("air", 2, files(tmp_path / "2", 2), CONFIG)
    both = deployment.latency("air", 2)
    assert both.low <= both.ratio <= both.high
    assert 0.5 < both.ratio < 2


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_a_release_killed_before_any_call_to_the_server_ends_the_same_when_it_is_done_again(deployment, tmp_path, monkeypatch):
    source = files(tmp_path / "2", 2)

    def life() -> None:
        deployment.stage("air", 2, source, CONFIG)
        deployment.verify("air", 2)
        deployment.switch("air", 2, keep=1)
        deployment.rollback("air", 1)

    live(deployment, tmp_path, 1)
    with traffic(deployment.endpoints[0].address) as seen:
        for step in range(1, 30):
            calls = 0

            def dies(real, step=step):
                def call(*arguments, **named):
                    nonlocal calls
                    calls += threading.current_thread() is threading.main_thread()
                    if calls == step:
                        raise Killed
                    return real(*arguments, **named)

                return call

            with monkeypatch.context() as patch:
                for change in ("load", "unload", "infer"):
                    patch.setattr(Endpoint, change, dies(getattr(Endpoint, change)))
                try:
                    life()
                    break
                except Killed:
                    pass
            life()
            assert deployment.endpoints[0].loaded("air") == (1,)
            assert deployment.endpoints[0].loaded("air__next") == ()
            assert deployment.repository.versions("air") == (1, 2)
    assert step > 7, f"only {step} steps were killed at"
    assert seen.failures == []
    assert {version for _, version in seen.answers} <= {1, 2}

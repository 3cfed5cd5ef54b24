"""MLflow: which version is champion, what every version was made from, and the history of the stream as runs.

Every effect carries the cycle id and is looked up first, so a step that runs again finds what it already did. MLflow is imported
on first use: `status` and the moment in which a rollback switches Triton never wait for it.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from engine.nouns import Champion, JobSpec, Score, Training, Verdict

P = ParamSpec("P")
T = TypeVar("T")

CYCLE = "warmstart.cycle_id"
REMOVED = "warmstart.files_removed"  # on a version whose checkpoint, graph and profile retention has removed
AWAY = (
    "TEMPORARILY_UNAVAILABLE",
    "REQUEST_LIMIT_EXCEEDED",
    "INTERNAL_ERROR",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "CUSTOMER_UNAUTHORIZED",
)
ENVIRONMENT = {
    # MLflow itself would try for four minutes, and wait two for an answer; whoever carries windows tries again anyway.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class FilesRemoved(Exception):
    """A version was asked for whose files are not kept any more; the message says what keeps them."""


class RegistryUnreachable(Exception):
    """MLflow does not answer; the work is interrupted, not lost."""


def _outage(call: Callable[P, T]) -> Callable[P, T]:
    """Tell an MLflow that is away from one that says no: only the first is worth another try."""

    @functools.wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        import requests
        from google.protobuf.json_format import ParseError
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import OperationalError

        try:
            return call(*args, **kwargs)
        except (json.JSONDecodeError, ParseError) as error:
            raise RegistryUnreachable(f"what answers in the place of MLflow is something else: {_first_line(error)}") from error
        except (requests.ConnectionError, requests.Timeout, OperationalError) as error:
            raise RegistryUnreachable(f"MLflow does not answer: {_first_line(error)}") from error
        except MlflowException as error:
            if error.error_code in AWAY or "API request to" in str(error):
                raise RegistryUnreachable(f"MLflow does not answer: {_first_line(error)}") from error
            raise

    return guarded


class Registry:
    """One stream's registered model and experiment in MLflow.

    uri: of tracking and registry, such as `sqlite:////data/mlflow.db` or `http://mlflow:5000`.
    artifacts: root under which artifacts are stored, for a new experiment (None lets the server decide).
    """

    def __init__(self, uri: str, stream: str, artifacts: str | None = None):
        self.uri = uri
        self.stream = stream
        self.artifacts = artifacts
        self._latest_run = ("", "")  # of this process: cycle and run
        self._latest_champion: tuple[str, Champion] | None = None  # and its source; a version's files never change

    @functools.cached_property
    def _client(self) -> Any:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # its migrations are no news to who starts a stream
        if self.uri.startswith("sqlite:///"):
            _create_whole(Path(self.uri.removeprefix("sqlite:///")))
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        return mlflow.MlflowClient(self.uri, self.uri)

    @functools.cached_property
    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(self.stream)
        if found:
            return str(found.experiment_id)
        return str(self._client.create_experiment(self.stream, artifact_location=self.artifacts))

    @_outage
    def champion(self) -> Champion | None:
        """The version under the alias `champion`, or None before the first."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_model_version_by_alias(self.stream, "champion")
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        return self._champion(found)

    @_outage
    def version(self, number: int) -> Champion:
        """One version with its folder and lineage.

        Raises LookupError when it does not exist, FilesRemoved when nothing but its lineage is left.
        """
        from mlflow.exceptions import MlflowException

        try:
            return self._champion(self._client.get_model_version(self.stream, str(number)))
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise LookupError(f"stream {self.stream!r} has no version {number}") from error
            raise

    def _champion(self, found: Any) -> Champion:
        import mlflow.artifacts

        if self._latest_champion and self._latest_champion[0] == found.source and Path(self._latest_champion[1].folder).exists():
            return self._latest_champion[1]
        if REMOVED in found.tags:
            raise FilesRemoved(
                f"the files of version {found.version} of stream {self.stream!r} were removed from MLflow on "
                f"{found.tags[REMOVED]} (`retention.checkpoints`); its numbers and its lineage are still there"
            )
        model = self._client.get_logged_model(found.source.removeprefix("models:/"))
        folder = mlflow.artifacts.download_artifacts(artifact_uri=model.artifact_location, tracking_uri=self.uri)
        tags = found.tags
        champion = Champion(
            int(found.version),
            str(folder),
            tags[CYCLE],
            tags["warmstart.window"],
            json.loads(tags.get("warmstart.baseline", "{}")),
        )
        self._latest_champion = found.source, champion
        return champion

    @_outage
    def register(
        self, spec: JobSpec, training: Training, profile: str, parent: int | None, baseline: Score, verdict: Verdict
    ) -> int:
        """Register the challenger as a candidate (no alias yet) and return its number; the same cycle always gets the same."""
        if number := self._registered(spec.cycle_id):
            return number
        client = self._client
        tags = {
            CYCLE: spec.cycle_id,
            "warmstart.window": spec.fresh[-1].id,
            "warmstart.windows": json.dumps({w.id: w.digest for w in training.trained_on(spec)}),
            "warmstart.parent": str(parent or ""),
            "warmstart.strategy": training.strategy,
            "warmstart.seed": str(spec.seed),
            "warmstart.profile": profile,
            "warmstart.code": importlib.metadata.version("warmstart"),
            "warmstart.baseline": json.dumps(baseline.metrics),
            "warmstart.quality": verdict.reason[:4900],
        }
        run = self._run(spec.cycle_id, spec.fresh[-1].id)
        model = client.create_logged_model(
            self._experiment, name=self.stream, source_run_id=run, tags=tags, model_type="warmstart"
        )
        client.log_model_artifacts(model.model_id, training.folder)
        client.finalize_logged_model(model.model_id, "READY")
        self._create_registered_model()
        uri = f"models:/{model.model_id}"
        created = client.create_model_version(
            self.stream, uri, run_id=run, model_id=model.model_id, tags=tags, await_creation_for=0
        )
        return int(created.version)

    def _registered(self, cycle_id: str) -> int | None:
        found = self._client.search_model_versions(f"name = '{self.stream}' and tags.`{CYCLE}` = '{cycle_id}'")
        return int(found[0].version) if found else None

    def _create_registered_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(self.stream)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    @_outage
    def promote(self, version: int, previous: int | None) -> None:
        """Move the aliases: `previous` first, `champion` last. Running it again changes nothing."""
        if previous is None:
            self._client.delete_registered_model_alias(self.stream, "previous")
        else:
            self._client.set_registered_model_alias(self.stream, "previous", str(previous))
        self._client.set_registered_model_alias(self.stream, "champion", str(version))

    @_outage
    def annotate(self, version: int, tags: Mapping[str, str]) -> None:
        """Set tags on a version; MLflow keeps 5,000 characters of each."""
        for name, text in tags.items():
            self._client.set_model_version_tag(self.stream, str(version), f"warmstart.{name}", text[:4900])

    # files

    @_outage
    def stored(self, most: int | None = None) -> list[int]:
        """The registered versions whose files are kept, oldest first; of the newest `most` versions only, if given."""
        if not self._exists():
            return []
        found: list[int] = []
        looked, token = 0, None
        while most is None or looked < most:
            page = self._client.search_model_versions(
                f"name = '{self.stream}'",
                max_results=min(1000, most or 1000),
                order_by=["version_number DESC"],
                page_token=token,
            )
            found += [int(version.version) for version in page if REMOVED not in version.tags]
            looked, token = looked + len(page), page.token
            if not token:
                break
        return found[::-1]

    @_outage
    def size(self, version: int) -> int:
        """Bytes of a version's files."""
        repository = self._files(version)

        def size(path: str | None) -> int:
            return sum(size(file.path) if file.is_dir else file.file_size for file in repository.list_artifacts(path))

        return size(None)

    @_outage
    def remove_files(self, version: int) -> None:
        """Remove a version's checkpoint, graph and profile, wherever MLflow keeps them, and say so in a tag.

        The version, its tags, its run and the run's metrics stay. Killed in between, the next call does the rest. Raises OSError
        when the files are still there afterwards: not every kind of store lets a client remove anything.
        """
        repository = self._files(version)
        repository.delete_artifacts()
        if repository.list_artifacts():
            raise OSError(f"MLflow's artifact store {repository.artifact_uri} does not let its files be removed")
        self._client.set_model_version_tag(self.stream, str(version), REMOVED, time.strftime("%Y-%m-%d"))

    def _files(self, version: int) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        found = self._client.get_model_version(self.stream, str(version))
        model = self._client.get_logged_model(found.source.removeprefix("models:/"))
        return get_artifact_repository(model.artifact_location, tracking_uri=self.uri)

    def _exists(self) -> bool:
        """False where nothing was ever registered: to ask would make the database."""
        return not self.uri.startswith("sqlite:///") or Path(self.uri.removeprefix("sqlite:///")).exists()

    # runs

    @_outage
    def log_cycle(
        self, cycle_id: str, window: str, metrics: Mapping[str, float], tags: Mapping[str, str], fresh: bool = False
    ) -> str:
        """One finished MLflow run per cycle, with its metrics and tags; returns the run's id.

        `fresh`: the cycle began in this process and nothing failed since, so a run of it that we do not know of cannot be.
        """
        from mlflow.entities import Metric, RunTag

        said = {name: text[:4900] for name, text in tags.items()}
        if fresh and self._latest_run[0] != cycle_id:
            run, said = self._create_run(cycle_id, window, said), {}
        else:
            run = self._run(cycle_id, window)
        now = int(time.time() * 1000)
        # MLflow is particular about names, and a column may be called anything.
        finite = {re.sub(r"[^\w\-. :/]", "_", name)[:250]: value for name, value in metrics.items() if abs(value) < float("inf")}
        self._client.log_batch(
            run,
            metrics=[Metric(name, value, now, 0) for name, value in finite.items()],
            tags=[RunTag(name, text) for name, text in said.items()],
        )
        self._client.set_terminated(run)
        return run

    def _run(self, cycle_id: str, window: str) -> str:
        if self._latest_run[0] == cycle_id:
            return self._latest_run[1]
        # MLflow has no index for this: it looks through all runs of the stream.
        found = self._client.search_runs([self._experiment], f"tags.`{CYCLE}` = '{cycle_id}'", max_results=1)
        return str(found[0].info.run_id) if found else self._create_run(cycle_id, window, {})

    def _create_run(self, cycle_id: str, window: str, tags: Mapping[str, str]) -> str:
        created = self._client.create_run(self._experiment, tags={CYCLE: cycle_id} | dict(tags), run_name=window)
        self._latest_run = cycle_id, str(created.info.run_id)
        return self._latest_run[1]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _create_whole(database: Path) -> None:
    """Make MLflow's SQLite file beside its place and rename it: migrations that were killed halfway cannot be gone on with."""
    if database.exists():
        return
    import sqlalchemy
    from filelock import FileLock
    from mlflow.store.db.utils import _initialize_tables

    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.with_name(f".{database.name}.lock")):
        if database.exists():
            return
        part = database.with_name(f".{database.name}")
        part.unlink(missing_ok=True)
        engine = sqlalchemy.create_engine(f"sqlite:///{part}")
        _initialize_tables(engine)  # type: ignore[no-untyped-call]
        with engine.connect() as connection:
            # One fsync for a transaction instead of four, and whoever reads (`mlflow ui`) stops nobody who writes.
            connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
        engine.dispose()
        part.replace(database)

"""The model repository: folders that a Triton server reads, changed only by renames.

    NAME/config.pbtxt      names exactly the versions to load (`select`); replaced in one step
    NAME/4/                a version that was verified; loaded only while the configuration names it
    NAME/.candidate-5/     published, not yet verified
    NAME/.rejected-3/      kept for inspection
    NAME/.writing-6/       torn by a kill while it was written; the next `publish` removes it
    NAME__next/5/          the staging model: the candidate's own files (hard links) under another name

Triton takes only folders whose name is a number for versions. So a version that nobody has verified has no such name in the
live model, and cannot be loaded under it by any version policy, by a restart or by mistake; `accept`, one rename, is what
makes it loadable. A version folder holds its own `config.pbtxt`, because the next version may have other inputs, and a
`manifest.json` with the size and SHA-256 of every file.

One writer per model: the caller holds a lock. Readers need none.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

from serving.config import ModelConfig
from serving.errors import Incomplete

CONFIG: Final = "config.pbtxt"
MANIFEST: Final = "manifest.json"
MODEL: Final = "model.onnx"
STAGING: Final = "__next"


@dataclass(frozen=True, slots=True)
class Repository:
    """A folder of models. `root` is shared with the server, and made on the first `publish`."""

    root: Path

    def publish(self, name: str, version: int, files: Mapping[str, Path], config: ModelConfig) -> Path:
        """Copy a version in, whole or not at all, as a candidate. Publishing the same bytes again changes nothing.

        Args:
            name: The model.
            version: A number from 1 up that this model never used for other bytes.
            files: Name in the version folder → the file to copy. `model.onnx` must be among them.
            config: How to serve it. Its `name` and `versions` are filled in when it is staged or selected.

        Returns:
            The version's folder, candidate or already accepted.

        Raises:
            ValueError: The version exists with other bytes, or the name or the version cannot be one.
        """
        _check(name, version)
        if MODEL not in files:
            raise ValueError(f"{name} {version}: {MODEL} is not among the files to publish ({', '.join(sorted(files))})")
        text = replace(config, name=name, versions=(version,)).to_pbtxt().encode()
        manifest = {file: _entry(source) for file, source in files.items()}
        manifest[CONFIG] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
        for leftover in self._model(name).glob(".writing-*"):
            shutil.rmtree(leftover)

        existing = self._folder(name, version)
        if existing is not None:
            if json.loads((existing / MANIFEST).read_text()) != manifest:
                raise ValueError(
                    f"{name} {version} exists in {existing} with other bytes; a version is never overwritten: "
                    "publish under a new number, or move this one aside"
                )
            return existing

        writing = self._model(name) / f".writing-{version}"
        # Plain mkdir, not a temporary folder of mode 0700: a server in a container reads this as another user.
        writing.mkdir(parents=True)
        for file, source in files.items():
            with source.open("rb") as content:
                _write(writing / file, content)
        _write(writing / CONFIG, BytesIO(text))
        _write(writing / MANIFEST, BytesIO(json.dumps(manifest, indent=1, sort_keys=True).encode()))
        _sync(writing)
        candidate = self._model(name) / f".candidate-{version}"
        writing.rename(candidate)
        _sync(candidate.parent)
        return candidate

    def folder(self, name: str, version: int) -> Path:
        """Where a version's files are, candidate or accepted.

        Raises:
            Incomplete: It was never published here.
        """
        found = self._folder(name, version)
        if found is None:
            raise Incomplete(f"{name} {version} is not in {self._model(name)}; publish it first")
        return found

    def complete(self, name: str, version: int) -> None:
        """Check a version's files by name and size. Call it before every load of `name` or of its staging name.

        A server that is asked to load a folder without its model file does not fail: it hangs for ever.

        Raises:
            Incomplete: A file is missing or has another size than when it was published.
        """
        self._complete(self.folder(name, version), f"{name} {version}")

    def stage(self, name: str, version: int) -> str:
        """Make the staging model from a version's own files. Returns the staging model's name."""
        source, staging = self.folder(name, version), self._model(name + STAGING)
        self._complete(source, f"{name} {version}")
        target = staging / str(version)
        # Its configuration is written last and removed first: while it is there, so is everything that it names.
        if self.staged(name) != version or not (target / MODEL).samefile(source / MODEL):
            self.unstage(name)
            writing = staging / f".writing-{version}"
            writing.mkdir(parents=True)
            for file in source.iterdir():
                os.link(file, writing / file.name)
            _sync(writing)
            writing.rename(target)
        self._configure(name + STAGING, source, (version,))
        return name + STAGING

    def unstage(self, name: str) -> None:
        """Remove the staging model. Unload it first: this only removes its folder."""
        staging = self._model(name + STAGING)
        (staging / CONFIG).unlink(missing_ok=True)
        shutil.rmtree(staging, ignore_errors=True)

    def staged(self, name: str) -> int | None:
        """The version under the staging name, or None."""
        return next(iter(self.selected(name + STAGING)), None)

    def accept(self, name: str, version: int) -> None:
        """Give a verified candidate the number that makes it loadable. Accepting again changes nothing."""
        candidate, accepted = self._model(name) / f".candidate-{version}", self._model(name) / str(version)
        if not accepted.exists():
            self.complete(name, version)
            candidate.rename(accepted)
            _sync(accepted.parent)

    def select(self, name: str, versions: Sequence[int]) -> None:
        """Name the versions that the next load brings up; all others go. The highest one's configuration is used.

        Raises:
            Incomplete: A version is not accepted, or not whole.
        """
        for version in versions:
            if not (self._model(name) / str(version)).is_dir():
                raise Incomplete(f"{name} {version} is not an accepted version in {self._model(name)}; it cannot be selected")
            self.complete(name, version)
        self._configure(name, self._model(name) / str(max(versions)), tuple(sorted(versions)))

    def selected(self, name: str) -> tuple[int, ...]:
        """The versions that a load brings up, lowest first; none before the first release."""
        path = self._model(name) / CONFIG
        return ModelConfig.from_pbtxt(path.read_text()).versions if path.exists() else ()

    def deselect(self, name: str) -> None:
        """Take the model out of service for the next start of the server. Its versions stay."""
        (self._model(name) / CONFIG).unlink(missing_ok=True)
        _sync(self._model(name))

    def config(self, name: str, version: int) -> ModelConfig:
        """How a version was published to be served."""
        return ModelConfig.from_pbtxt((self.folder(name, version) / CONFIG).read_text())

    def versions(self, name: str) -> tuple[int, ...]:
        """The accepted versions, lowest first."""
        return self._numbered(name, re.compile(r"([1-9]\d*)"))

    def candidates(self, name: str) -> tuple[int, ...]:
        """The versions that were published and wait to be accepted or moved aside, lowest first."""
        return self._numbered(name, re.compile(r"\.candidate-(\d+)"))

    def names(self) -> tuple[str, ...]:
        """The models with a selected version: those that a server should load when it starts."""
        if not self.root.is_dir():
            return ()
        return tuple(sorted(p.parent.name for p in self.root.glob(f"*/{CONFIG}") if not p.parent.name.endswith(STAGING)))

    def move_aside(self, name: str, version: int) -> Path | None:
        """Give a version a name that Triton ignores. None when there is nothing left to move.

        Raises:
            ValueError: The version is selected; a server that restarts would miss it.
        """
        if version in self.selected(name):
            raise ValueError(f"{name} {version} is selected; select another version before it is moved aside")
        folder, rejected = self._folder(name, version), self._model(name) / f".rejected-{version}"
        if folder is None:
            return rejected if rejected.exists() else None
        shutil.rmtree(rejected, ignore_errors=True)
        folder.rename(rejected)
        _sync(rejected.parent)
        return rejected

    def surplus(self, name: str, keep: int, spare: Collection[int] = ()) -> tuple[Path, ...]:
        """The folders of all but the `keep` newest accepted versions and all but the `keep` newest rejected ones.

        A selected version is never among them, nor one to `spare`.
        """
        needed = {*self.selected(name), *spare}
        old = [str(v) for v in self.versions(name)[: -keep or None] if v not in needed]
        rejected = self._numbered(name, re.compile(r"\.rejected-(\d+)"))[: -keep or None]
        return tuple(self._model(name) / folder for folder in [*old, *(f".rejected-{v}" for v in rejected)])

    def prune(self, name: str, keep: int, spare: Collection[int] = ()) -> tuple[int, ...]:
        """Delete the `surplus`.

        Returns:
            The accepted versions that were deleted.
        """
        folders = self.surplus(name, keep, spare)
        for folder in folders:
            # Renamed first: a half-deleted folder must not keep a number that can be selected.
            gone = self._model(name) / f".writing-{folder.name.removeprefix('.')}"
            folder.rename(gone)
            shutil.rmtree(gone)
        return tuple(int(folder.name) for folder in folders if folder.name.isdigit())

    def _model(self, name: str) -> Path:
        return self.root / name

    def _folder(self, name: str, version: int) -> Path | None:
        places = (self._model(name) / str(version), self._model(name) / f".candidate-{version}")
        return next((p for p in places if p.is_dir()), None)

    def _numbered(self, name: str, pattern: re.Pattern[str]) -> tuple[int, ...]:
        if not self._model(name).is_dir():
            return ()
        matches = (pattern.fullmatch(p.name) for p in self._model(name).iterdir() if p.is_dir())
        return tuple(sorted(int(m[1]) for m in matches if m))

    def _complete(self, folder: Path, what: str) -> None:
        try:
            manifest: dict[str, dict[str, str | int]] = json.loads((folder / MANIFEST).read_text())
            wrong = [f for f, entry in manifest.items() if (folder / f).stat().st_size != entry["bytes"]]
        except FileNotFoundError as error:
            raise Incomplete(f"{what}: {error.filename} is missing; move the version aside and publish it again") from error
        if wrong:
            raise Incomplete(f"{what}: {folder / wrong[0]} has not the size it was published with; move it aside, publish again")

    def _configure(self, name: str, source: Path, versions: tuple[int, ...]) -> None:
        config = ModelConfig.from_pbtxt((source / CONFIG).read_text())
        target = self._model(name) / CONFIG
        beside = target.with_name(f".{CONFIG}")
        _write(beside, BytesIO(replace(config, name=name, versions=versions).to_pbtxt().encode()))
        beside.replace(target)
        _sync(target.parent)


def _check(name: str, version: int) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) or name.endswith(STAGING):
        raise ValueError(f"{name!r} cannot name a model: letters, digits, '_', '.', '-', and no {STAGING} at its end")
    if version < 1:
        raise ValueError(f"{name}: version {version} cannot be served; Triton counts from 1")


def _entry(path: Path) -> dict[str, str | int]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _write(path: Path, content: BinaryIO) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(content, file)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    # A rename is durable only once its folder is.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

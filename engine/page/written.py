"""Write the page of a stream to a file, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from engine.ledger import Ledger
from engine.page import document, first_model, history


def write(ledger: Ledger, stream: str, models: Path, path: Path, last: int = 400) -> None:
    """The newest `last` cycles of a stream; `models` is the model repository, where the first model is looked for."""
    found = history.read(ledger, stream, last, first_model.left_alone(ledger, stream, models))
    whole(path, document.page(found))


def whole(path: Path, page: str) -> None:
    """Put a page in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}")
    part.write_text(page, encoding="utf-8")
    part.replace(path)

"""What becomes of a window that breaks its contract: it is kept aside with the reasons, never trained on, never lost."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from engine.intact import lost
from engine.nouns import Breach, Window


def keep(window: Window, breaches: tuple[Breach, ...], folder: Path) -> str:
    """Keep the window's file and a report beside it in `folder`; running it again changes nothing. Returns the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(window.uri)
    partition = "*" in source.name  # all the files of a folder
    kept = folder / f"{window.id}.{window.digest[:12]}{'' if partition else source.suffix}"
    part = kept.with_name(f".{kept.name}")
    there = lost(window) is None  # not some other file that came under its name
    if not kept.exists() and partition and there and source.parent.exists():
        shutil.copytree(source.parent, part, dirs_exist_ok=True)
        part.replace(kept)
    elif not kept.exists() and there and source.exists():
        shutil.copyfile(source, part)
        part.replace(kept)
    report = folder / f"{window.id}.{window.digest[:12]}.json"
    part = report.with_name(f".{report.name}")
    part.write_text(json.dumps({"window": asdict(window), "breaches": [asdict(b) for b in breaches]}, indent=2))
    part.replace(report)
    return str(report)

"""Results as JSON and back."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any


def encode(value: object) -> str:
    """A frozen dataclass, or containers of them, as JSON; NaN and infinities are written as such."""
    return json.dumps(value, default=dataclasses.asdict, ensure_ascii=False)


def decode(kind: Any, text: str) -> Any:
    """The inverse of `encode`, for a type or annotation."""
    return _adapter(kind).validate_json(text)


@functools.cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter  # only who reads results pays for it

    return TypeAdapter(kind)

"""How many questions were computed at once before on the same hardware, with the same work: nobody tries twice."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from vqa_pipeline.files import write_json

_SIZES: TypeAdapter[dict[str, int]] = TypeAdapter(dict[str, int])


class KnownSizes:
    """Sizes by what they depend on, in a file that may be lost."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, *depends_on: str) -> int | None:
        """The size known for this hardware and work; None: there is none."""
        return self._read().get(_make_key(depends_on))

    def put(self, size: int, *depends_on: str) -> None:
        """Keep a size.

        Raises:
            DiskError: it cannot be written.
        """
        write_json(self._path, self._read() | {_make_key(depends_on): size})

    def _read(self) -> dict[str, int]:
        try:
            return _SIZES.validate_json(self._path.read_bytes())
        except (OSError, ValidationError):  # it is but an advice: without it, sizes are found again
            return {}


def _make_key(depends_on: tuple[str, ...]) -> str:
    return json.dumps(depends_on, ensure_ascii=False)

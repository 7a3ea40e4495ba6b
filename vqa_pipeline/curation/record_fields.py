"""Which fields the raw records of a source have, and what they hold: to tell when an export is not what it was.

Looks at the first records of each kind only, which costs next to nothing; it judges none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from vqa_pipeline.schemas import RawRecord, RecordKind

LOOKED_AT = 1000
"""Records of each kind."""

Fields = Mapping[str, Mapping[str, int]]
"""By kind of record and name, such as `question.answers`: how many records hold a text, a number, and so on in it."""

_NOTHING = "null"
_USUAL_FRACTION = 0.5
"""A field that fewer records have may be missing from the next first thousand by chance."""
_KINDS = {
    type(None): _NOTHING,
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
}


class FieldTally:
    """Counts the fields of the records that it is shown."""

    def __init__(self) -> None:
        self._seen: Counter[RecordKind] = Counter()
        self._fields: dict[str, Counter[str]] = {}

    def look(self, raw: RawRecord) -> None:
        """Count a record, unless enough of its kind were seen; what is no JSON object says nothing."""
        if self._seen[raw.kind] >= LOOKED_AT:
            return
        self._seen[raw.kind] += 1
        try:
            record = _unwrap(from_json(raw.payload))
        except ValueError:
            return
        for name, value in record.items():
            self._fields.setdefault(f"{raw.kind}.{name}", Counter())[_KINDS[type(value)]] += 1

    def describe(self) -> dict[str, dict[str, int]]:
        """What was found, in a fixed order."""
        return {name: dict(sorted(kinds.items())) for name, kinds in sorted(self._fields.items())}


def find_main_kind(kinds: Mapping[str, int]) -> str | None:
    """What a field mostly holds, null aside; None: nothing."""
    told = {kind: count for kind, count in kinds.items() if kind != _NOTHING}
    return max(sorted(told), key=lambda kind: told[kind]) if told else None


def is_usual(kinds: Mapping[str, int], fields: Fields, name: str) -> bool:
    """Whether at least half of the records of its kind have a field."""
    kind = name.partition(".")[0]
    most = max(sum(found.values()) for other, found in fields.items() if other.startswith(f"{kind}."))
    return sum(kinds.values()) >= _USUAL_FRACTION * most


def _unwrap(record: Any) -> Mapping[str, Any]:
    """The object that holds the fields; a record that is a member of a larger object has its id as key."""
    if not isinstance(record, dict):
        return {}
    inner = next(iter(record.values()), None)
    return inner if len(record) == 1 and isinstance(inner, dict) else record

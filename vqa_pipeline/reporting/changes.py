"""What is otherwise than in the metrics before: rows, scores and settings, each as it was and as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

_NUMBERS = {
    "num_rows": "raw rows",
    "num_questions": "accepted questions",
    "num_images": "images",
    "num_rejected": "rejected rows",
    "num_answers": "answers in the vocabulary",
    "num_scored": "scored questions",
    "vqa_accuracy": "VQA accuracy",
    "exact_match": "exact match",
    "ceiling": "ceiling",
    "baseline_question_only": "question only",
}
"""Numbers that are told, by their name in a manifest, in this order."""


class Change(NamedTuple):
    """One thing, before and now; empty text where there was none."""

    what: str
    before: str
    now: str
    difference: str
    """Signed, of a number."""


class Facts(NamedTuple):
    """What a run told of itself."""

    numbers: Mapping[str, float | int | None]
    """Numbers of its manifests; of those in `_NUMBERS`, each has one meaning."""
    settings: Mapping[str, Any]
    """Its settings, by a name that says whose they are, such as `training.epochs`."""


def list_changes(before: Facts, now: Facts) -> list[Change]:
    """All that differs, numbers first."""
    numbers = (
        _compare_numbers(label, before.numbers.get(name), now.numbers.get(name)) for name, label in _NUMBERS.items()
    )
    names = [*now.settings, *(name for name in before.settings if name not in now.settings)]
    settings = [
        Change(name, _show(before.settings.get(name)), _show(now.settings.get(name)), "")
        for name in names
        if before.settings.get(name) != now.settings.get(name)
    ]
    return [*(change for change in numbers if change is not None), *settings]


def _compare_numbers(label: str, before: float | None, now: float | None) -> Change | None:
    if before is None or now is None or before == now:
        return None
    shape = "," if isinstance(before, int) and isinstance(now, int) else ".3f"
    return Change(label, f"{before:{shape}}", f"{now:{shape}}", f"{now - before:+{shape}}")


def _show(value: Any) -> str:
    """A setting as YAML on one line would have it, nearly."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

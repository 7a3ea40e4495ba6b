"""Which column of a table holds what, guessed by its name and first values. Guesses only: a person confirms them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vqa_pipeline.sources.image_search import has_image_suffix
from vqa_pipeline.sources.split_words import find_split_word

_LONGEST_NAME = 1024

_NAMES: dict[str, tuple[str, ...]] = {
    "question": ("question", "questions", "question_text", "q", "query", "text", "sent", "sentence", "prompt"),
    "image": (
        *("image", "image_name", "img_name", "imgname", "image_path", "img_path", "image_file", "image_filename"),
        *("file_name", "filename", "img_file", "file_path", "filepath", "file", "path", "img"),
        *("image_id", "img_id", "imageid", "picture", "photo"),
    ),
    "answers": (
        "answers",
        "answer",
        "direct_answers",
        "label",
        "a",
        "gold",
        "ground_truth",
        "gt",
        "target",
        "response",
    ),
    "id": ("question_id", "questionid", "qid", "id", "index", "pid", "uid"),
    "question_type": ("question_type", "content_type", "category"),
    "answer_type": ("answer_type",),
    "paraphrase_of": ("paraphrase_of", "rephrasing_of", "qid_linked_id"),
}
"""Names of columns by what they hold, in lower case; the surest first."""

_SPLIT_NAMES = ("split", "set", "subset", "set_name", "fold", "partition")


def guess_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The columns of question, image, answers and so on, as far as they can be told from some rows."""
    found: dict[str, str] = {}
    for meaning, names in _NAMES.items():
        column = _find_column(rows, names, _CHECKS[meaning], taken=found.values())
        if column is not None:
            found[meaning] = column
    if "image" not in found:
        free = [column for column in rows[0] if column not in found.values()] if rows else []
        named = [column for column in free if _are_image_names([row.get(column) for row in rows])]
        found |= {"image": named[0]} if named else {}
    return found


def guess_split_column(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The column in which most values are words for splits; what is misspelt is for validation to tell."""
    return _find_column(rows, _SPLIT_NAMES, _are_split_words, taken=())


def _find_column(
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    check: Callable[[Sequence[Any]], bool],
    taken: Any,
) -> str | None:
    """The first column with one of these names whose values may be what it says."""
    columns = {str(column).lower(): str(column) for row in rows[:1] for column in row}
    for name in names:
        column = columns.get(name)
        if column is not None and column not in taken and check([row.get(column) for row in rows]):
            return column
    return None


def _are_texts(values: Sequence[Any]) -> bool:
    return any(isinstance(value, str) and value.strip() for value in values)


def _are_names(values: Sequence[Any]) -> bool:
    texts = [value for value in values if isinstance(value, str)]
    return 2 * len(texts) > len(values) and all(len(text) <= _LONGEST_NAME for text in texts)


def _are_image_names(values: Sequence[Any]) -> bool:
    named = [value for value in values if isinstance(value, str) and has_image_suffix(value)]
    return 2 * len(named) > len(values)


def _are_answers(values: Sequence[Any]) -> bool:
    return any(isinstance(value, str | int | float | list) for value in values)


def _are_ids(values: Sequence[Any]) -> bool:
    usable = [value for value in values if isinstance(value, str | int) and not isinstance(value, bool) and value != ""]
    return len(usable) == len(values) == len(set(usable))


def _are_references(values: Sequence[Any]) -> bool:
    return any(isinstance(value, str | int) and not isinstance(value, bool) and value != "" for value in values)


def _are_split_words(values: Sequence[Any]) -> bool:
    words = [value for value in values if isinstance(value, str) and find_split_word(value)]
    return 2 * len(words) > len(values)


_CHECKS: dict[str, Callable[[Sequence[Any]], bool]] = {
    "question": _are_texts,
    "image": _are_names,
    "answers": _are_answers,
    "id": _are_ids,
    "question_type": _are_texts,
    "answer_type": _are_texts,
    "paraphrase_of": _are_references,
}

"""Rows of named fields: which field holds what, and how each is taken from the row, or why it cannot be.

Shared by the formats whose records have fields of any name. Values stay what the file says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field
from pydantic_core import from_json

from vqa_pipeline.schemas import Answer, Frozen, QuestionFields, RawRecord
from vqa_pipeline.sources.formats.format import MalformedRecord, find_json_problem
from vqa_pipeline.sources.settings import SplitColumn, Splits

Row = Mapping[str, Any]

_INT64 = range(-(2**63), 2**63)


class QuestionColumns(Frozen):
    """Which field of a row holds what; formats differ in how they find the image."""

    question: str = Field("question", description="The question.")
    answers: str | None = Field(
        "answers", description="One answer, a list of answers, or a list of objects with `answer`; null: unanswered."
    )
    id: str | None = Field(None, description="The row's own id; null: made from image and question.")
    question_type: str | None = Field(None, description="Kind of question, for tables of accuracy.")
    answer_type: str | None = Field(None, description="Kind of answer, for tables of accuracy.")
    paraphrase_of: str | None = Field(
        None, description="Id of the question that it rephrases, or a name that questions asking the same share."
    )


class Columns(QuestionColumns):
    """Which field of a row holds what."""

    image: str = Field("image", description="Image reference, relative to `image_root`.")


def name_columns(columns: QuestionColumns, splits: Splits) -> list[str]:
    """The fields that a mapping names."""
    named = [column for column in columns.model_dump().values() if column is not None]
    return named + ([splits.column] if isinstance(splits, SplitColumn) else [])


def find_column_problem(named: list[str], present: list[str]) -> str | None:
    """What keeps the columns that a mapping names from being read; None when each is there once."""
    missing = [column for column in named if column not in present]
    doubled = [column for column in named if present.count(column) > 1]
    if not missing and not doubled:
        return None
    problem = "no column" if missing else "more than one column"
    culprits = ", ".join(map(repr, missing or doubled))
    return f"has {problem} {culprits}; its columns are {', '.join(map(repr, present))}"


def build_row_parser(
    columns: Columns,
    splits: Splits,
    answer_separator: str | None,
    arrange: Callable[[Row], Row] = lambda row: row,
) -> Callable[[RawRecord], QuestionFields]:
    """The function from a row to its fields; `arrange` first brings fields of other forms into the usual one."""
    split_column = splits.column if isinstance(splits, SplitColumn) else None

    def parse(raw: RawRecord) -> QuestionFields:
        row = arrange(_parse_object(raw.payload))
        return QuestionFields(
            native_id=_take_id(row, columns.id),
            image=_take_text(row, columns.image, "image"),
            question=_take_text(row, columns.question, "question"),
            split=_take_optional_text(row, split_column),
            question_type=_take_optional_text(row, columns.question_type),
            answer_type=_take_optional_text(row, columns.answer_type),
            answers=_take_answers(row, columns.answers, answer_separator),
            paraphrase_of=_take_reference(row, columns.paraphrase_of),
        )

    return parse


def _parse_object(payload: bytes) -> Row:
    try:
        row = from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        raise _explain_unreadable(payload) from error
    if isinstance(row, dict):
        return row
    reason = f"the row is {_name_type(row)}, not an object"
    if isinstance(row, list):
        reason = f"the row has {len(row)} cells, another number than the header"
    raise MalformedRecord("record_malformed", reason, "Give the row the fields that the others have.")


def _explain_unreadable(payload: bytes) -> MalformedRecord:
    problem = find_json_problem(payload)
    if problem is not None and (problem.rule == "record_not_utf_8" or payload.lstrip()[:1] in (b"", b"{", b"[")):
        return problem
    reason = "the row's cells cannot be told: a quote is not closed, or stands in a quoted cell without being doubled"
    return MalformedRecord("record_malformed", reason, "Close each quote; write a quote inside a cell twice.")


def _take(row: Row, column: str) -> Any:
    if column not in row:
        raise MalformedRecord("record_malformed", f"the row has no `{column}`", f"Add the field `{column}`.")
    return row[column]


def _take_text(row: Row, column: str, meaning: str) -> str:
    value = _take(row, column)
    if isinstance(value, str):
        return value
    reason = f"`{column}` is {_name_type(value)}, but a {meaning} is a text"
    raise MalformedRecord("record_malformed", reason, f"Make `{column}` a text.")


def _take_optional_text(row: Row, column: str | None) -> str | None:
    if column is None or row.get(column) is None or row.get(column) == "":
        return None
    return _take_text(row, column, "category")


def _take_id(row: Row, column: str | None) -> int | str | None:
    if column is None:
        return None
    value = _take(row, column)
    if isinstance(value, int | str) and not isinstance(value, bool) and value != "":
        return value
    reason = f"`{column}` is {_name_type(value)}, but an id is a text or an integer"
    raise MalformedRecord("record_malformed", reason, f"Give the row an id in `{column}`.")


def _take_reference(row: Row, column: str | None) -> str | None:
    """An id of another row, as text."""
    if column is None or row.get(column) in (None, ""):
        return None
    return str(_take_id(row, column))


def _take_answers(row: Row, column: str | None, separator: str | None) -> list[Answer] | None:
    if column is None:
        return None
    value = _take(row, column)
    if value is None:
        return None
    if isinstance(value, str) and separator is not None:
        value = [part.strip() for part in value.split(separator) if part.strip()]
    listed = value if isinstance(value, list) else [value]
    return [_take_answer(column, number, item) for number, item in enumerate(listed, 1)]


def _take_answer(column: str, number: int, value: Any) -> Answer:
    """An answer as text; a number is written out, as people write "3".

    An answer without id gets its position, `number`: equal answers of several annotators must not count as one.
    """
    fields = value if isinstance(value, dict) else {"answer": value}
    answer = _write_out(fields.get("answer"))
    answer_id, confidence = fields.get("answer_id"), fields.get("answer_confidence")
    if answer is None:
        given = _name_type(fields.get("answer"))
        reason = f"answer {number} in `{column}` is {given}, but an answer is a text or a number"
        raise MalformedRecord("record_malformed", reason, f"Make every answer in `{column}` a text.")
    if answer_id is not None and not (type(answer_id) is int and answer_id in _INT64):
        reason = f"`answer_id` of answer {number} in `{column}` is {_name_type(answer_id)}, but it is a 64-bit integer"
        raise MalformedRecord("record_malformed", reason, "Number the answers, or leave `answer_id` out.")
    if not isinstance(confidence, str | None):
        reason = f"`answer_confidence` of answer {number} in `{column}` is {_name_type(confidence)}, but it is a text"
        raise MalformedRecord("record_malformed", reason, "Write yes, maybe or no, or leave it out.")
    return Answer(answer=answer, answer_id=number if answer_id is None else answer_id, answer_confidence=confidence)


def _write_out(value: Any) -> str | None:
    """A text or number as text; None for what is neither."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


_TYPE_NAMES = {
    "NoneType": "null",
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
    "str": "a text",
    "list": "a list",
    "dict": "an object",
}


def _name_type(value: Any) -> str:
    return _TYPE_NAMES[type(value).__name__]

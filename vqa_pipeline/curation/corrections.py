"""The corrections file: a person's edits of a source's rows, one CSV row each, beside the source and part of it.

`vqa-pipeline rejects --as-corrections FILE` writes it with a row for each raw row that was not accepted; a person fills
in `action` and whatever is to change. A row whose `action` is empty says nothing yet.

| column | holds |
|---|---|
| `question_id` | the key: `<source>/<native id>`, as every page and command shows it |
| `locator` | the key where a row could not be read so far and has no id: `file:line` or `file[record].item` |
| `action` | `edit` (take the cells below), `drop` (leave the row out), `accept` (take it although it broke a rule) |
| `question`, `image`, `split` | the new value; empty: as it is |
| `answers` | one answer as plain text, or several as a JSON list: `["yes", "yes", "no"]`; empty: as they are |
| `kind`, `raw` | the record (a question or an annotation); unless `raw` is empty, another one is not corrected |
| `rule`, `reason` | what was wrong with it: to read |

A locator only holds as long as its file stays as it is, so a row that is keyed by one needs `raw`. One answer that
begins with `[` is written as a list.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from vqa_pipeline.errors import SourceError
from vqa_pipeline.files import write_atomically
from vqa_pipeline.schemas import Frozen, RecordKind, Split

Action = Literal["edit", "drop", "accept"]

COLUMNS = ("question_id", "locator", "action", "question", "image", "answers", "split", "rule", "reason", "kind", "raw")
"""The file's header."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take for a formula, were it the first character of a cell (owasp.org, CSV injection)."""

_ANSWERS: TypeAdapter[tuple[str, ...]] = TypeAdapter(tuple[str, ...])


class Correction(Frozen):
    """What a person decided about one raw row."""

    question_id: str | None = Field(None, description="Key: `<source>/<native id>`.")
    locator: str | None = Field(None, description="Key where there is no question id.")
    action: Action = Field(description="edit, drop or accept.")
    question: str | None = Field(None, description="The new question; null: as it is.")
    image: str | None = Field(None, description="The new image reference; null: as it is.")
    answers: tuple[str, ...] | None = Field(None, description="The new answers, one per annotator; null: as they are.")
    split: Split | None = Field(None, description="The new split; null: as it is.")
    kind: RecordKind | None = Field(None, description="Of the record in `raw`: question or annotation.")
    raw: str | None = Field(None, description="The record as `show_raw` wrote it; another one is not corrected.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.question_id and not (self.locator and self.raw):
            raise ValueError("a correction needs a question_id, or a locator and the raw record that lies there")
        changes = [self.question, self.image, self.answers, self.split]
        if self.action == "edit" and all(change is None for change in changes):
            raise ValueError("an edit changes question, image, answers or split; all four cells are empty")
        if self.action != "edit" and any(change is not None for change in changes):
            raise ValueError(f"{self.action} changes nothing, but a cell is filled in; write edit, or empty the cell")
        return self


def read_corrections(source: str, path: Path) -> tuple[Correction, ...]:
    """The corrections of a source that are filled in, in the order of their file.

    Commas or semicolons may part the cells, as spreadsheets in different countries write them.

    Raises:
        SourceError: the file cannot be read, a row is no correction, or two rows correct the same record.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        reason = f"cannot be read ({error})"
        raise SourceError(source, "corrections", path, reason, "Save it as CSV in UTF-8.") from error
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval="", strict=True)
    unknown = sorted(set(rows.fieldnames or ()) - set(COLUMNS))
    if "action" not in (rows.fieldnames or ()) or unknown:
        reason = f"has the unknown columns {', '.join(unknown)}" if unknown else "has no column `action`"
        raise SourceError(source, "corrections", path, reason, f"Its columns are {', '.join(COLUMNS)}.", line=1)
    try:
        return _take_once(filter(None, map(parse_cells, rows)))
    except (csv.Error, ValueError) as error:
        told = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else None
        reason = f"{'.'.join(map(str, told['loc']))}: {told['msg']}".lstrip(": ") if told else str(error)
        raise SourceError(source, "corrections", path, reason, "Mend this row.", line=rows.line_num) from error


def _take_once(corrections: Iterable[Correction]) -> tuple[Correction, ...]:
    found: dict[tuple[str | None, str | None], Correction] = {}
    for one in corrections:
        key = (one.question_id or one.locator, one.raw)
        if key in found:
            raise ValueError(f"{key[0]} is corrected twice")
        found[key] = one
    return tuple(found.values())


def parse_cells(cells: Mapping[str, Any]) -> Correction | None:
    """A row of the file as a correction; None where no action is filled in.

    Raises:
        ValueError: it is none, or has more cells than the header.
    """
    if None in cells:
        raise ValueError("the row has more cells than the header; put cells with commas between quotes")
    given = {name: cells.get(name, "").strip() or None for name in COLUMNS if name not in {"rule", "reason"}}
    if given["action"] is None:
        return None
    answers = given.pop("answers")
    return Correction.model_validate(given | {"answers": None if answers is None else parse_answers(answers)})


def parse_answers(cell: str) -> tuple[str, ...]:
    """The answers that a cell holds: a JSON list of texts, or one answer as it stands.

    Raises:
        ValueError: the cell begins as a list, but is no JSON list of texts.
    """
    if not cell.startswith("["):
        return (cell,)
    try:
        return _ANSWERS.validate_json(cell, strict=True)
    except ValidationError as error:
        raise ValueError(f"{cell!r:.80} is no JSON list of texts") from error


def show_answers(answers: Iterable[str]) -> str:
    """Answers as a cell that `parse_answers` reads and no spreadsheet computes."""
    given = list(answers)
    plain = len(given) == 1 and not given[0].startswith(("[", *_FORMULA))
    return given[0] if plain else json.dumps(given, ensure_ascii=False)


def show_raw(payload: str) -> str:
    """A record as one line of text that no spreadsheet computes."""
    line = " ".join(payload.split())
    return f"'{line}" if line.startswith(_FORMULA) else line


def write_corrections(path: Path, rejects: Iterable[Mapping[str, Any]]) -> int:
    """Write a file to fill in, a row for each raw row that was not accepted; returns how many there are.

    Args:
        path: Where; nothing half-written is ever there.
        rejects: Rows of `schemas.REJECTS`, locator and raw as text.

    Raises:
        DiskError: it cannot be written.
    """
    return write_rows(path, map(_describe_reject, rejects))


def _describe_reject(reject: Mapping[str, Any]) -> dict[str, str]:
    told = {name: show_raw(reject[name]) for name in ("rule", "reason", "kind", "raw")}
    return {"question_id": reject["question_id"] or "", "locator": reject["locator"], **told}


def write_rows(path: Path, rows: Iterable[Mapping[str, str]]) -> int:
    """Write a file of corrections from cells by column; returns how many rows there are.

    Args:
        path: Where; nothing half-written is ever there.
        rows: What is there to read only, as `show_raw` gives it; answers as `show_answers` gives them.

    Raises:
        DiskError: it cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="")
    writer.writeheader()
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
    write_atomically(path, text.getvalue().encode())
    return count

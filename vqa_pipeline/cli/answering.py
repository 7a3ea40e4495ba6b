"""`predict IMAGE QUESTION` and `predict --questions FILE`: a model asked from the command line.

A question that cannot be answered stays, with its reason in `error`; nothing is dropped. A file is refused as a whole
only where no row of it could be answered: it has another form, no column for images or questions, or no row.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqa_pipeline.cli.tables import format_table
from vqa_pipeline.deployment import Deployment
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.files import write_atomically
from vqa_pipeline.loading import open_answerer
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.progress import follow, show_on
from vqa_pipeline.store import Store

if TYPE_CHECKING:
    from vqa_pipeline.modeling.answering import Answerer

Row = dict[str, Any]
_FIELDS = ("image", "question", "answer", "probability", "abstains", "error")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LINES = {".jsonl", ".ndjson"}


def find_folder(chosen: Pipeline) -> Path:
    """The checkpoint to ask: the champion, or where there is none yet, the published one, and says so.

    Raises:
        NotPublished: there is none either.
        ChampionDamaged: the champion's folder lacks something.
    """
    store = Store(chosen.store_folder, chosen.scratch_folder)
    champion = Deployment(store).find_champion()
    if champion is not None:
        return champion.folder
    checkpoint = store.require("checkpoint")
    print(f"There is no champion yet; the published checkpoint {checkpoint.manifest.version} answers.", file=sys.stderr)
    return checkpoint.path


def answer_one(folder: Path, image: Path, question: str, *, as_json: bool) -> None:
    """Print the best answers to a question about an image.

    Raises:
        SettingsError: the image cannot be used, or the question is empty.
    """
    told = _ask(open_answerer(folder), image, question)
    if told["error"]:
        raise SettingsError(str(image), told["error"], "Name an image file and a question about it.")
    if as_json:
        print(json.dumps(told, indent=1, ensure_ascii=False))
        return
    rows = [(f"{one['probability']:.3f}", one["answer"]) for one in told["top"]]
    print(format_table(rows, ("probability", "answer")))
    if told["abstains"]:
        print("\nIt is not sure enough of any of them: below its threshold it had better not answer.")


def answer_file(folder: Path, questions: Path, output: Path | None) -> int:
    """Answer the rows of a file; returns how many could not be answered.

    Args:
        folder: Of the checkpoint.
        questions: CSV, TSV or JSON lines with `image` and `question`; images are relative to its folder.
        output: CSV, TSV or JSON lines; None: JSON lines to stdout.

    Raises:
        SettingsError: a file has another suffix, cannot be read, lacks a column, or has no row.
        DiskError: the output cannot be written.
    """
    kind = _check_suffix(output) if output else ".jsonl"
    rows = _read_rows(questions)
    answerer = open_answerer(folder)
    read = follow(rows, show_on(sys.stderr), "answering", len(rows), "questions", lambda _row: 1)
    answered = [_answer_row(answerer, questions.parent, row) for row in read]
    text = _write_rows(answered, kind)
    if output is None:
        sys.stdout.write(text)
    else:
        write_atomically(output, text.encode())
    return sum(bool(row["error"]) for row in answered)


def _answer_row(answerer: Answerer, folder: Path, row: Row) -> dict[str, Any]:
    """A row answered, or with the reason why it cannot be."""
    image, question = row.get("image"), row.get("question")
    for name, cell in (("image", image), ("question", question)):
        if not isinstance(cell, str) or not cell.strip():
            problem = f"the row has no {name}" if cell in (None, "") else f"`{name}` is {cell!r:.40}, not a text"
            return _describe(image, question) | {"error": problem}
    return _ask(answerer, folder / str(image), str(question)) | {"image": image}


def _describe(image: Any, question: Any) -> dict[str, Any]:
    unanswered = dict.fromkeys(("answer", "probability", "abstains", "error"))
    return {"image": image, "question": question, **unanswered}


def _ask(answerer: Answerer, image: Path, question: str) -> dict[str, Any]:
    told = _describe(str(image), question)
    try:
        response = answerer.answer(image, question)
    except (ValueError, OSError) as error:
        return told | {"error": str(error)}
    top = [one._asdict() for one in response.top]
    return told | {
        "answer": response.answer,
        "probability": round(response.probability, 6),
        "abstains": response.abstains,
        "top": top,
    }


def _check_suffix(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix not in {*_DELIMITERS, *_LINES}:
        known = ", ".join(sorted({*_DELIMITERS, *_LINES}))
        raise SettingsError(str(file), f"its suffix is none of {known}", "Give it one of these.")
    return suffix


def _read_rows(file: Path) -> list[Row]:
    suffix = _check_suffix(file)
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:  # a cell may hold a line break
            rows: list[Row] = (
                [json.loads(line) for line in opened.read().split("\n") if line.strip()]
                if suffix in _LINES
                else list(csv.DictReader(opened, delimiter=_DELIMITERS[suffix]))
            )
    except (OSError, ValueError, csv.Error) as error:
        raise SettingsError(str(file), f"cannot be read ({error})", "See `vqa-pipeline predict --help`.") from error
    _refuse_unfit(file, rows)
    return rows


def _refuse_unfit(file: Path, rows: list[Row]) -> None:
    fix = "Every row needs `image` and `question`."
    if not rows:
        raise SettingsError(str(file), "no question is in it", fix)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise SettingsError(str(file), f"row {number} is no object", fix)
    columns = {name: None for row in rows for name in row if isinstance(name, str)}
    missing = [name for name in ("image", "question") if name not in columns]
    if missing:
        problem = f"has no column {' and '.join(map(repr, missing))}; its columns are {', '.join(map(repr, columns))}"
        raise SettingsError(str(file), problem, fix)


def _write_rows(rows: list[dict[str, Any]], kind: str) -> str:
    if kind in _LINES:
        return "".join(_escape_unseen(json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=_DELIMITERS[kind], lineterminator="\n")
    writer.writerow(_FIELDS)
    writer.writerows([_show(row[name]) for name in _FIELDS] for row in rows)
    return text.getvalue()


def _escape_unseen(line: str) -> str:
    """What acts on a terminal instead of showing, as JSON writes it: the encoder leaves most of it as it is."""
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in line)


def _show(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

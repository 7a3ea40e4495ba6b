"""Rows, pictures and whole runs of curation, made by hand; what the tests of `curation/` share."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vqa_pipeline.curation.plan import DatasetSummary, SourceRecords, build_dataset, run_in_order
from vqa_pipeline.curation.settings import DatasetSettings
from vqa_pipeline.curation.validation import RecordsSummary, validate_source
from vqa_pipeline.schemas import ANNOTATION_RECORDS, QUESTION_RECORDS
from vqa_pipeline.sources.formats import Source, get_format
from vqa_pipeline.sources.formats.table import TableSource
from vqa_pipeline.sources.formats.vqa_v2 import VqaV2Source

Row = dict[str, Any]

# ---------------------------------------------------------------------------------------------------- rows of one room


def make_answers(*texts: str) -> list[Row]:
    return [{"answer": text, "answer_id": number, "answer_confidence": None} for number, text in enumerate(texts, 1)]


def make_locator(record: int, file: str = "rows.jsonl") -> Row:
    return {"file": file, "record": record, "item": None, "byte_offset": None, "line": None}


def make_question(question_id: str, record: int = 0, **fields: Any) -> Row:
    """A valid question record; `record` is its place in its file."""
    row = {
        "question_id": question_id,
        "native_id": None,
        "image": "1.png",
        "question": "what is it?",
        "split": None,
        "question_type": None,
        "answer_type": None,
        "answers": None,
        "repairs": [],
        "locator": make_locator(record),
        "raw": b"{}",
        "source": "clinic",
    }
    assert fields.keys() <= row.keys()
    return row | fields


def make_annotation(question_id: str, *answers: str, record: int = 0, **fields: Any) -> Row:
    row = {
        "question_id": question_id,
        "question_type": None,
        "answer_type": None,
        "answers": make_answers(*answers),
        "locator": make_locator(record, "annotations.json"),
        "raw": b"{}",
        "source": "clinic",
    }
    assert fields.keys() <= row.keys()
    return row | fields


def tabulate_questions(rows: Iterable[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), QUESTION_RECORDS.append(pa.field("source", pa.string())))


def tabulate_annotations(rows: Iterable[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), ANNOTATION_RECORDS.append(pa.field("source", pa.string())))


# ---------------------------------------------------------------------------------------------------- files of a source


def draw_png(number: int) -> bytes:
    """A picture of its own for each number below 256 ** 3."""
    file = io.BytesIO()
    Image.new("RGB", (4, 3), (number % 256, number // 256 % 256, number // 65536)).save(file, "PNG")
    return file.getvalue()


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def encode_lines(rows: Iterable[Any]) -> bytes:
    """Rows as JSON Lines; bytes are a line as it is."""
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


def make_table_source(name: str = "clinic", **settings: Any) -> TableSource:
    """JSON Lines in `<name>*.jsonl`, pictures in `images/`, ids and splits in the rows."""
    told = {
        "name": name,
        "format": "table",
        "files": f"{name}*.jsonl",
        "image_root": "images",
        "columns": {"id": "id", "question_type": "type"},
        "splits": {"column": "split"},
        **settings,
    }
    return TableSource.model_validate(told)


def make_vqa_source(name: str = "vqa", **settings: Any) -> VqaV2Source:
    """The two-file form in `<name>-questions*.json` and `<name>-annotations*.json`, images `<image_id>.png`."""
    told = {
        "name": name,
        "format": "vqa_v2",
        "questions": f"{name}-questions*.json",
        "annotations": f"{name}-annotations*.json",
        "image_pattern": "{image_id}.png",
        "image_root": "images",
        "splits": "by_image",
        **settings,
    }
    return VqaV2Source.model_validate(told)


# --------------------------------------------------------------------------------------------------- runs of curation


def prepare(source: Source, root: Path, folder: Path) -> tuple[SourceRecords, RecordsSummary]:
    """Validate a source into a folder, as the stage does."""
    folder.mkdir(parents=True)
    summary = validate_source(source, root, folder)
    image_root = get_format(source).find_image_root(source, root)
    records = SourceRecords(
        source.name, folder, image_root, summary.num_question_records, summary.num_annotation_records
    )
    return records, summary


class Curated(NamedTuple):
    """What a run gave."""

    summary: DatasetSummary
    output: Path

    @property
    def questions(self) -> list[Row]:
        return [row for path in sorted(self.output.glob("questions/*")) for row in pq.read_table(path).to_pylist()]

    @property
    def rejects(self) -> list[Row]:
        return [row for path in sorted(self.output.glob("rejects/*")) for row in pq.read_table(path).to_pylist()]

    @property
    def splits(self) -> dict[str, str]:
        """Split of each accepted question, by its id."""
        return {row["question_id"]: row["split"] for row in self.questions}

    @property
    def fates(self) -> dict[tuple[str, str, int], list[tuple[str, str]]]:
        """Every fate that each row has, by source, file and number of the record."""
        found: dict[tuple[str, str, int], list[tuple[str, str]]] = {}
        for row in [*self.questions, *self.rejects]:
            place = (row["source"], row["locator"]["file"], row["locator"]["record"])
            found.setdefault(place, []).append((row.get("fate", "accepted"), row.get("rule", "")))
        return found


def run_plan(
    sources: Sequence[SourceRecords],
    folder: Path,
    known_packs: Sequence[Path] = (),
    map_tasks: Callable[..., list[Any]] = run_in_order,
    **settings: Any,
) -> Curated:
    """Run the plan into `<folder>/output`."""
    output = folder / "output"
    output.mkdir(parents=True)
    chosen = DatasetSettings.model_validate(settings)
    return Curated(build_dataset(sources, chosen, known_packs, folder / "scratch", output, map_tasks), output)


def curate(sources: Sequence[Source], root: Path, folder: Path, **settings: Any) -> Curated:
    """From raw files to the dataset."""
    records = [prepare(source, root, folder / "records" / source.name)[0] for source in sources]
    return run_plan(records, folder, **settings)


def read_tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, byte for byte."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }

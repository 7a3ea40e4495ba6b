"""Rows, pictures and whole runs of curation, made by hand; what the tests of `curation/` share."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vqa_pipeline.curation.plan import Known, build_dataset
from vqa_pipeline.curation.records import RecordsSummary, validate_source
from vqa_pipeline.curation.settings import DatasetSettings
from vqa_pipeline.curation.source_records import SourceRecords
from vqa_pipeline.curation.summary import DatasetSummary
from vqa_pipeline.curation.tasks import run_in_order
from vqa_pipeline.progress import Progress, silent
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
        "paraphrase_of": None,
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


def draw_scene(number: int, container: str = "PNG", size: tuple[int, int] = (160, 120), **options: Any) -> bytes:
    """A soft picture of many colours; written in another way or size it is a near-duplicate of itself."""
    chance = random.Random(number)
    blots = Image.frombytes("RGB", (5, 4), bytes(chance.randrange(256) for _ in range(60)))
    file = io.BytesIO()
    blots.resize((160, 120), Image.Resampling.BICUBIC).resize(size).save(file, container, **options)
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
        "columns": {"id": "id", "question_type": "type", "paraphrase_of": "of"},
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
    map_tasks: Callable[..., Iterable[Any]] = run_in_order,
    progress: Progress = silent,
    known_images: Path | None = None,
    **settings: Any,
) -> Curated:
    """Run the plan into `<folder>/output`."""
    output = folder / "output"
    output.mkdir(parents=True)
    chosen = DatasetSettings.model_validate(settings)
    known, scratch = Known(known_packs, known_images), folder / "scratch"
    return Curated(build_dataset(sources, chosen, known, scratch, output, map_tasks, progress), output)


def curate(sources: Sequence[Source], root: Path, folder: Path, **settings: Any) -> Curated:
    """From raw files to the dataset."""
    records = [prepare(source, root, folder / "records" / source.name)[0] for source in sources]
    return run_plan(records, folder, **settings)


def read_tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, byte for byte."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


# ------------------------------------------------------------------------------------------- a world full of defects

NUM_PICTURES = 40
NUM_SCENES = 4
_CLINIC_DEFECTS: tuple[Row, ...] = (
    {"image": "/x/lost.png"},
    {"image": "a/../../1.png"},
    {"image": "..\\1.png"},
    {"image": "C:\\lost.png"},
    {"image": "./d:lost.png"},
    {"image": "twin"},
    {"image": "near.gif"},
    {"image": "NEAR.png"},
    {"image": "/one/far.png"},
    {"image": "D:/two/far.png"},
    {"image": "s3://bucket/1.png"},
    {"image": "1.png\0.jpg"},
    {"image": "1\n.png"},
    {"image": "a/AUX.png"},
    {"image": "~/lost.png"},
    {"image": "1" * 1100},
    {"image": " "},
    {"image": "./"},
    {"image": "lost.png"},
    {"image": "cut.png"},
    {"image": "empty.png"},
    {"image": "page.png"},
    {"image": "drawing.png"},
    {"image": "link-out.png"},
    {"image": 7},
    {"question": " "},
    {"question": None},
    {"question": ["what?"]},
    {"answers": []},
    {"answers": ["", " "]},
    {"answers": [None]},
    {"answers": {"answer": True}},
    {"answers": None},
    {"split": "holdout"},
    {"split": 3},
    {"id": None},
    {"id": 1.5},
)


def write_defects(root: Path, seed: int, num_rows: int) -> None:
    """Two sources full of every defect that a row can have, over one folder of pictures.

    `clinic`: a table with declared splits. `vqa`: questions and annotations in two files, splits by image.
    """
    rng = random.Random(seed)
    write_files(root / "images", _draw_pictures())
    write_files(root, {"secret.png": draw_png(999_999)})
    (root / "images" / "link-out.png").symlink_to("../secret.png")
    (root / "images" / "link-in.png").symlink_to("1.png")
    clinic: list[Any] = [_ask_clinic(rng, number) for number in range(num_rows // 2)]
    clinic += [{**rng.choice(clinic), "id": f"defect-{n}", **change} for n, change in enumerate(_CLINIC_DEFECTS * 2)]
    clinic += [rng.choice(clinic) for _ in range(num_rows // 20)]
    clinic += [{**rng.choice(clinic), "question": "is it another?"} for _ in range(num_rows // 40)]
    clinic += [b'{"id": "cut off', b"[1, 2]", b"null", b"{}", b"{,}"]
    rng.shuffle(clinic)
    clinic.insert(0, _ask_clinic(rng, num_rows))
    asked: list[Any] = [_ask_vqa(rng, number) for number in range(num_rows // 4)]
    told: list[Any] = [_tell_vqa(rng, one["question_id"]) for one in asked if rng.random() < 0.9]
    told += [_tell_vqa(rng, rng.choice(asked)["question_id"]) for _ in range(num_rows // 40)]
    told += [rng.choice(told) for _ in range(num_rows // 40)]
    told += [_tell_vqa(rng, f"orphan-{number}") for number in range(num_rows // 100)]
    told += [{"question_id": rng.choice(asked)["question_id"], "answers": bad} for bad in ([], [{"answer": " "}], None)]
    told += [{"answers": [{"answer": "red"}]}, {"question_id": 1, "answers": [{"answer": 1}]}, 7]
    asked += [{**rng.choice(asked), "question": "is it another?"} for _ in range(num_rows // 60)]
    asked += [rng.choice(asked) for _ in range(num_rows // 40)]
    asked += [
        {**_ask_vqa(rng, num_rows + n), "image_id": name} for n, name in enumerate(("lost", "../1", "cut", "C:1"))
    ]
    asked += [{"question_id": 1}, {"question_id": True, "image_id": 1, "question": "a"}, [1], None]
    rng.shuffle(asked)
    rng.shuffle(told)
    files = {"vqa-questions": {"questions": asked}, "vqa-annotations": {"annotations": told}}
    write_files(root, {f"{name}.json": json.dumps(content).encode() for name, content in files.items()})
    write_files(root, {"clinic.jsonl": encode_lines(clinic)})


def _draw_pictures() -> dict[str, bytes]:
    """Good ones, some twice under another name, some nearly twice, and some that are no pictures."""
    pictures = {f"{number}.png": draw_png(number) for number in range(NUM_PICTURES)}
    pictures |= {f"copy-{number}.png": draw_png(number) for number in range(5)}
    pictures |= {"far.png": draw_png(52), "near.png": draw_png(53)}
    pictures |= {"twin.png": draw_png(50), "twin.bmp": draw_png(51)}
    pictures |= {f"scene-{number}.png": draw_scene(number) for number in range(NUM_SCENES)}
    pictures |= {f"scene-{n}-again.jpg": draw_scene(n, "JPEG", (120, 90), quality=60) for n in range(NUM_SCENES)}
    pictures |= {"cut.png": draw_png(1)[:45], "empty.png": b"", "page.png": b"<html></html>", "drawing.png": b"<svg/>"}
    return pictures


def _ask_clinic(rng: random.Random, number: int) -> Row:
    picture = rng.randrange(NUM_PICTURES)
    image = f"copy-{picture}.png" if picture < 5 and rng.random() < 0.5 else f"{picture}.png"
    words = {"train": ["train", "Training", "train", "train"], "val": ["dev", " valid "], "test": ["TEST"]}
    at_home = "test" if picture % 5 == 0 else "val" if picture % 7 == 0 else "train"
    split = rng.choice(words[at_home if rng.random() < 0.97 else "test"])
    thing = rng.choice(["a cat", "a dog", "red", "blue", "big", "small", "old"])
    answer = rng.choice(["yes", "no", ["yes"], ["no", "yes"], ["yes", "yes"], [{"answer": "yes", "answer_id": 1}]])
    question = rng.choice(["is it {}?", "Is it  {}", "is it {} ?!", "what is {}?", "is it {}?", "isn't it {}?"]).format(
        thing
    )
    spelled = [f"/data/{image}", f"C:\\data\\{image}", f"file:///data/{image}", f"images/{image}"]
    spelled += [
        f"./{image}",
        f".\\{image}",
        image.upper(),
        image.removesuffix(".png"),
        "link-in.png",
    ]
    scene = f"scene-{rng.randrange(NUM_SCENES)}"
    spelled += [f"{scene}.png", f"{scene}-again.jpg"] * 2
    image = rng.choice(spelled) if rng.random() < 0.3 else image
    return {
        "id": number if rng.random() < 0.2 else f"q{number}",
        "image": image,
        "question": question,
        "answers": answer,
        "split": split if rng.random() < 0.97 else None,
        "type": rng.choice(["", "is", None]),
        "of": f"q{number - 1}" if number % 9 == 0 else None,
    }


def _ask_vqa(rng: random.Random, number: int) -> Row:
    thing = rng.choice(["a cat", "a dog", "red", "blue", "big"])
    return {"question_id": number, "image_id": rng.randrange(NUM_PICTURES), "question": f"is it {thing}?"}


def _tell_vqa(rng: random.Random, question_id: int | str) -> Row:
    told = [{"answer": rng.choice(["yes", "no"]), "answer_id": n} for n in range(1, rng.choice([2, 2, 3]))]
    return {"question_id": question_id, "answers": told, "answer_type": rng.choice(["yes/no", None])}

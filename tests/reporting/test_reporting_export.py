"""An exported dataset: every question once, with the bytes of its image, in folders that are whole or not there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reporting_world import FACTS, make_png

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.reporting.export import JOINED, export_dataset
from vqa_pipeline.schemas import IMAGES, QUESTIONS

COLOURS = ("red", "green", "blue", "yellow", "white")
FILES = {hashlib.sha256(make_png(color=colour)).hexdigest(): make_png(color=colour) for colour in COLOURS}
DIGESTS = sorted(FILES)


def write_questions(path: Path, *asked: tuple[str, str | None]) -> Path:
    """Questions by (id, image)."""
    rows = [
        dict.fromkeys(QUESTIONS.names)
        | {
            "question_id": question_id,
            "source": "clinic",
            "split": "train",
            "image": f"{question_id}.png",
            "image_sha256": digest,
            "question": f"what is {question_id}?",
            "answers": [{"answer": "red", "answer_id": 1, "answer_confidence": None}],
            "repairs": [],
            "locator": {"file": "q.csv", "record": 0},
        }
        for question_id, digest in asked
    ]
    pq.write_table(pa.Table.from_pylist(rows, QUESTIONS), path)
    return path


def write_pack(path: Path, digests: list[str]) -> Path:
    facts = {"width": 8, "height": 8, "mode": "RGB", "format": "PNG", "dhash": 0}
    rows = [
        dict.fromkeys(IMAGES.names)
        | {"image_sha256": digest, "image": {"bytes": FILES[digest], "path": "x.png"}, **facts}
        for digest in digests
    ]
    pq.write_table(pa.Table.from_pylist(rows, IMAGES), path, row_group_size=1)
    return path


@pytest.fixture
def packs(tmp_path: Path) -> list[Path]:
    return [write_pack(tmp_path / "a.parquet", DIGESTS[::2]), write_pack(tmp_path / "b.parquet", DIGESTS[1::2])]


def read(folder: Path, split: str = "train") -> list[dict]:
    tables = [pq.read_table(path) for path in sorted((folder / "data").glob(f"{split}-*.parquet"))]
    assert all(table.schema.metadata[b"huggingface"] == JOINED.metadata[b"huggingface"] for table in tables)
    return pa.concat_tables(tables).to_pylist()


def test_each_question_has_its_image_and_images_are_in_order(tmp_path, packs):
    files = [
        write_questions(tmp_path / "q0.parquet", ("c/3", DIGESTS[4]), ("c/1", DIGESTS[0])),
        write_questions(tmp_path / "q1.parquet", ("c/2", DIGESTS[0]), ("c/0", DIGESTS[1])),
    ]
    told = []
    facts = {**FACTS, "num_questions_by_split": {"train": 4, "val": 0, "test": 0}}
    counts = export_dataset(
        facts, {"train": files}, packs, tmp_path / "out", progress=lambda *words: told.append(words)
    )
    assert counts == {"train": 4}
    assert told[:2] == [("writing train", done, 4, "questions") for done in (0, 4)]
    rows = read(tmp_path / "out")
    assert [row["question_id"] for row in rows] == ["c/1", "c/2", "c/0", "c/3"]
    assert [row["image"]["bytes"] for row in rows] == [FILES[DIGESTS[number]] for number in (0, 0, 1, 4)]
    assert rows[2]["image_reference"] == "c/0.png"
    assert rows[2]["answers"] == [{"answer": "red", "answer_id": 1, "answer_confidence": None}]


@pytest.mark.parametrize("questions_per_share", [1, 2, 3, 100])
def test_shares_of_any_size_give_the_same_rows(tmp_path, packs, questions_per_share):
    asked = [(f"c/{number:02}", ([*DIGESTS, None])[number % 6]) for number in range(23)]
    files = [write_questions(tmp_path / "q.parquet", *asked)]
    counts = export_dataset(
        FACTS, {"test": files}, packs, tmp_path / "out", questions_per_share=questions_per_share, file_bytes=200
    )
    assert counts == {"test": 23}
    expected = sorted(asked, key=lambda one: (one[1] is None, one[1], one[0]))
    assert [row["question_id"] for row in read(tmp_path / "out", "test")] == [
        question_id for question_id, _ in expected
    ]
    if questions_per_share == 1:
        assert len(list((tmp_path / "out" / "data").iterdir())) > 1, "a full file is followed by another"


def test_a_question_without_image_is_exported_without_one(tmp_path):
    files = [write_questions(tmp_path / "q.parquet", ("c/0", None))]
    export_dataset(FACTS, {"val": files}, [], tmp_path / "out")
    assert read(tmp_path / "out", "val")[0]["image"] is None


def test_splits_without_questions_are_not_declared(tmp_path, packs):
    files = [write_questions(tmp_path / "q.parquet", ("c/0", DIGESTS[0]))]
    export_dataset(FACTS, {"train": files, "val": [], "test": []}, packs, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "split: train\n    path:\n    - data/train-*.parquet" in card
    assert "split: val" not in card


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, packs):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    files = [write_questions(tmp_path / "q.parquet", ("c/0", DIGESTS[0]))]
    with pytest.raises(SettingsError, match="is not empty"):
        export_dataset(FACTS, {"train": files}, packs, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_what_fails_half_way_leaves_nothing_behind_under_its_name(tmp_path, packs):
    good = write_questions(tmp_path / "q0.parquet", ("c/0", DIGESTS[0]))
    (tmp_path / "q1.parquet").write_bytes(b"PAR1 damaged PAR1")
    with pytest.raises(Exception, match="parquet"):
        export_dataset(FACTS, {"train": [good], "val": [tmp_path / "q1.parquet"]}, packs, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert export_dataset(FACTS, {"train": [good]}, packs, tmp_path / "out") == {"train": 1}


@pytest.mark.slow
def test_datasets_loads_what_was_exported_with_its_images(tmp_path, packs, monkeypatch):
    import datasets

    files = [write_questions(tmp_path / "q.parquet", ("c/0", DIGESTS[0]), ("c/1", None))]
    export_dataset(FACTS, {"train": files}, packs, tmp_path / "out")
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded.features == datasets.Features.from_arrow_schema(JOINED)
    assert loaded[0]["question"] == "what is c/0?"
    assert loaded[0]["image"].size == (8, 8)
    assert loaded[1]["image"] is None

"""Sources whose images are in their files, or in an archive, become the dataset that a folder of images becomes."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from curation_world import Curated, curate, draw_png, encode_lines, make_table_source, prepare, read_tree, write_files
from PIL import Image
from pydantic import TypeAdapter

from vqa_pipeline.curation.embedded_images import KeptImages
from vqa_pipeline.sources.formats import Source

SOURCE = TypeAdapter(Source)
ASKED = [("what is it?", "red", 1), ("and this?", "blue", 2), ("once more?", "red", 1)]
"""Question, answer, picture: two questions about one picture."""

SHAS = {number: hashlib.sha256(draw_png(number)).hexdigest() for number in (1, 2)}


def write_parquet(root: Path) -> dict[str, Any]:
    rows = [{"image": {"bytes": draw_png(n), "path": None}, "question": q, "answers": [a]} for q, a, n in ASKED]
    pq.write_table(pa.Table.from_pylist(rows), root / "train.parquet")
    return {"format": "hf_parquet", "files": "train.parquet"}


def write_tsv(root: Path) -> dict[str, Any]:
    rows = [f"{i}\t{base64.b64encode(draw_png(n)).decode()}\t{q}\t{a}\n" for i, (q, a, n) in enumerate(ASKED)]
    (root / "train.tsv").write_text("index\timage\tquestion\tanswer\n" + "".join(rows))
    return {"format": "tsv_base64", "files": "train.tsv", "columns": {"answers": "answer"}}


def write_shard(root: Path) -> dict[str, Any]:
    with tarfile.open(root / "train.tar", "w") as archive:
        for i, (question, answer, number) in enumerate(ASKED):
            told = json.dumps({"question": question, "answers": [answer]}).encode()
            for name, content in ((f"{i}.json", told), (f"{i}.png", draw_png(number))):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return {"format": "webdataset", "files": "train.tar"}


def curate_embedded(root: Path, told: dict[str, Any], **settings: Any) -> Curated:
    return curate([SOURCE.validate_python({"name": "inside", **told})], root, root / "work", **settings)


@pytest.mark.parametrize("write", [write_parquet, write_tsv, write_shard])
def test_every_format_gives_the_same_questions_and_images(tmp_path, write):
    curated = curate_embedded(tmp_path, write(tmp_path), split_fractions={"train": 1, "val": 0, "test": 0})
    assert curated.rejects == []
    rows = {row["question"]: row for row in curated.questions}
    assert {question: row["answers"][0]["answer"] for question, row in rows.items()} == {q: a for q, a, _ in ASKED}
    assert {question: row["image_sha256"] for question, row in rows.items()} == {q: SHAS[n] for q, _, n in ASKED}
    assert {row["split"] for row in curated.questions} == {"train"}
    (pack,) = curated.summary.new_packs
    assert {row["image_sha256"]: row["image"]["bytes"] for row in pq.read_table(pack).to_pylist()} == {
        SHAS[number]: draw_png(number) for number in (1, 2)
    }


@pytest.mark.parametrize("write", [write_parquet, write_tsv, write_shard])
def test_records_are_the_same_bytes_each_time_and_keep_each_image_once(tmp_path, write):
    source = SOURCE.validate_python({"name": "inside", **write(tmp_path)})
    (_, summary), _ = prepare(source, tmp_path, tmp_path / "a"), prepare(source, tmp_path, tmp_path / "b")
    assert summary.num_embedded_images == 2
    assert read_tree(tmp_path / "a") == read_tree(tmp_path / "b")
    assert KeptImages(tmp_path / "a").list_names() == sorted(SHAS.values())


def test_an_embedded_image_that_cannot_be_used_costs_its_rows_and_their_payload_tells_which(tmp_path):
    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(file, "JPEG")
    images = [draw_png(1), file.getvalue()[:-100], b"", b"<html>"]
    rows = [
        {"image": {"bytes": image, "path": f"{i}.png"}, "question": "q?", "answers": ["a"]}
        for i, image in enumerate(images)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    curated = curate_embedded(tmp_path, {"format": "hf_parquet", "files": "train.parquet"})
    assert [row["image_sha256"] for row in curated.questions] == [SHAS[1]]
    rules = {json.loads(row["raw"])["image"]["path"]: row["rule"] for row in curated.rejects}
    assert rules == {"1.png": "image_truncated", "2.png": "image_empty", "3.png": "image_unreadable"}


def test_the_image_of_a_rejected_row_may_be_another_rows(tmp_path):
    image = base64.b64encode(draw_png(1)).decode()
    (tmp_path / "a.tsv").write_text(f"index\timage\tquestion\tanswer\n0\t{image}\t \tred\n1\t0\twhat?\tred\n")
    curated = curate_embedded(tmp_path, {"format": "tsv_base64", "files": "a.tsv"})
    assert [(row["rule"], row["locator"]["line"]) for row in curated.rejects] == [("question_empty", 2)]
    assert [(row["question_id"], row["image_sha256"]) for row in curated.questions] == [("inside/1", SHAS[1])]


def test_a_split_list_knows_an_image_by_what_its_file_calls_it(tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "val_images.txt").write_text("val2014/1.png\n")
    (tmp_path / "lists" / "test_images.txt").write_text("2.png\n")
    rows = [
        {"image": {"bytes": draw_png(n), "path": f"val2014/{n}.png"}, "question": "q?", "answers": ["a"]}
        for n in (1, 2, 3)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    told = {"format": "hf_parquet", "files": "train.parquet", "splits": {"list": "lists/*.txt"}}
    curated = curate_embedded(tmp_path, told, split_fractions={"train": 1, "val": 0, "test": 0})
    assert {row["image_sha256"]: row["split"] for row in curated.questions} == {SHAS[1]: "val", SHAS[2]: "test"}
    assert [(row["rule"], row["reason"]) for row in curated.rejects] == [
        ("split_unlisted", "val2014/3.png is in none of the source's split lists")
    ]


def test_rows_may_hold_their_image_or_name_it(tmp_path):
    write_files(tmp_path / "pictures", {"2.png": draw_png(2)})
    images = [
        {"bytes": draw_png(1), "path": "1.png"},
        {"bytes": None, "path": "2.png"},
        {"bytes": None, "path": "3.png"},
    ]
    rows = [{"image": image, "question": "q?", "answers": ["a"]} for image in images]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    told = {"format": "hf_parquet", "files": "train.parquet", "image_root": "pictures"}
    curated = curate_embedded(tmp_path, told)
    assert sorted(row["image_sha256"] for row in curated.questions) == sorted(SHAS.values())
    assert [row["rule"] for row in curated.rejects] == ["image_missing"]


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_an_archive_of_images_gives_the_dataset_that_its_folder_gives(tmp_path, suffix):
    rows = [{"id": str(i), "image": f"{n}.png", "question": q, "answers": [a]} for i, (q, a, n) in enumerate(ASKED)]
    write_files(tmp_path, {"clinic.jsonl": encode_lines([*rows, {**rows[0], "id": "lost", "image": "3.png"}])})
    write_files(tmp_path / "images", {f"{number}.png": draw_png(number) for number in (1, 2)})
    archive = tmp_path / f"images.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            for number in (1, 2):
                file.write(tmp_path / "images" / f"{number}.png", f"{number}.png")
    else:
        with tarfile.open(archive, "w") as file:
            file.add(tmp_path / "images", ".")
    told = {"splits": "by_image"}
    packed = curate([make_table_source(image_root=archive.name, **told)], tmp_path, tmp_path / "packed")
    unpacked = curate([make_table_source(**told)], tmp_path, tmp_path / "unpacked")
    assert packed.questions == unpacked.questions
    assert [row["rule"] for row in packed.rejects] == [row["rule"] for row in unpacked.rejects] == ["image_missing"]
    assert packed.summary.data_version == unpacked.summary.data_version


_MEASURE = """
import resource, sys
from pathlib import Path
from vqa_pipeline.curation.records import validate_source
from vqa_pipeline.sources.formats.hf_parquet import HfParquetSource

folder = Path(sys.argv[1])
(folder / "records").mkdir()
validate_source(HfParquetSource(name="x", format="hf_parquet", files="train.parquet"), folder, folder / "records")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_images_in_a_file(tmp_path):
    """Megabytes at the peak, of which about 110 are the libraries: 4 groups of 500 images of 40 kB against 20."""
    peaks = []
    for num_groups in (4, 20):
        folder = tmp_path / str(num_groups)
        folder.mkdir()
        schema = pa.schema([("image", pa.binary()), ("question", pa.string()), ("answers", pa.string())])
        with pq.ParquetWriter(folder / "train.parquet", schema) as writer:
            for _ in range(num_groups):
                rows = [{"image": os.urandom(40_000), "question": "what?", "answers": "red"} for _ in range(500)]
                writer.write_table(pa.Table.from_pylist(rows, schema))
        told = subprocess.run([sys.executable, "-c", _MEASURE, folder], capture_output=True, text=True, check=True)
        peaks.append(int(told.stdout))
    assert peaks[1] < peaks[0] + 60

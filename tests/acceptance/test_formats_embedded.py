"""Samples of formats whose images are in their files, made by others: counts and first values spelled out by hand.

Needs a folder with `formats/`, which is not part of the project: name it in VQA_ACCEPTANCE_DATA.
"""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from curation_world import Curated, curate
from PIL import Image
from pydantic import TypeAdapter

from vqa_pipeline.sources.formats import Source, get_format

DATA = os.environ.get("VQA_ACCEPTANCE_DATA")
SOURCE = TypeAdapter(Source)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA, reason="VQA_ACCEPTANCE_DATA does not name a folder with real data"),
]

ASKED = [
    ("what is the blue shape?", "rectangle", "5af8aad46ad3"),
    ("what color is the shape?", "blue", "5af8aad46ad3"),
    ("what color is the triangle?", "red", "ec92ef2b66a0"),
]
"""Question, answer and the beginning of the image's sha256, in both constructed samples."""


def curate_sample(folder: str, work: Path, **settings: Any) -> Curated:
    source = SOURCE.validate_python({"name": "sample", **settings})
    return curate([source], Path(str(DATA)).resolve() / "formats" / folder, work)


def test_parquet_with_images(tmp_path):
    columns = {"id": "question_id"}
    curated = curate_sample("hf_parquet_constructed", tmp_path, format="hf_parquet", files="*.parquet", columns=columns)
    assert curated.rejects == []
    check_the_three_questions(curated, ["sample/1", "sample/2", "sample/3"])


def test_tsv_with_images(tmp_path):
    curated = curate_sample("tsv_base64_constructed", tmp_path, format="tsv_base64", files="sample.tsv")
    assert curated.rejects == []
    check_the_three_questions(curated, ["sample/0", "sample/1", "sample/2"])


def check_the_three_questions(curated: Curated, ids: list[str]) -> None:
    rows = sorted(curated.questions, key=lambda row: row["question_id"])
    assert [row["question_id"] for row in rows] == ids
    told = [(row["question"], row["answers"][0]["answer"], row["image_sha256"][:12]) for row in rows]
    assert told == ASKED
    assert curated.summary.num_images == 2


def test_a_shard_of_pictures_of_digits_asks_no_question(tmp_path):
    """What its 90 records are: images with a class. Their images are found, and each record says what it lacks."""
    settings = {"format": "webdataset", "files": "sample.tgz", "columns": {"answers": "cls"}}
    source = SOURCE.validate_python({"name": "sample", **settings})
    records = list(get_format(source).read(source, Path(str(DATA)).resolve() / "formats" / "webdataset_tar"))
    assert len(records) == 90
    assert json.loads(records[0].payload)["__key__"] == "10"
    assert Counter(json.loads(raw.payload)["cls"] for raw in records).keys() == set("0123456789")
    assert {Image.open(io.BytesIO(raw.image.data)).size for raw in records if raw.image} == {(28, 28)}
    curated = curate_sample("webdataset_tar", tmp_path, **settings)
    assert curated.questions == []
    assert {(row["rule"], row["reason"]) for row in curated.rejects} == {
        ("record_malformed", "the row has no `question`")
    }
    assert len(curated.rejects) == 90

"""The README of a dataset: Hugging Face's reader finds questions and images by it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from reporting_world import FACTS, make_png

from vqa_pipeline.reporting.cards import dataset_markdown
from vqa_pipeline.reporting.dataset_card import dataset_card
from vqa_pipeline.schemas import IMAGES, QUESTIONS


def read_front_matter(card: str) -> dict:
    _, front, _ = card.split("---\n", 2)
    return yaml.safe_load(front)


def test_the_card_declares_questions_by_split_and_images_by_pack():
    questions, images = read_front_matter(dataset_card(FACTS))["configs"]
    assert questions == {
        "config_name": "questions",
        "default": True,
        "data_files": [
            {"split": "train", "path": ["questions/train-*.parquet"]},
            {"split": "test", "path": ["questions/test-*.parquet"]},
        ],
    }
    assert images == {
        "config_name": "images",
        "default": False,
        "data_files": [{"split": "train", "path": ["../../shared/aa.parquet", "../../shared/bb.parquet"]}],
    }


def test_a_dataset_without_images_declares_none():
    configs = read_front_matter(dataset_card({**FACTS, "image_packs": []}))["configs"]
    assert [config["config_name"] for config in configs] == ["questions"]


def test_the_card_goes_on_with_the_account_of_the_data():
    card = dataset_card(FACTS)
    assert "\n# clinic\n" in card
    assert dataset_markdown(FACTS) in card
    assert card.endswith("\n")


@pytest.mark.slow
def test_datasets_loads_a_version_through_its_card_and_shows_images(tmp_path: Path):
    import datasets

    version, data = tmp_path / "dataset" / "versions" / "v1", make_png(color="blue")
    question = dict.fromkeys(QUESTIONS.names) | {
        "question_id": "shapes/1", "source": "shapes", "split": "train", "image": "1.png", "question": "what?",
        "repairs": [], "locator": {"file": "q.jsonl", "record": 0},
    }  # fmt: skip
    image = {
        "image_sha256": hashlib.sha256(data).hexdigest(), "image": {"bytes": data, "path": "1.png"},
        "width": 8, "height": 8, "mode": "RGB", "format": "PNG", "dhash": 0, "alterations": ["first_frame"],
    }  # fmt: skip
    for path, row, schema in (
        (version / "questions" / "train-0.parquet", question, QUESTIONS),
        (tmp_path / "dataset" / "shared" / "aa.parquet", image, IMAGES),
    ):
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist([row], schema), path)
    facts = {**FACTS, "num_questions_by_split": {"train": 1, "val": 0, "test": 0}, "image_packs": ["shared/aa.parquet"]}
    (version / "README.md").write_text(dataset_card(facts))
    cache = str(tmp_path / "cache")
    questions = datasets.load_dataset(str(version), cache_dir=cache)
    assert questions["train"]["question_id"] == ["shapes/1"]
    images = datasets.load_dataset(str(version), "images", cache_dir=cache)
    assert images["train"][0]["image"].getpixel((4, 4)) == (0, 0, 255)

"""`vqa-pipeline export`: the current dataset as a folder of its own."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reporting_world import FACTS

from vqa_pipeline.schemas import QUESTIONS


@pytest.fixture
def published(project):
    """A dataset of one question without image."""
    details = {name: FACTS[name] for name in FACTS if not name.startswith("num_") and name != "name"}
    details |= {name: FACTS[name] for name in ("num_questions_by_split", "num_annotated_by_split")}
    numbers = {name: FACTS[name] for name in FACTS if name.startswith("num_") and not name.endswith("by_split")}
    folder = project.publish("dataset", numbers=numbers, details={**details, "image_packs": []})
    question = dict.fromkeys(QUESTIONS.names) | {
        "question_id": "scans/1", "source": "scans", "split": "train", "image": "1.png", "question": "what?",
        "repairs": [], "locator": {"file": "q.jsonl", "record": 0},
    }  # fmt: skip
    (folder / "questions").mkdir()
    pq.write_table(pa.Table.from_pylist([question], QUESTIONS), folder / "questions" / "train-00000.parquet")
    return project


def test_what_was_exported_and_how_to_load_it_are_told(call, published, tmp_path):
    ended = call("export", "dataset", str(tmp_path / "out"))
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == (
        f"clinic: 1 train questions in {tmp_path}/out; load them with datasets.load_dataset('{tmp_path}/out')\n"
    )
    assert pq.read_table(tmp_path / "out" / "data" / "train-00000.parquet")["question_id"].to_pylist() == ["scans/1"]


def test_json_is_for_programs(call, published, tmp_path):
    told = json.loads(call("export", "dataset", str(tmp_path / "out"), "--json").out)
    assert told == {"format": "hf", "path": f"{tmp_path}/out", "version": "v1", "num_questions": {"train": 1}}


def test_without_a_dataset_there_is_nothing_to_export(call, project, tmp_path):
    ended = call("export", "dataset", str(tmp_path / "out"))
    assert ended.status == 1
    assert "dataset" in ended.err
    assert not (tmp_path / "out").exists()


def test_only_datasets_can_be_exported(call, project, tmp_path):
    assert call("export", "checkpoint", str(tmp_path / "out")).status == 2

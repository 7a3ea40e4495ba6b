"""The examples on real data that nobody here made: every row accounted for, leakage found and resolved.

Needs a folder with `easy_vqa/` and `vqa_v2_subset/`, which is not part of the project: name it in VQA_ACCEPTANCE_DATA.
Training on easy-VQA takes twenty minutes and is run by command: examples/easy_vqa/defs.yaml tells how.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vqa_pipeline import stages
from vqa_pipeline.errors import GateFailed
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.project import read_pipelines

PROJECT = Path(__file__).parents[2]
DATA = os.environ.get("VQA_ACCEPTANCE_DATA")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA, reason="VQA_ACCEPTANCE_DATA does not name a folder with real data"),
]


def say_nothing(_: str) -> None:
    pass


def read_example(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **dataset: object) -> Pipeline:
    """An example with its store in `folder`, and some of its dataset's settings changed."""
    data = Path(str(DATA)).resolve()
    monkeypatch.setenv("EASY_VQA", str(data / "easy_vqa" / "train"))
    monkeypatch.setenv("VQA_V2_SUBSET", str(data / "vqa_v2_subset"))
    [pipeline] = read_pipelines(PROJECT / "examples" / name / "defs.yaml", PROJECT)
    changed = pipeline.settings.dataset.model_copy(update=dataset)
    return Pipeline(pipeline.name, pipeline.settings.model_copy(update={"dataset": changed}), folder)


def curate(pipeline: Pipeline) -> dict[str, float | int | None]:
    [source] = pipeline.settings.sources
    stages.observe_source(pipeline, source.name, say_nothing)
    stages.build_records(pipeline, source.name, say_nothing)
    return stages.build_dataset(pipeline, say_nothing).version.manifest.numbers


def test_easy_vqa_has_a_complete_ledger(tmp_path, monkeypatch):
    numbers = curate(read_example("easy_vqa", tmp_path, monkeypatch))
    assert numbers["num_rows"] == 38_575
    fates = [numbers[f"num_{fate}"] for fate in ("questions", "duplicate", "rejected", "excluded")]
    assert sum(filter(None, fates)) == 38_575
    assert numbers["num_rejected"] == 0
    assert numbers["num_images"] == 4_000 - count_images_that_are_the_same_file_twice()
    assert (numbers["num_near_duplicates"], numbers["num_leaking_groups"]) == (0, 0), "drawn pictures that differ"


def count_images_that_are_the_same_file_twice() -> int:
    files = [path.read_bytes() for path in (Path(str(DATA)) / "easy_vqa" / "train" / "images").iterdir()]
    return len(files) - len(set(files))


def test_the_images_that_vqa_v2_s_splits_share_stop_the_dataset(tmp_path, monkeypatch):
    """3,930 images of the subset have questions in train and in valid: counted by hand from the files."""
    pipeline = read_example("vqa_v2", tmp_path, monkeypatch, leakage="fail")
    with pytest.raises(GateFailed, match="3930 images are in more than one split") as failed:
        curate(pipeline)
    assert "COCO_train2014_" in str(failed.value)
    assert "leakage: drop_from_train" in str(failed.value)
    assert stages.open_store(pipeline).current("dataset") is None


def test_dropping_from_train_resolves_them_and_accounts_for_every_row(tmp_path, monkeypatch):
    pipeline = read_example("vqa_v2", tmp_path, monkeypatch)
    numbers = curate(pipeline)
    assert numbers["num_rows"] == 48_061 + 8_977
    assert numbers["num_leaking_images"] == 3_930
    assert numbers["num_questions"] + numbers["num_excluded"] == 57_038
    assert numbers["num_rejected"] == numbers["num_duplicate"] == 0
    vocabulary = stages.build_vocabulary(pipeline, say_nothing).version.manifest.numbers
    assert 0.85 < vocabulary["coverage_val"] < 0.95

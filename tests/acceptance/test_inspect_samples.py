"""Inspection of data that nobody here made: estimates near the truth, images found, every sample read without error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vqa_pipeline.curation.inspection import inspect

DATA = Path(os.environ.get("VQA_ACCEPTANCE_DATA", "nowhere"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="VQA_ACCEPTANCE_DATA names no folder")

NOT_SOURCES = {
    "clevr_readme",  # prose
    "easy_vqa",  # the first five records, under another name than the release's
    "karpathy_quoted",  # a split list
    "karpathy_split_txt",
    "scienceqa_pid_splits",
}


def test_easy_vqa_is_told_whole():
    [source] = inspect(DATA / "easy_vqa", DATA).sources
    assert source.settings["folder"] == "easy_vqa/train"
    assert source.num_questions.basis == "estimated"
    assert source.num_questions.value == pytest.approx(38_575, rel=0.05)
    assert source.images.found == source.images.looked_for > 100
    assert (source.problems, source.error) == ((), None)


def test_both_halves_of_the_vqa_v2_subset_are_one_source():
    [source] = inspect(DATA / "vqa_v2_subset", DATA).sources
    assert source.settings["splits"] == {"column": "split"}
    assert source.num_questions.value == pytest.approx(48_061 + 8_977, rel=0.05)
    assert source.num_annotations.value == pytest.approx(48_061 + 8_977, rel=0.05)
    assert len(source.first_rows[0].answers) == 10
    assert [(problem.rule, problem.count == problem.looked_at) for problem in source.problems] == [
        ("image_missing", True)
    ]


def test_a_folder_of_images_alone_asks_nothing():
    inspection = inspect(DATA / "hostile_images", DATA)
    assert inspection.sources == ()
    assert inspection.num_images > 40


@pytest.mark.parametrize("folder", sorted(path.name for path in (DATA / "formats").glob("*") if path.is_dir()))
def test_a_sample_of_each_format_is_read_without_error(folder):
    inspection = inspect(DATA / "formats" / folder, DATA)
    assert bool(inspection.sources) == (folder not in NOT_SOURCES)
    for source in inspection.sources:
        assert source.error is None
        assert source.num_questions.basis == "counted"
        assert source.num_questions.value > 0

"""A dry run: the account that a run would give, without a trace in the store."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from raw_world import write_raw

from vqa_pipeline import stages
from vqa_pipeline.errors import SourceError, StoreBusy
from vqa_pipeline.pipeline import Pipeline, PipelineSettings
from vqa_pipeline.stages.dry_run import dry_run
from vqa_pipeline.store import Store


def make_pipeline(root, **settings) -> Pipeline:
    source = {
        "name": "scans",
        "format": "table",
        "files": "raw/scans.csv",
        "image_root": "raw/images",
        "columns": {"question": "question", "image": "image", "answers": "answer"},
        "splits": {"column": "split"},
    }
    declared = PipelineSettings.model_validate({"sources": [source], "dataset": settings})
    return Pipeline("clinic", declared, root)


def silent(_: str) -> None:
    """Nobody listens."""


def test_it_gives_the_account_that_a_run_publishes(tmp_path):
    write_raw(tmp_path / "raw", change={3: {"question": ""}})
    pipeline = make_pipeline(tmp_path, max_reject_fraction=0.5)
    dry = dry_run(pipeline, silent)
    assert not pipeline.store_folder.exists()
    stages.observe_source(pipeline, "scans", silent)
    stages.build_records(pipeline, "scans", silent)
    published = stages.build_dataset(pipeline, silent).version
    assert dry.ledger.model_dump(mode="json") == published.manifest.details["ledger"]
    assert dry.checks == published.manifest.checks
    assert dry.failures == []


def test_it_tells_every_gate_that_would_fail(tmp_path):
    """The same pixels in two files and two splits, and rows that are rejected."""
    write_raw(tmp_path / "raw", change={number: {"question": ""} for number in range(3)})
    (tmp_path / "raw/images/13.png").write_bytes((tmp_path / "raw/images/4.png").read_bytes())
    dry = dry_run(make_pipeline(tmp_path), silent)
    assert {check.name for check in dry.failures} == {"reject_fraction", "no_leakage"}
    assert dry.ledger.count("rejected") == 3
    assert (dry.folder / "page.html").is_file()


def test_images_are_not_kept_twice(tmp_path):
    write_raw(tmp_path / "raw")
    dry_run(make_pipeline(tmp_path), silent)
    packs = [path for path in (tmp_path / "data").rglob("*.parquet") if "image" in path.name or "shared" in path.parts]
    assert [path.name for path in packs] == ["images.parquet"]


def test_images_inside_the_files_of_a_source_are_not_kept_at_all(tmp_path):
    write_raw(tmp_path / "raw")
    images = [path.read_bytes() for path in sorted((tmp_path / "raw" / "images").iterdir())]
    rows = {"image": images, "question": ["what?"] * len(images), "answers": ["red"] * len(images)}
    pq.write_table(pa.table(rows), tmp_path / "raw" / "rows.parquet")
    source = {"name": "held", "format": "hf_parquet", "files": "raw/rows.parquet"}
    dry = dry_run(Pipeline("clinic", PipelineSettings.model_validate({"sources": [source]}), tmp_path), silent)
    assert dry.ledger.num_rows == dry.ledger.count("accepted") == len(images)
    assert list((tmp_path / "data").rglob("images.bin")) == []


def test_it_can_be_run_again_after_a_mend(tmp_path):
    write_raw(tmp_path / "raw", change={3: {"question": ""}})
    pipeline = make_pipeline(tmp_path)
    assert dry_run(pipeline, silent).failures
    write_raw(tmp_path / "raw")
    assert not dry_run(pipeline, silent).failures


def test_two_at_once_do_not_mix(tmp_path):
    write_raw(tmp_path / "raw")
    pipeline = make_pipeline(tmp_path)
    with (
        Store(pipeline.store_folder, pipeline.scratch_folder).lock("dry_run"),
        pytest.raises(StoreBusy, match="dry_run"),
    ):
        dry_run(pipeline, silent)
    assert dry_run(pipeline, silent).ledger.count("accepted") == 20


def test_a_source_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        dry_run(make_pipeline(tmp_path), silent)

"""A card says what a checkpoint was made from, and nothing that its manifests do not say."""

from __future__ import annotations

from datetime import UTC, datetime

from reporting_world import HOSTILE

from vqa_pipeline.reporting.provenance import provenance_markdown
from vqa_pipeline.schemas import Manifest

TRAINING = {
    "best_val_accuracy": 0.8125,
    "best_epoch": 4,
    "num_val_questions": 500,
    "device": "cuda",
    "hardware": "NVIDIA H200, 140 GiB",
    "precision": "bf16",
    "threads": 8,
    "questions_per_second": 1234.5,
}


def make_manifest(asset, number=1, **told):
    told = {"details": {}, "settings": {}, "numbers": {}, "packages": {}, "git_commit": "0123456789abcdef", **told}
    return Manifest(
        asset=asset,
        version=f"v-{asset.replace('/', '-')}",
        data_version=f"d-{asset}",
        stage_number=number,
        inputs={},
        files={},
        seconds=61,
        created_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        **told,
    )


def make_dataset(source="scans", licenses=None):
    statistics = {"questions_by_source": {source: {"train": 5000, "val": 500, "test": 1200}}}
    return make_manifest("dataset", 4, details={"statistics": statistics, "licenses": licenses or {}})


def make_checkpoint(settings=None, overridden=None):
    details = {"training": TRAINING, "overridden": overridden or {}}
    settings = {"backbone": "dandelin/vilt-b32-mlm", "epochs": 10} | (settings or {})
    return make_manifest("checkpoint", 3, details=details, settings=settings, packages={"torch": "2.11"})


def read_lines(others, checkpoint=None):
    """The lines of a card as they are shown, without what escapes them."""
    return provenance_markdown(checkpoint or make_checkpoint(), others).replace("\\", "").splitlines()


def test_every_version_stands_with_its_stage_number_seconds_time_and_commit():
    lines = read_lines({"raw/scans": make_manifest("raw/scans", 2)})
    assert lines[0] == "**Checkpoint v-checkpoint** (data version d-checkpoint)"
    assert "| raw/scans | v-raw-scans | 2 | 1 min 01 s | 2026-01-02 03:04 UTC | 0123456789ab |" in lines
    assert "| checkpoint | v-checkpoint | 3 | 1 min 01 s | 2026-01-02 03:04 UTC | 0123456789ab |" in lines


def test_uncommitted_changes_and_unknown_commits_are_told():
    changed = make_manifest("vocabulary", git_commit="0123456789abcdef+", numbers={"num_answers": 2})
    lines = read_lines({"vocabulary": changed, "raw/a": make_manifest("raw/a", git_commit=None)})
    assert [line.split(" | ")[-1] for line in lines if line.startswith(("| voc", "| raw"))] == [
        "0123456789ab+ |",
        "not recorded |",
    ]


def test_questions_stand_by_source_and_split_with_the_licence():
    lines = read_lines({"dataset": make_dataset(licenses={"scans": "CC-BY-4.0"})})
    assert "| scans | CC-BY-4.0 | 5,000 | 500 | 1,200 |" in lines


def test_answers_stand_with_what_they_cover():
    numbers = {"num_answers": 3129, "coverage_train": 0.987, "coverage_val": 0.95}
    lines = read_lines({"vocabulary": make_manifest("vocabulary", numbers=numbers)})
    assert "3,129; they cover 98.7% of train, 95.0% of val." in lines


def test_the_validation_score_and_what_was_measured_on_the_test_split_are_told_apart():
    numbers = {"vqa_accuracy": 0.7, "interval_low": 0.65, "interval_high": 0.75, "num_scored": 1200}
    unscored = read_lines({})
    scored = read_lines({"metrics": make_manifest("metrics", numbers=numbers)})
    chosen = "0.812 on 500 validation questions, by which it was chosen (epoch 4)."
    assert chosen in unscored
    assert f"{chosen} VQA accuracy 0.700 (0.650 to 0.750) on 1,200 test questions." in scored


def test_metrics_without_a_score_say_nothing():
    empty = make_manifest("metrics", numbers={"num_questions": 3, "num_scored": 0})
    assert "VQA accuracy" not in "\n".join(read_lines({"metrics": empty}))


def test_settings_of_one_run_are_marked():
    lines = read_lines({}, make_checkpoint(overridden={"epochs": 10}))
    assert "| backbone | dandelin/vilt-b32-mlm |  |" in lines
    assert "| epochs | 10 | **for this run only** |" in lines


def test_hardware_speed_and_packages_of_all_stages_are_told():
    lines = read_lines({"dataset": make_dataset().model_copy(update={"packages": {"polars": "1.40"}})})
    assert "NVIDIA H200, 140 GiB, bf16, 8 threads: 1,234 questions/s." in lines
    assert "polars 1.40, torch 2.11." in lines


def test_a_checkpoint_of_an_older_release_tells_what_it_recorded():
    training = {name: value for name, value in TRAINING.items() if name != "hardware"} | {"device": "cuda"}
    checkpoint = make_checkpoint().model_copy(update={"details": {"training": training}})
    dataset = make_dataset()
    del dataset.details["licenses"]
    lines = read_lines({"dataset": dataset}, checkpoint)
    assert "cuda, bf16, 8 threads: 1,234 questions/s." in lines
    assert "| scans | not stated | 5,000 | 500 | 1,200 |" in lines


def test_a_version_that_was_pruned_is_told():
    lines = read_lines({"raw/scans": None})
    assert "| raw/scans | gone from the store |  |  |  |  |" in lines


def test_text_from_data_and_settings_is_escaped():
    checkpoint = make_checkpoint(settings={"warm_start": HOSTILE})
    card = provenance_markdown(checkpoint, {"dataset": make_dataset(HOSTILE, {HOSTILE: HOSTILE})})
    assert "<script" not in card
    assert "![a](" not in card
    assert "\x1b" not in card

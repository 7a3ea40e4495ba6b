"""What a pipeline is: settings that are values, explain themselves and refuse mistakes; folders of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from vqa_pipeline.pipeline import Pipeline, PipelineSettings
from vqa_pipeline.sources.formats import FORMATS

SHAPES = {"name": "toys", "format": "shapes"}
TABLE = {"name": "scans", "format": "table", "files": "raw/*.csv"}
SPECIAL: dict[str, dict[str, Any]] = {
    "shapes": SHAPES,
    "table": {**TABLE, "splits": {"column": "split"}},
    "easy_vqa": {"name": "easy", "format": "easy_vqa", "folder": "raw/easy_vqa"},
    "vqa_v2": {"name": "official", "format": "vqa_v2", "questions": "raw/q.json", "annotations": "raw/a.json"},
}
EVERY_FORMAT = [SPECIAL.get(name, {"name": name, "format": name, "files": "raw/*"}) for name in sorted(FORMATS)]


def find_settings_classes(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every settings class that an annotation mentions, and those that its fields mention."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from find_settings_classes(field.annotation)
    for argument in get_args(annotation):
        yield from find_settings_classes(argument)


SETTINGS = sorted(set(find_settings_classes(PipelineSettings)), key=lambda settings: settings.__name__)


def explain(error: pytest.ExceptionInfo[ValidationError]) -> dict[str, str]:
    """Reasons by setting."""
    return {".".join(map(str, one["loc"])): one["msg"] for one in error.value.errors()}


def read(*sources: dict[str, Any], **settings: Any) -> PipelineSettings:
    return PipelineSettings.model_validate({"sources": sources or (SHAPES,), **settings})


# ------------------------------------------------------------------------------------------------------------- settings


def test_the_settings_are_these_classes_and_one_for_each_format():
    classes = [settings.__name__ for settings in SETTINGS]
    assert len([name for name in classes if name.endswith("Source")]) == len(FORMATS)
    assert [name for name in classes if not name.endswith("Source")] == [
        "ChampionSettings",
        "Columns",
        "ComputeSettings",
        "CronSettings",
        "DatasetSettings",
        "EvaluationSettings",
        "FreshnessSettings",
        "PipelineSettings",
        "SplitColumn",
        "SplitFractions",
        "SplitList",
        "TrainingSettings",
        "VocabularySettings",
        "WebDatasetColumns",
    ]


def test_every_format_of_the_table_can_be_declared():
    declared = {
        field
        for settings in SETTINGS
        for field in get_args(getattr(settings.model_fields.get("format"), "annotation", None))
    }
    assert declared == set(FORMATS)


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_setting_has_a_description_and_every_section_says_what_it_is(settings):
    assert settings.__doc__
    assert not settings.__doc__.startswith("A value: "), "inherited"
    for name, field in settings.model_fields.items():
        assert field.description, f"{settings.__name__}.{name}"
        assert field.description.endswith("."), f"{settings.__name__}.{name}"


def find_sections(section: BaseModel) -> Iterator[BaseModel]:
    yield section
    for name in type(section).model_fields:
        value = getattr(section, name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, BaseModel):
                yield from find_sections(item)


LISTED = {"name": "listed", "format": "slake", "files": "slake.json", "splits": {"list": "test.txt"}}
WHOLE = read(*EVERY_FORMAT, LISTED, retrain={"cron": "0 2 * * *"})


def test_the_whole_pipeline_has_every_section():
    assert {type(section) for section in find_sections(WHOLE)} == set(SETTINGS)


@pytest.mark.parametrize("section", find_sections(WHOLE), ids=lambda section: type(section).__name__)
def test_no_setting_changes_after_it_was_read(section):
    for name in type(section).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, name, getattr(section, name))


@pytest.mark.parametrize("section", find_sections(WHOLE), ids=lambda section: type(section).__name__)
def test_no_section_takes_a_setting_that_it_does_not_know(section):
    with pytest.raises(ValidationError) as error:
        type(section).model_validate({**section.model_dump(), "nope": 1})
    assert explain(error) == {"nope": "Extra inputs are not permitted"}


def test_settings_survive_json():
    assert PipelineSettings.model_validate_json(WHOLE.model_dump_json()) == WHOLE


def test_a_source_is_all_that_must_be_said():
    settings = read()
    told = settings.model_dump(exclude={"sources", "training"})
    assert told == {
        "name": None,
        "store": "data/store",
        "scratch": "data/scratch",
        "freshness": {"dataset_days": None, "champion_days": None},
        "dataset": {
            "split_fractions": {"train": 0.8, "val": 0.1, "test": 0.1},
            "max_reject_fraction": 0.01,
            "leakage": "fail",
            "near_duplicate_distance": 3,
            "images_required": True,
        },
        "compute": {"workers": 1},
        "vocabulary": {"min_count": 1, "max_answers": 3129},
        "evaluation": {
            "metric": "auto",
            "relaxed_numbers": False,
            "splits": ("test",),
            "shuffled_image": True,
            "images": True,
        },
        "champion": {"minimum_effect": 0.01, "max_slice_drop": 0.05, "allow_overridden": False},
        "retrain": "manual",
        "keep": 5,
        "observe": "*/30 * * * *",
    }
    assert settings.training.model_dump() == {
        "backbone": "dandelin/vilt-b32-mlm",
        "warm_start": "none",
        "strategy": "full",
        "epochs": 10,
        "batch_size": 64,
        "micro_batch": 0,
        "learning_rate": "default",
        "head_learning_rate_factor": 10.0,
        "weight_decay": 0.01,
        "warmup_fraction": 0.1,
        "clip_norm": 1.0,
        "patience": 3,
        "cache": "auto",
        "cache_gigabytes": 100.0,
        "seed": 0,
        "checkpoint_every_steps": 500,
        "device": "auto",
        "precision": "auto",
        "compile": "auto",
        "gradient_checkpointing": "auto",
        "threads": 0,
        "processes": 1,
        "layers": 2,
        "lora_rank": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.0,
        "lora_targets": "all",
        "tiny_layers": 2,
        "tiny_width": 96,
        "tiny_heads": 4,
        "tiny_patch_pixels": 16,
        "tiny_image_pixels": 64,
    }


@pytest.mark.parametrize(
    ("wrong", "setting", "reason"),
    [
        ({"sources": []}, "sources", "at least 1 item"),
        ({"sources": [{"name": "toys"}]}, "sources.0", "Unable to extract tag using discriminator 'format'"),
        ({"sources": [{**SHAPES, "format": "shape"}]}, "sources.0", ", ".join(map(repr, sorted(FORMATS)))),
        ({"sources": [{**TABLE, "files": []}]}, "sources.0.table.files.", "at least 1 item"),
        ({"sources": [{**TABLE, "files": " "}]}, "sources.0.table.files.", "must be a path"),
        ({"name": "My clinic"}, "name", "should match pattern '^[a-z][a-z0-9_]*$'"),
        ({"name": "clinic\n"}, "name", "should match pattern"),
        ({"compute": {"workers": 0}}, "compute.workers", "greater than or equal to 1"),
        ({"vocabulary": {"min_count": 0}}, "vocabulary.min_count", "greater than or equal to 1"),
        ({"evaluation": {"splits": []}}, "evaluation.splits", "test must be among them"),
        ({"evaluation": {"splits": ["val"]}}, "evaluation.splits", "test must be among them"),
        ({"evaluation": {"splits": ["test", "val", "test"]}}, "evaluation.splits", "a split is named twice"),
        ({"evaluation": {"splits": ["dev"]}}, "evaluation.splits.0", "'train', 'val' or 'test'"),
        ({"dataset": {"leakage": "drop"}}, "dataset.leakage", "'fail', 'drop_from_train' or 'report'"),
        (
            {"dataset": {"split_fractions": {"train": 0.9}}},
            "dataset.split_fractions",
            "train + val + test must be 1, not 1.1",
        ),
        ({"retrain": "nightly"}, "retrain.", "should be 'manual' or 'on_change'"),
        ({"keep": 0}, "keep", "should be greater than or equal to 1"),
        ({"observe": "often"}, "observe", "a cron line has five fields"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_what_is_allowed(wrong, setting, reason):
    with pytest.raises(ValidationError) as error:
        PipelineSettings.model_validate({"sources": [SHAPES], **wrong})
    assert [told for place, told in explain(error).items() if place.startswith(setting) and reason in told]


def test_two_sources_of_one_name_are_refused_where_the_sources_are():
    with pytest.raises(ValidationError) as error:
        read(TABLE, {**SHAPES, "name": "a"}, {**TABLE, "files": "other.csv"}, {**SHAPES, "name": "a"})
    assert explain(error) == {
        "sources": "Value error, two sources are called a, scans; every source needs a name of its own"
    }


# ------------------------------------------------------------------------------------------------- a pipeline in its place


def test_two_pipelines_of_a_project_share_no_folder(tmp_path):
    one, two = (Pipeline(name, read(store="kept", scratch="unkept"), tmp_path) for name in ("one", "two"))
    assert one.store_folder == tmp_path / "kept" / "one"
    assert one.scratch_folder == tmp_path / "unkept" / "one"
    assert len({one.store_folder, two.store_folder, one.scratch_folder, two.scratch_folder}) == 4


def test_a_store_may_lie_outside_of_the_project(tmp_path):
    pipeline = Pipeline("clinic", read(store="/mnt/store"), tmp_path)
    assert pipeline.store_folder == Path("/mnt/store/clinic")
    assert pipeline.scratch_folder == tmp_path / "data" / "scratch" / "clinic"


def test_a_source_is_found_by_its_name(tmp_path):
    pipeline = Pipeline("clinic", read(SHAPES, TABLE), tmp_path)
    assert pipeline.source("scans") == read(TABLE).sources[0]


def test_loading_the_settings_loads_nothing_heavy():
    """In a process of its own, as other tests load everything here."""
    heavy = "{'torch', 'transformers', 'pandas', 'polars', 'sklearn', 'dagster', 'PIL'}"
    code = (
        "import sys; from vqa_pipeline.pipeline import PipelineSettings\n"
        f"PipelineSettings(sources=[{SHAPES}]); print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout == "[]\n"

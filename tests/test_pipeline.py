"""What a pipeline is: settings that are values, explain themselves and refuse mistakes; folders of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from vqa_pipeline.pipeline import CronSettings, Pipeline, PipelineSettings
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
        ({"retrain": "nightly"}, "retrain.", "should be 'manual'"),
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


# ----------------------------------------------------------------------------------------------------------------- cron


@pytest.mark.parametrize(
    "cron",
    [
        "0 2 * * *",
        "*/15 * * * *",
        "0,30 8-18/2 1-7 jan-mar MON",
        "5/10 0 29 2 *",
        "59 23 31 12 7",
        "0 0 31 2,3 *",
        "0   2 *\t* *",
    ],
)
def test_a_cron_line_is_kept_as_it_is_written(cron):
    assert CronSettings(cron=cron) == CronSettings(cron=cron, timezone="UTC")
    assert CronSettings(cron=cron).cron == cron


MINUTES = "is no minute: write 0 to 59, a range such as 1-5, *, or every second as */2; several are separated by commas"


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("", "a cron line has five fields, such as `0 2 * * *`"),
        ("0 2 * *", "a cron line has five fields, such as `0 2 * * *`"),
        ("0 0 2 * * *", "a cron line has five fields, such as `0 2 * * *`"),
        ("@daily", "a cron line has five fields, such as `0 2 * * *`"),
        ("99 * * * *", f"'99' {MINUTES}"),
        ("a * * * *", f"'a' {MINUTES}"),
        ("-1 * * * *", f"'-1' {MINUTES}"),
        ("30-10 * * * *", f"'30-10' {MINUTES}"),
        ("1,,2 * * * *", f"'' {MINUTES}"),
        ("*/0 * * * *", f"'*/0' {MINUTES}"),
        ("*/61 * * * *", f"'*/61' {MINUTES}"),
        ("1/2/3 * * * *", f"'1/2/3' {MINUTES}"),
        ("* 24 * * *", "'24' is no hour: write 0 to 23, "),
        ("* * 0 * *", "'0' is no day of month: write 1 to 31, "),
        ("* * L * *", "'l' is no day of month: write 1 to 31, "),
        ("* * * 13 *", "'13' is no month: write 1 to 12 or jan to dec, "),
        ("* * * january *", "'january' is no month"),
        ("* * * * 8", "'8' is no day of week: write 0 to 7 or sun to sat, "),
        ("* * * * mon-", "'mon-' is no day of week"),
        ("٣ * * * *", "'٣' is no minute"),
        ("0 0 31 2 *", "day 31 is in none of its months"),
        ("0 0 31 4,6,9,11 *", "day 31 is in none of its months"),
        ("0 0 30,31 feb mon", "day 30 is in none of its months"),
    ],
)
def test_a_wrong_cron_line_is_told_by_its_wrong_field(cron, reason):
    with pytest.raises(ValidationError) as error:
        CronSettings(cron=cron)
    assert explain(error)["cron"].startswith(f"Value error, {reason}")


def cron_fields(low: int, high: int, *words: str) -> st.SearchStrategy[str]:
    values = st.integers(low, high).map(str) | (st.sampled_from(words) if words else st.nothing())
    ranges = st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.integers(1, high - low + 1)
    items = st.one_of(
        st.just("*"),
        values,
        ranges,
        st.tuples(st.just("*") | values | ranges, steps).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    )
    return st.lists(items, min_size=1, max_size=3).map(",".join)


CRON_LINES = st.tuples(
    cron_fields(0, 59),
    cron_fields(0, 23),
    cron_fields(1, 31),
    cron_fields(1, 12, "jan", "Feb", "DEC"),
    cron_fields(0, 7, "sun", "Mon", "SAT"),
).map(" ".join)


@given(cron=CRON_LINES)
def test_dagster_takes_every_cron_line_that_is_taken_here(cron):
    try:
        settings = CronSettings(cron=cron)
    except ValidationError as error:
        assert "is in none of its months" in str(error)
    else:
        assert dg.AutomationCondition.cron_tick_passed(settings.cron, settings.timezone)


@given(cron=st.text(alphabet="0123456789*/,-aujn ", max_size=16))
def test_any_text_is_a_schedule_to_dagster_too_or_refused_in_words(cron):
    try:
        settings = CronSettings(cron=cron)
    except ValidationError as error:
        assert "Value error, " in str(error)
    else:
        assert dg.AutomationCondition.cron_tick_passed(settings.cron, settings.timezone)


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"])
def test_a_time_zone_is_one_that_dagster_knows(timezone):
    assert dg.AutomationCondition.cron_tick_passed(
        "0 2 * * *", CronSettings(cron="0 2 * * *", timezone=timezone).timezone
    )


@pytest.mark.parametrize("timezone", ["Europe/Bonn", "Europe", "", "../UTC", "/etc/localtime", "Berlin\0", "+01:00"])
def test_a_wrong_time_zone_is_told_with_an_example(timezone):
    with pytest.raises(ValidationError) as error:
        CronSettings(cron="0 2 * * *", timezone=timezone)
    assert explain(error) == {"timezone": f"Value error, {timezone!r} is not an IANA time zone such as Europe/Berlin"}


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

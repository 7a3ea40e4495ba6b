"""The stages from raw files to metrics, on a small folder of pictures and a table, with a worker that has no torch."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import PIL
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from colours_world import COLOURS, SPLITS, Runner, declare_source, make_pipeline, write_source
from curation_world import draw_scene
from PIL import Image

from vqa_pipeline import stages
from vqa_pipeline.curation import plan
from vqa_pipeline.curation.known_images import write_known_images
from vqa_pipeline.errors import (
    DamagedVersion,
    GateFailed,
    NotPublished,
    SettingsError,
    SourceChanged,
    SourceError,
    StaleInput,
)
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.reporting.images import make_thumbnail
from vqa_pipeline.sources.formats import FORMATS
from vqa_pipeline.sources.formats.format import Format


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_source(tmp_path)
    return tmp_path


def test_every_stage_publishes_a_version_that_names_its_inputs(project):
    outcomes = Runner(make_pipeline(project)).run()
    inputs = {name: sorted(outcome.version.manifest.inputs) for name, outcome in outcomes.items()}
    assert inputs == {
        "raw": [],
        "records": ["raw/colours"],
        "dataset": ["raw/colours", "records/colours"],
        "vocabulary": ["dataset"],
        "checkpoint": ["dataset", "vocabulary"],
        "predictions": ["checkpoint", "dataset"],
        "metrics": ["dataset", "predictions"],
    }
    assert not any(outcome.reused for outcome in outcomes.values())
    assert all(outcome.markdown for outcome in outcomes.values())


def test_the_numbers_of_a_clean_table_are_what_a_person_would_count(project):
    outcomes = Runner(make_pipeline(project)).run()
    numbers = {name: outcome.version.manifest.numbers for name, outcome in outcomes.items()}
    assert numbers["raw"]["num_files"] == 21
    assert numbers["records"]["num_questions"] == 20
    assert numbers["dataset"]["num_rows"] == 20
    assert numbers["dataset"]["num_images"] == 20
    assert numbers["vocabulary"]["num_answers"] == 4
    assert numbers["predictions"]["num_predictions"] == 4
    # the fake worker always gives the first answer, `blue`: one of the four test questions
    assert numbers["metrics"]["vqa_accuracy"] == pytest.approx(0.25)
    assert numbers["metrics"]["baseline_majority"] == pytest.approx(0.25)


def test_a_second_run_reuses_everything_and_trains_nothing(project):
    first = Runner(make_pipeline(project))
    before = first.run()
    second = Runner(make_pipeline(project))
    after = second.run()
    assert all(outcome.reused for outcome in after.values())
    assert second.worker.jobs == []
    assert {n: o.version.manifest for n, o in after.items()} == {n: o.version.manifest for n, o in before.items()}


def test_rows_in_another_order_change_records_but_nothing_downstream(project):
    runner = Runner(make_pipeline(project))
    before = runner.run()
    lines = (project / "raw" / "questions.csv").read_text().splitlines()
    (project / "raw" / "questions.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    after = runner.run()
    assert [name for name, outcome in after.items() if not outcome.reused] == ["raw", "records", "dataset"]
    for name in ("records", "dataset"):
        assert after[name].version.manifest.data_version == before[name].version.manifest.data_version
    assert runner.worker.num_trainings == 1


def test_a_changed_answer_reaches_the_model(project):
    runner = Runner(make_pipeline(project))
    runner.run()
    write_source(project, change={0: {"answer": "crimson"}})
    after = runner.run()
    assert [name for name, outcome in after.items() if outcome.reused] == []
    assert runner.worker.num_trainings == 2


def test_a_replaced_image_reaches_the_model_though_no_row_changed(project):
    runner = Runner(make_pipeline(project))
    runner.run()
    Image.new("RGB", (40, 40), "purple").save(project / "raw" / "images" / "0.png")
    after = runner.run()
    assert after["dataset"].reused is False
    assert runner.worker.num_trainings == 2


def test_images_in_an_archive_are_observed_and_mended_references_to_them_kept(project):
    write_source(project, change={1: {"image": "images/1.PNG"}})
    archive = project / "raw" / "images.zip"

    def pack() -> None:
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted((project / "raw" / "images").iterdir()):
                file.write(path, f"images/{path.name}")

    pack()
    runner = Runner(make_pipeline(project, sources=[declare_source(image_root="raw/images.zip")]))
    first = runner.run("dataset")
    assert first["raw"].version.manifest.numbers["num_files"] == 2
    assert first["dataset"].version.manifest.numbers["num_images"] == 20
    assert first["dataset"].version.manifest.details["repairs_by_kind"] == {"letter_case": 1, "root_folder": 1}
    assert all(outcome.reused for outcome in runner.run("dataset").values())
    Image.new("RGB", (40, 40), "purple").save(project / "raw" / "images" / "0.png")
    pack()
    assert not any(outcome.reused for outcome in runner.run("dataset").values())


def test_images_inside_the_files_are_published_with_the_records(project):
    rows = [
        {"id": str(number), "image": (project / "raw" / "images" / f"{number}.png").read_bytes(), "question": "what?",
         "answer": COLOURS[number % 4], "split": SPLITS[number % len(SPLITS)]}
        for number in range(20)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), project / "raw" / "rows.parquet")
    source = declare_source(format="hf_parquet", files="raw/rows.parquet", image_root=None)
    outcomes = Runner(make_pipeline(project, sources=[source])).run("dataset")
    assert {"images.bin", "images.arrow"} <= outcomes["records"].version.manifest.files.keys()
    assert outcomes["records"].version.manifest.numbers["num_embedded_images"] == 20
    assert outcomes["dataset"].version.manifest.numbers["num_images"] == 20


def test_going_back_to_earlier_data_uses_the_checkpoint_trained_on_it(project):
    runner = Runner(make_pipeline(project))
    first = runner.run()
    write_source(project, change={0: {"answer": "crimson"}})
    runner.run()
    write_source(project)
    third = runner.run()
    assert runner.worker.num_trainings == 2
    assert third["checkpoint"].version.manifest.version == first["checkpoint"].version.manifest.version


def test_the_checkpoint_fingerprint_ignores_how_fast_it_is_trained(project):
    Runner(make_pipeline(project)).run()
    runner = Runner(make_pipeline(project, training={"backbone": "tiny", "threads": 1, "checkpoint_every_steps": 7}))
    assert runner.run()["checkpoint"].reused


def test_a_local_backbone_whose_files_changed_is_trained_on_again(project):
    folder = project / "backbones" / "ours"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    pipeline = make_pipeline(project, training={"backbone": "backbones/ours"})
    runner = Runner(pipeline)
    first = runner.run("checkpoint")["checkpoint"]
    assert runner.run("checkpoint")["checkpoint"].reused
    (folder / "model.safetensors").write_bytes(b"other weights")
    second = runner.run("checkpoint")["checkpoint"]
    assert not second.reused
    assert second.version.manifest.data_version != first.version.manifest.data_version
    assert second.version.manifest.details["overridden"] == {}


def test_a_parent_whose_files_changed_is_gone_on_from_again(project):
    (project / "parents" / "one").mkdir(parents=True)
    (project / "parents" / "one" / "model.safetensors").write_bytes(b"weights")
    runner = Runner(make_pipeline(project, training={"backbone": "tiny", "warm_start": "parents/one"}))
    first = runner.run("checkpoint")["checkpoint"]
    assert runner.worker.jobs[-1].settings.warm_start == str(project / "parents/one")
    assert runner.run("checkpoint")["checkpoint"].reused
    (project / "parents/one/model.safetensors").write_bytes(b"other weights")
    second = runner.run("checkpoint")["checkpoint"]
    assert second.version.manifest.data_version != first.version.manifest.data_version
    assert second.version.manifest.details["overridden"] == {}


def test_a_folder_called_tiny_is_not_the_backbone_tiny(project):
    (project / "tiny").mkdir()
    runner = Runner(make_pipeline(project))
    runner.run("checkpoint")
    assert runner.worker.jobs[-1].settings.backbone == "tiny"


def test_overridden_settings_train_another_checkpoint_and_are_recorded(project):
    runner = Runner(make_pipeline(project))
    runner.run()
    changed = runner.pipeline.settings.training.model_copy(update={"epochs": 3})
    outcome = stages.train_checkpoint(runner.pipeline, changed, runner.worker, print)
    assert outcome.version.manifest.details["overridden"] == {"epochs": 3}
    assert outcome.version.manifest.settings["epochs"] == 3
    assert runner.worker.num_trainings == 2


def test_a_checkpoint_that_does_not_answer_as_its_model_is_not_published(project):
    runner = Runner(make_pipeline(project))
    good = runner.run("checkpoint")["checkpoint"]
    [check] = good.checks
    assert (check.name, check.blocking, check.passed) == ("reloads", True, True)
    assert check.numbers == {"num_questions": 2, "num_same_answers": 2, "largest_difference": 0.0}
    write_source(project, change={1: {"answer": "grün"}})
    runner.worker.reloaded |= {"num_same_answers": 0, "largest_difference": 0.2, "problem": "it answers otherwise"}
    with pytest.raises(GateFailed, match="it answers otherwise") as failed:
        runner.run("checkpoint")
    assert failed.value.checks[0].numbers["largest_difference"] == 0.2
    assert stages.open_store(runner.pipeline).require("checkpoint") == good.version


def test_too_many_rejects_publish_nothing_and_keep_the_candidate(project):
    runner = Runner(make_pipeline(project))
    good = runner.run("dataset")["dataset"]
    write_source(project, change={number: {"image": f"missing-{number}.png"} for number in range(5)})
    with pytest.raises(GateFailed, match=r"5 of 20 rows \(25.00%\) are rejected.*max_reject_fraction: 0.01") as failure:
        runner.run()
    store = stages.open_store(runner.pipeline)
    assert store.require("dataset").manifest == good.version.manifest
    candidate = Path(failure.value.candidate)
    assert (candidate / "page.html").is_file()
    assert list((candidate / "rejects").glob("*.parquet"))
    assert {check.name: check.passed for check in failure.value.checks} == {
        "ledger_balances": True,
        "has_questions": True,
        "reject_fraction": False,
        "no_leakage": True,
        "no_rejects": False,
        "drift": False,
    }


def test_a_higher_limit_lets_the_same_rows_pass(project):
    write_source(project, change={0: {"image": "missing.png"}})
    outcome = Runner(make_pipeline(project, dataset={"max_reject_fraction": 0.1})).run("dataset")["dataset"]
    assert outcome.version.manifest.numbers["num_rejected"] == 1
    assert [check.name for check in outcome.checks if not check.passed] == ["no_rejects"]


def test_a_gate_names_the_most_frequent_rules_of_rejects_with_a_reason(project):
    lost = {number: {"image": f"lost-{number}.png"} for number in range(3, 6)}
    write_source(project, change={**lost, 7: {"question": " "}})
    with pytest.raises(GateFailed) as caught:
        Runner(make_pipeline(project)).run("dataset")
    [failure] = caught.value.failures
    assert failure == (
        "4 of 20 rows (20.00%) are rejected, more than `dataset.max_reject_fraction: 0.01` allows: image_missing 3, "
        "question_empty 1 (such as: there is no lost-3.png in the image root); the page of the candidate lists them; "
        "correct them, or raise the limit"
    )


@pytest.mark.parametrize("content", ["[]", "id,image,question,answer,split\n"])
def test_a_source_that_lost_all_its_rows_does_not_replace_the_last_good_dataset(project, content):
    runner = Runner(make_pipeline(project))
    good = runner.run("dataset")["dataset"]
    (project / "raw" / "questions.csv").write_text(content)
    with pytest.raises(GateFailed) as caught:
        runner.run("dataset")
    [failure] = caught.value.failures
    assert failure == (
        "no question is accepted (source colours: 0 rows): the page of the candidate tells why; "
        "source colours gave no row: bring its rows, or remove it from `sources`"
    )
    assert stages.open_store(runner.pipeline).require("dataset").manifest == good.version.manifest


def test_a_data_set_of_rejects_is_not_published_whatever_the_limit(project):
    write_source(project, change={number: {"image": "lost.png"} for number in range(20)})
    with pytest.raises(GateFailed) as caught:
        Runner(make_pipeline(project, dataset={"max_reject_fraction": 1})).run("dataset")
    assert caught.value.failures == (
        (
            "no question is accepted (source colours: 20 rows: 20 rejected (image_missing 20)): the page of the "
            "candidate tells why"
        ),
    )


def test_one_empty_source_among_others_fails_the_gate(project):
    (project / "raw" / "spare.csv").write_text("id,image,question,answer,split\n")
    pipeline = make_pipeline(project, sources=[declare_source(), declare_source(name="spare", files="raw/spare.csv")])
    stages.observe_source(pipeline, "spare", print)
    stages.build_records(pipeline, "spare", print)
    with pytest.raises(GateFailed) as caught:
        Runner(pipeline).run("dataset")
    assert caught.value.failures == ("source spare gave no row: bring its rows, or remove it from `sources`",)


def test_leakage_fails_the_gate_and_names_the_policies(project):
    write_source(project, change={16: {"image": "0.png"}})
    with pytest.raises(GateFailed, match=r"1 image is in more than one split .*leakage: drop_from_train"):
        Runner(make_pipeline(project)).run()


def test_leakage_dropped_from_train_keeps_the_test_question(project):
    write_source(project, change={16: {"image": "0.png"}})
    runner = Runner(make_pipeline(project, dataset={"leakage": "drop_from_train"}))
    dataset = runner.run("dataset")["dataset"].version
    assert dataset.manifest.details["num_questions_by_split"] == {"train": 11, "val": 4, "test": 4}


def test_a_near_copy_in_another_split_fails_the_gate_and_is_shown_beside_its_like(project):
    for number, size in ((0, (160, 120)), (16, (80, 60))):
        (project / "raw" / "images" / f"{number}.png").write_bytes(draw_scene(1, size=size))
    with pytest.raises(GateFailed, match="1 group of near-duplicates is in more than one split") as failed:
        Runner(make_pipeline(project)).run()
    page = (Path(failed.value.candidate) / "page.html").read_text()
    assert page.count('alt="image ') == 2
    assert re.search(r"[0-3] of 64 bits apart", page)
    runner = Runner(make_pipeline(project, dataset={"leakage": "drop_from_train"}))
    version = runner.run("dataset")["dataset"].version
    numbers = version.manifest.numbers
    assert (numbers["num_questions_train"], numbers["num_leaking_images"], numbers["num_leaking_groups"]) == (11, 0, 1)
    page = (version.path / "page.html").read_text()
    for number in (0, 16):  # the one that the policy left out is in no pack
        thumbnail = make_thumbnail((project / "raw" / "images" / f"{number}.png").read_bytes(), side=128)
        assert f'<img src="{thumbnail}" alt="image ' in page


def test_how_many_processes_make_the_dataset_is_no_reason_to_make_it_again(project):
    first = Runner(make_pipeline(project)).run("dataset")["dataset"]
    again = Runner(make_pipeline(project, compute={"workers": 3})).run("dataset")["dataset"]
    assert again.reused
    assert "workers" not in json.dumps(first.version.manifest.settings)


def falsify_known_images(pipeline: Pipeline) -> Path:
    """Change a fact of every image that is remembered: whoever believes it did not decode."""
    [known] = pipeline.scratch_folder.glob("known-images-*.arrow")
    with pa.memory_map(str(known)) as file:
        facts = pa.ipc.open_file(file).read_all()
    widths = pa.array([777] * facts.num_rows, pa.int32())
    write_known_images(
        facts.set_column(facts.schema.get_field_index("width"), facts.schema.field("width"), widths), known
    )
    return known


def read_widths(outcome: stages.Outcome) -> set[int]:
    return set(pq.read_table(outcome.version.path / "images.parquet")["width"].to_pylist())


def test_images_that_an_earlier_version_has_checked_are_not_decoded_again(project):
    runner = Runner(make_pipeline(project))
    runner.run("dataset")
    falsify_known_images(runner.pipeline)
    write_source(project, change={0: {"answer": "crimson"}})
    Image.new("RGB", (5, 5), "red").save(project / "raw" / "images" / "3.png")
    assert read_widths(runner.run("dataset")["dataset"]) == {777, 5}


@pytest.mark.parametrize("other", ["known-images-1-{pillow}.arrow", "known-images-{number}-11.0.0.arrow"])
def test_what_other_checks_or_another_decoder_found_out_is_not_believed(project, other):
    runner = Runner(make_pipeline(project))
    runner.run("dataset")
    known = falsify_known_images(runner.pipeline)
    name = other.format(pillow=PIL.__version__, number=stages.STAGE_NUMBERS["dataset"])
    known.rename(known.with_name(name))
    write_source(project, change={0: {"answer": "crimson"}})
    assert 777 not in read_widths(runner.run("dataset")["dataset"])
    assert [path.name for path in runner.pipeline.scratch_folder.glob("known-images-*")] == [known.name]


def test_a_missing_file_names_source_setting_and_path(project):
    (project / "raw" / "questions.csv").unlink()
    with pytest.raises(SourceError, match=r"source 'colours', `files`: .*questions.csv"):
        Runner(make_pipeline(project)).run("raw")


def test_a_stage_without_its_input_names_what_to_materialize(project):
    with pytest.raises(NotPublished, match="Materialize records/colours first"):
        stages.build_dataset(make_pipeline(project), print)


def test_a_dataset_is_not_built_from_records_of_an_earlier_state(project):
    runner = Runner(make_pipeline(project))
    runner.run("records")
    write_source(project, change={0: {"answer": "crimson"}})
    with pytest.raises(StaleInput, match="records/colours was made from another raw/colours"):
        stages.build_dataset(runner.pipeline, print)


class Meddling:
    """A format as it is; when it has read five records, another program does something to its files."""

    def __init__(self, chosen: Format, meddle: Callable[[], None]) -> None:
        self.chosen, self.meddle = chosen, meddle

    def find_files(self, settings, root):
        return self.chosen.find_files(settings, root)

    def find_image_root(self, settings, root):
        return self.chosen.find_image_root(settings, root)

    def build_parser(self, settings, root):
        return self.chosen.build_parser(settings, root)

    def read(self, settings, root, most=None):
        for number, record in enumerate(self.chosen.read(settings, root)):
            if number == 5:
                self.meddle()
            yield record


def find_published(pipeline: Pipeline) -> set[str]:
    store = stages.open_store(pipeline)
    return {name for name in ("raw/colours", "records/colours", "dataset") if store.current(name)}


@pytest.mark.parametrize("name", ["questions.csv", "images/3.png", "images/new.png"])
def test_records_of_files_that_change_while_they_are_read_are_not_published(project, monkeypatch, name):
    file = project / "raw" / name

    def meddle() -> None:
        with file.open("ab") as opened:
            opened.write(b"20,0.png,what colour is it?,red,train\n")

    monkeypatch.setitem(FORMATS, "table", Meddling(FORMATS["table"], meddle))
    pipeline = make_pipeline(project)
    with pytest.raises(SourceChanged, match=rf"source 'colours'.*{name}: changed while it was being read"):
        stages.build_records(pipeline, "colours", print)
    assert find_published(pipeline) == {"raw/colours"}


def test_records_of_another_state_than_the_observed_one_are_not_published(project):
    pipeline = make_pipeline(project)

    def meddle(told: str) -> None:
        if told.startswith("raw/colours"):
            write_source(project, change={0: {"answer": "crimson"}})

    with pytest.raises(SourceChanged, match=r"questions\.csv: changed"):
        stages.build_records(pipeline, "colours", meddle)
    assert find_published(pipeline) == {"raw/colours"}


def test_an_image_that_goes_away_before_a_dataset_is_built_rejects_nothing_for_good(project):
    runner = Runner(make_pipeline(project, dataset={"max_reject_fraction": 0.5}))
    runner.run("records")
    image = project / "raw" / "images" / "0.png"
    content = image.read_bytes()

    def meddle(told: str) -> None:
        if told.startswith("raw/colours"):
            image.unlink()

    with pytest.raises(SourceChanged, match=r"images/0\.png: changed"):
        stages.build_dataset(runner.pipeline, meddle)
    assert find_published(runner.pipeline) == {"raw/colours", "records/colours"}
    image.write_bytes(content)
    assert runner.run("dataset")["dataset"].version.manifest.numbers["num_rejected"] == 0


def test_an_image_that_is_away_for_a_moment_is_not_missing(project, monkeypatch):
    runner = Runner(make_pipeline(project, dataset={"max_reject_fraction": 0.5}))
    runner.run("records")
    image = project / "raw" / "images" / "0.png"
    build = plan.build_dataset

    def build_meanwhile(*given, **told):
        image.rename(project / "elsewhere.png")
        try:
            return build(*given, **told)
        finally:
            (project / "elsewhere.png").rename(image)  # with its size and time: nothing seems to have changed

    with monkeypatch.context() as other_program:
        other_program.setattr(plan, "build_dataset", build_meanwhile)
        with pytest.raises(SourceChanged, match=r"raw/images/0\.png: changed"):
            stages.build_dataset(runner.pipeline, print)
    assert find_published(runner.pipeline) == {"raw/colours", "records/colours"}
    assert runner.run("dataset")["dataset"].version.manifest.numbers["num_rejected"] == 0


def test_an_image_that_is_away_for_a_moment_does_not_lend_its_name_to_another(project, monkeypatch):
    """`0.png` means itself; while it is away only `0.jpg` fits, and would be taken for it by its stem."""
    images = project / "raw" / "images"
    (images / "0.jpg").write_bytes((images / "1.png").read_bytes())
    runner = Runner(make_pipeline(project))
    runner.run("records")
    build = plan.build_dataset

    def build_meanwhile(*given, **told):
        (images / "0.png").rename(project / "elsewhere.png")
        try:
            return build(*given, **told)
        finally:
            (project / "elsewhere.png").rename(images / "0.png")

    with monkeypatch.context() as other_program:
        other_program.setattr(plan, "build_dataset", build_meanwhile)
        with pytest.raises(SourceChanged, match=r"raw/images/0\.png: changed"):
            stages.build_dataset(runner.pipeline, print)
    assert find_published(runner.pipeline) == {"raw/colours", "records/colours"}


def test_references_of_another_machine_are_mended_and_told_on_the_datasets_page(project):
    write_source(project, change={0: {"image": "C:\\data\\images\\0.png"}, 1: {"image": "/mnt/images/1.PNG"}})
    dataset = Runner(make_pipeline(project)).run("dataset")["dataset"].version
    assert dataset.manifest.numbers["num_rejected"] == 0
    assert dataset.manifest.details["repairs_by_kind"] == {
        "absolute_path": 2,
        "backslash": 1,
        "drive_letter": 1,
        "letter_case": 1,
    }
    tables = [pq.read_table(path, columns=["question_id", "image"]) for path in (dataset.path / "questions").iterdir()]
    images = {row["question_id"]: row["image"] for table in tables for row in table.to_pylist()}
    assert (images["colours/0"], images["colours/1"]) == ("0.png", "1.png")
    assert '<th>absolute_path</th><td class="n">2</td>' in (dataset.path / "page.html").read_text()


def test_images_of_rejected_rows_are_shown_on_the_page_and_none_from_outside_the_image_root(project):
    write_source(project, change={0: {"question": ""}, 1: {"split": "holdout"}})
    Image.new("RGB", (30, 20), "purple").save(project / "raw" / "outside.png")
    outside = project / "raw" / "outside.png"
    with (project / "raw" / "questions.csv").open("a") as file:
        file.write(f"20,{outside},,purple,train\n21,../outside.png,,purple,train\n22,5.png,,purple,train\n")
        file.write("23,gone.png,,purple,train\n24,broken.png,,purple,train\n")
    (project / "raw" / "images" / "broken.png").write_bytes(b"GIF89a")
    made = make_pipeline(project, dataset={"max_reject_fraction": 0.5})
    dataset = Runner(made).run("dataset")["dataset"].version
    tables = [pq.read_table(path, columns=["question_id", "image"]) for path in (dataset.path / "rejects").iterdir()]
    images = {row["question_id"]: row["image"] for table in tables for row in table.to_pylist()}
    assert images == {
        "colours/0": "0.png",
        "colours/1": "1.png",
        "colours/20": str(outside),
        "colours/21": "../outside.png",
        "colours/22": "5.png",
        "colours/23": "gone.png",
        "colours/24": "broken.png",
    }
    page = (dataset.path / "page.html").read_text()
    assert page.count('alt="its image"') == 2, "of the three first rows without a question one has its image inside"
    assert make_thumbnail((project / "raw" / "images" / "0.png").read_bytes()) in page
    assert make_thumbnail((project / "raw" / "images" / "1.png").read_bytes()) in page
    assert make_thumbnail(outside.read_bytes()) not in page


def test_a_file_that_changes_while_a_dataset_is_built_is_named(project, monkeypatch):
    runner = Runner(make_pipeline(project, dataset={"max_reject_fraction": 0.5}))
    runner.run("records")
    build = plan.build_dataset

    def build_meanwhile(*given, **told):
        summary = build(*given, **told)
        (project / "raw" / "images" / "new.png").write_bytes(b"half of an image")
        return summary

    monkeypatch.setattr(plan, "build_dataset", build_meanwhile)
    with pytest.raises(SourceChanged, match=r"images/new\.png: changed"):
        stages.build_dataset(runner.pipeline, print)
    assert find_published(runner.pipeline) == {"raw/colours", "records/colours"}


def test_a_checkpoint_is_not_trained_on_a_mixture_of_two_datasets(project):
    runner = Runner(make_pipeline(project))
    runner.run("vocabulary")
    write_source(project, change={0: {"answer": "crimson"}})
    runner.run("dataset")
    with pytest.raises(StaleInput, match="vocabulary was made from another dataset"):
        stages.train_checkpoint(runner.pipeline, runner.pipeline.settings.training, runner.worker, print)
    assert runner.worker.jobs == []


def test_a_vocabulary_of_one_answer_is_refused(project):
    write_source(project, change={number: {"answer": "red"} for number in range(20)})
    with pytest.raises(SettingsError) as caught:
        Runner(make_pipeline(project)).run("vocabulary")
    assert str(caught.value) == (
        "`sources`: the 12 answered training questions have no answer but 'red'. "
        "Bring training questions with other answers: there is nothing to tell apart."
    )


def test_answers_that_normalization_leaves_nothing_of_are_no_vocabulary(project):
    write_source(project, change={number: {"answer": "the"} for number in range(20)})
    with pytest.raises(
        SettingsError, match="the 12 answered training questions have no answer that normalization leaves"
    ):
        Runner(make_pipeline(project)).run("vocabulary")


def test_a_data_set_without_training_questions_is_told_as_a_matter_of_splits(project):
    write_source(project, change={number: {"split": "test"} for number in range(20)})
    with pytest.raises(SettingsError, match="`dataset.split_fractions`: the dataset has no training question"):
        Runner(make_pipeline(project)).run("vocabulary")


def test_training_questions_without_answers_are_told_as_a_matter_of_sources(project):
    columns = {"id": "id", "image": "image", "question": "question", "answers": None}
    with pytest.raises(SettingsError, match="`sources`: none of the 12 training questions has an answer. Bring the"):
        Runner(make_pipeline(project, sources=[declare_source(columns=columns)])).run("vocabulary")


def test_a_min_count_that_leaves_too_few_answers_is_the_setting_to_change(project):
    with pytest.raises(SettingsError) as caught:
        Runner(make_pipeline(project, vocabulary={"min_count": 4})).run("vocabulary")
    assert str(caught.value) == (
        "`vocabulary.min_count`: leaves 0 answers of the 4 in 12 answered training questions. "
        "Lower it, or bring more training questions."
    )


def test_a_vocabulary_of_low_coverage_warns_with_the_count_that_helps(project):
    # training answers: red 5, green 3, blue 2, yellow 1, crimson 1; at least two each leaves 10 of 12 questions covered
    write_source(
        project, change={1: {"answer": "red"}, 2: {"answer": "red"}, 3: {"answer": "crimson"}, 7: {"answer": "green"}}
    )
    outcome = Runner(make_pipeline(project, vocabulary={"min_count": 2})).run("vocabulary")["vocabulary"]
    [check] = [check for check in outcome.checks if check.name == "coverage"]
    assert not check.passed
    assert not check.blocking
    assert "covers 83.3% of the training questions; `vocabulary: {min_count: 1}` would reach 95 %" in check.message


def test_the_store_holds_no_absolute_path(project):
    Runner(make_pipeline(project)).run()
    store = project / "data" / "store"
    texts = [p.read_bytes() for p in store.rglob("*") if p.is_file()]
    assert not [text for text in texts if str(project).encode() in text]


def test_the_store_can_be_moved_and_nothing_is_computed_again(project):
    Runner(make_pipeline(project)).run()
    shutil.move(project / "data" / "store", project / "elsewhere")
    runner = Runner(make_pipeline(project, store="elsewhere"))
    assert all(outcome.reused for outcome in runner.run().values())


def test_scratch_may_be_deleted_and_nothing_is_computed_again(project):
    Runner(make_pipeline(project)).run()
    shutil.rmtree(project / "data" / "scratch")
    assert all(outcome.reused for outcome in Runner(make_pipeline(project)).run().values())


def test_new_images_go_into_a_new_pack_and_the_old_one_is_shared(project):
    runner = Runner(make_pipeline(project))
    first = runner.run("dataset")["dataset"].version.manifest.details["image_packs"]
    write_source(project, rows=22)
    second = runner.run("dataset")["dataset"].version.manifest.details["image_packs"]
    assert len(first) == 1
    assert set(first) < set(second)
    assert len(second) == 2


def test_an_image_pack_of_an_earlier_form_is_not_taken_into_a_new_version(project):
    runner = Runner(make_pipeline(project))
    dataset = runner.run("dataset")["dataset"].version
    [name] = dataset.manifest.details["image_packs"]
    pack = dataset.path.parents[1] / name
    pq.write_table(pq.read_table(pack).drop_columns(["alterations"]), pack)
    write_source(project, rows=22)
    packs = runner.run("dataset")["dataset"].version.manifest.details["image_packs"]
    assert name not in packs
    tables = [pq.read_table(dataset.path.parents[1] / new) for new in packs]
    assert sum(table.num_rows for table in tables) == 22
    assert pack.exists(), "the version that it belongs to keeps it"


def test_a_corrections_file_is_part_of_its_source_and_what_fits_no_row_warns(project):
    Runner(make_pipeline(project)).run("dataset")
    (project / "raw" / "fixes.csv").write_text(
        "question_id,action,answers\ncolours/0,edit,crimson\ncolours/1,drop,\ncolours/99,drop,\n"
    )
    corrected = make_pipeline(project, sources=[declare_source(corrections="raw/fixes.csv")])
    done = Runner(corrected).run("dataset")
    assert done["raw"].version.manifest.numbers["num_files"] == 22
    [check] = done["records"].checks
    assert (check.name, check.passed, check.blocking) == ("corrections_fit", False, False)
    assert "1 correction was not applied: colours/99 (no row has this key)" in check.message
    manifest = done["dataset"].version.manifest
    assert manifest.numbers["num_excluded"] == 1
    assert manifest.details["repairs_by_kind"] == {"corrected_answers": 1}
    page = (done["dataset"].version.path / "page.html").read_text()
    assert "1 correction not applied." in page
    assert "colours/99 (no row has this key)" in page
    assert manifest.details["statistics"]["top_answers"]["crimson"] == 1
    (project / "raw" / "fixes.csv").write_text("question_id,action,answers\ncolours/0,edit,scarlet\n")
    again = Runner(corrected).run("dataset")
    assert again["dataset"].version.manifest.details["statistics"]["top_answers"]["scarlet"] == 1
    assert again["records"].checks[0].passed
    assert "not applied" not in (again["dataset"].version.path / "page.html").read_text()


def test_a_licence_is_told_in_the_card_and_computes_nothing_else_again(project):
    Runner(make_pipeline(project)).run()
    again = Runner(make_pipeline(project, sources=[declare_source(license="CC-BY-4.0")])).run()
    assert {name for name, outcome in again.items() if not outcome.reused} == {"dataset"}
    card = (again["dataset"].version.path / "README.md").read_text().replace("\\", "")
    assert "| colours | CC-BY-4.0 | 12 | 4 | 4 |" in card
    assert again["dataset"].version.manifest.details["statistics"]["top_answers"] == {
        "blue": 5, "green": 5, "red": 5, "yellow": 5,
    }  # fmt: skip


def test_a_generated_source_with_broken_rows_becomes_a_dataset(project):
    shapes = {"name": "colours", "format": "shapes", "images": 16, "image_pixels": 32}
    pipeline = make_pipeline(project, sources=[shapes], dataset={"max_reject_fraction": 0.5})
    numbers = Runner(pipeline).run("dataset")["dataset"].version.manifest.numbers
    assert numbers["num_rows"] == 16 * 4 + 27
    assert numbers["num_questions"] == 16 * 4 + 1
    assert numbers["num_rejected"] == 24


def test_a_lost_image_pack_is_told_by_name_and_made_again_with_the_dataset(project):
    runner = Runner(make_pipeline(project))
    dataset = runner.run("dataset")["dataset"].version
    [name] = dataset.manifest.details["image_packs"]
    pack = dataset.path.parents[1] / name
    before = pack.read_bytes()
    pack.unlink()
    with pytest.raises(DamagedVersion, match=f"{pack.name}: is missing"):
        runner.run("checkpoint")
    shutil.rmtree(dataset.path)
    runner.run("checkpoint")
    assert pack.read_bytes() == before


def test_a_test_split_without_answers_is_predicted_and_not_scored(project):
    write_source(project, change={number: {"answer": ""} for number in range(16, 20)})
    [source] = make_pipeline(project).settings.model_dump(mode="json")["sources"]
    table = (project / "raw" / "questions.csv").read_text().splitlines()
    (project / "raw" / "questions.csv").write_text("\n".join(table[:17]) + "\n")
    (project / "raw" / "asked.csv").write_text("\n".join([table[0], *table[17:]]) + "\n")
    asked = {**source, "name": "asked", "files": "raw/asked.csv", "columns": {**source["columns"], "answers": None}}
    pipeline = make_pipeline(project, sources=[source, asked])
    stages.build_records(pipeline, "asked", [].append)
    done = Runner(pipeline).run()
    assert done["predictions"].version.manifest.numbers["num_predictions"] == 4
    assert done["metrics"].version.manifest.numbers == {"num_questions": 4, "num_scored": 0}
    assert "no answers to score against" in done["metrics"].markdown
    [check] = [check for check in done["metrics"].checks if check.name == "looks_at_images"]
    nothing = "nothing was scored: the test split has no answers"
    assert (check.passed, check.message) == (False, f"{nothing}. Bring them, or declare others as test")


def test_only_the_test_split_is_scored(project):
    pipeline = make_pipeline(project, evaluation={"splits": ["val", "test"]})
    done = Runner(pipeline).run()
    assert done["predictions"].version.manifest.numbers["num_predictions"] == 8
    assert done["metrics"].version.manifest.numbers["num_scored"] == 4


def test_official_results_hold_native_ids(project):
    outcome = Runner(make_pipeline(project)).run()["predictions"]
    results = json.loads((outcome.version.path / "official_results" / "test.json").read_text())
    assert [row["question_id"] for row in results] == ["16", "17", "18", "19"]
    assert {row["answer"] for row in results} == {"blue"}


def test_what_the_data_says_of_paraphrases_reaches_the_metrics(tmp_path):
    write_source(tmp_path, change={17: {"image": "16.png", "question": "which colour?", "answer": "red"}})
    source = declare_source()
    source["columns"] |= {"paraphrase_of": "answer"}
    pipeline = make_pipeline(tmp_path, sources=[source])
    done = Runner(pipeline).run()
    told = json.loads((done["metrics"].version.path / "metrics.json").read_text())["consistency"]
    assert (told["num_groups"], told["num_questions"]) == (1, 2)
    assert done["metrics"].version.manifest.numbers["paraphrase_agreement"] == told["agreement"]
    assert "Asked in other words" in (done["metrics"].version.path / "report.html").read_text()

"""Tracing: from an answer back to the line that it came from, and from a line to what it became."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from colours_world import Runner, declare_source, make_pipeline, write_source
from fake_worker import FakeWorker
from PIL import Image

from vqa_pipeline.errors import GateFailed, NotPublished, SettingsError
from vqa_pipeline.lineage.tracing import trace_question
from vqa_pipeline.pipeline import Pipeline

HEADER = "question_id,locator,action,question,image,answers,split,rule,reason,kind,raw\n"
LENIENT = {"dataset": {"max_reject_fraction": 0.9}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_source(tmp_path)
    return tmp_path


def make(project: Path, **settings) -> Pipeline:
    return make_pipeline(project, **LENIENT, **settings)


def test_an_answer_is_traced_to_its_line_and_through_every_version(project):
    pipeline = make(project)
    outcomes = Runner(pipeline, FakeWorker({"colours/17": "green"})).run()
    found = trace_question(pipeline, "colours/17")
    assert found.fate == "accepted"
    predicted, shuffled = found.predictions
    assert (shuffled["variant"], shuffled["answer"]) == ("shuffled_image", "blue")
    checkpoint = outcomes["checkpoint"].version.manifest
    assert (predicted["variant"], predicted["answer"]) == ("model", "green")
    assert predicted["checkpoint"] == checkpoint.data_version
    scored = {row["variant"]: (row["checkpoint"], row["score"]) for row in found.scores}
    assert scored["model"] == (checkpoint.data_version, 1)
    assert scored["majority"] == (None, 0)
    assert (found.example["question"], found.example["split"]) == ("what colour is it?", "test")
    assert found.example["locator"] == "questions.csv:19"
    assert (found.image["width"], found.image["height"], found.image["format"]) == (33, 16, "PNG")
    [record] = found.records
    assert (record.kind, record.locator, record.file_state) == ("question", "questions.csv:19", "unchanged")
    assert '"17.png"' in record.raw
    assert found.rejects == ()
    # four answers, three training questions each: green comes second in the alphabet
    assert found.answer_indexes == {"green": 1, "blue": 0}
    passed = [outcomes[name].version.manifest for name in ("metrics", "predictions", "checkpoint", "vocabulary")]
    passed += [outcomes[name].version.manifest for name in ("dataset", "records", "raw")]
    assert [(one.asset, one.version, one.data_version, one.is_current) for one in found.versions] == [
        (manifest.asset, manifest.version, manifest.data_version, True) for manifest in passed
    ]


def test_a_question_that_was_not_predicted_is_told_from_the_dataset_on(project):
    pipeline = make(project)
    Runner(pipeline).run()
    found = trace_question(pipeline, "colours/0")
    assert (found.predictions, found.scores) == ((), ())
    assert found.example["split"] == "train"
    assert [one.asset for one in found.versions] == ["vocabulary", "dataset", "records/colours", "raw/colours"]


def test_before_anything_is_trained_a_question_has_its_line(project):
    pipeline = make(project)
    Runner(pipeline).run("dataset")
    found = trace_question(pipeline, "colours/3")
    assert [one.asset for one in found.versions] == ["dataset", "records/colours", "raw/colours"]
    assert found.answer_indexes == {}


def test_predictions_lead_to_the_dataset_that_they_answered_though_there_is_a_newer_one(project):
    pipeline = make(project)
    before = Runner(pipeline).run()
    write_source(project, change={16: {"answer": "crimson"}})
    Runner(pipeline).run("dataset")
    found = trace_question(pipeline, "colours/16")
    assert found.example["most_common_answer"] == "red"
    told = {one.asset: (one.version, one.is_current) for one in found.versions}
    assert told["dataset"] == (before["dataset"].version.manifest.version, False)
    assert told["predictions"][1]


def test_a_correction_and_what_was_read_before_it_are_told(project):
    (project / "raw" / "corrections.csv").write_text(f"{HEADER}colours/16,,edit,which colour is it?,,crimson,,,,,\n")
    pipeline = make(project, sources=[declare_source(corrections="raw/corrections.csv")])
    Runner(pipeline).run()
    found = trace_question(pipeline, "colours/16")
    assert [answer["answer"] for answer in found.example["answers"]] == ["crimson"]
    assert [repair["kind"] for repair in found.example["repairs"]] == ["corrected_question", "corrected_answers"]
    assert found.answer_indexes == {"blue": 0, "crimson": None}
    assert '"red"' in found.records[0].raw


def test_a_rejected_row_is_traced_to_its_fate_and_reason(project):
    write_source(project, change={16: {"image": "nowhere.png"}})
    pipeline = make(project)
    Runner(pipeline).run()
    found = trace_question(pipeline, "colours/16")
    assert (found.fate, found.example, found.records, found.predictions) == ("rejected", None, (), ())
    [reject] = found.rejects
    assert (reject["rule"], reject["locator"]) == ("image_missing", "questions.csv:18")
    assert "nowhere.png" in reject["raw"]
    assert [one.asset for one in found.versions] == ["vocabulary", "dataset", "records/colours", "raw/colours"]


def test_a_duplicate_is_told_beside_the_question_that_stands_for_it(project):
    lines = (project / "raw" / "questions.csv").read_text()
    (project / "raw" / "questions.csv").write_text(lines + lines.splitlines()[17] + "\n")  # colours/16 again
    pipeline = make(project)
    Runner(pipeline).run()
    found = trace_question(pipeline, "colours/16")
    assert (found.fate, len(found.records)) == ("accepted", 1)
    assert [(one["fate"], one["rule"]) for one in found.rejects] == [("duplicate", "duplicate_row")]
    assert {found.records[0].locator, found.rejects[0]["locator"]} == {"questions.csv:18", "questions.csv:22"}


def write_vqa_v2(root: Path) -> dict[str, object]:
    """Questions 7 and 8 about one picture; 7 has an annotation, and so has 9, which nobody asked."""
    (root / "raw" / "train2014").mkdir(parents=True)
    Image.new("RGB", (8, 8), "red").save(root / "raw" / "train2014" / "COCO_train2014_000000000001.jpg")
    asked = [{"question_id": number, "image_id": 1, "question": f"What is {number}?"} for number in (7, 8)]
    kinds = {"question_type": "what is", "answer_type": "other", "multiple_choice_answer": "cat"}
    answers = [{"answer": "cat", "answer_id": number, "answer_confidence": "yes"} for number in range(1, 11)]
    told = [{"question_id": number, "image_id": 1, "answers": answers, **kinds} for number in (7, 9)]
    (root / "raw" / "q.json").write_text(json.dumps({"data_subtype": "train2014", "questions": asked}))
    (root / "raw" / "a.json").write_text(json.dumps({"data_subtype": "train2014", "annotations": told}))
    files = {"questions": "raw/q.json", "annotations": "raw/a.json", "image_root": "raw/train2014"}
    return {"name": "colours", "format": "vqa_v2", "splits": "train", **files}


def test_an_annotation_kept_apart_from_its_question_is_told_beside_it(tmp_path):
    pipeline = make(tmp_path, sources=[write_vqa_v2(tmp_path)])
    Runner(pipeline).run("dataset")
    found = trace_question(pipeline, "colours/7")
    assert [(one.kind, one.locator) for one in found.records] == [
        ("question", "q.json[0]"),
        ("annotation", "a.json[0]"),
    ]
    assert '"multiple_choice_answer": "cat"' in found.records[1].raw
    [orphan] = trace_question(pipeline, "colours/9").rejects
    assert (orphan["kind"], orphan["rule"], orphan["locator"]) == ("annotation", "annotation_orphan", "a.json[1]")


def test_a_file_that_changed_or_went_since_it_was_read_is_told_so(project):
    pipeline = make(project)
    Runner(pipeline).run()
    file = project / "raw" / "questions.csv"
    file.write_text(file.read_text() + "\n")
    assert trace_question(pipeline, "colours/16").records[0].file_state == "changed"
    file.unlink()
    assert trace_question(pipeline, "colours/16").records[0].file_state == "missing"
    other = make(project, sources=[declare_source(name="other")])
    assert trace_question(other, "colours/16").records[0].file_state == "unknown"


def test_an_unknown_question_is_told_with_what_an_id_looks_like(project):
    pipeline = make(project)
    with pytest.raises(NotPublished):
        trace_question(pipeline, "colours/16")
    Runner(pipeline).run("dataset")
    with pytest.raises(SettingsError, match=r"no row of the dataset has the id colours/99\. Ids are `<source>/<native"):
        trace_question(pipeline, "colours/99")


def test_a_row_of_a_candidate_that_failed_a_gate_is_not_the_dataset_s_and_it_is_said_where_it_is(project):
    Runner(make_pipeline(project)).run("dataset")
    write_source(project, rows=21, change={20: {"image": "nowhere.png"}})
    with pytest.raises(GateFailed):
        Runner(make_pipeline(project)).run("dataset")
    with pytest.raises(
        SettingsError, match=r"A newer candidate failed a gate: `vqa-pipeline rejects` lists its rows\."
    ):
        trace_question(make_pipeline(project), "colours/20")

"""Corrections: what becomes of the rows that they are about, and of those that fit no row."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from curation_world import encode_lines, make_table_source, write_files

from vqa_pipeline.curation.corrections import COLUMNS
from vqa_pipeline.curation.plan import Known, build_dataset
from vqa_pipeline.curation.records import RecordsSummary, validate_source
from vqa_pipeline.curation.settings import DatasetSettings
from vqa_pipeline.curation.source_records import SourceRecords
from vqa_pipeline.schemas import Locator
from vqa_pipeline.sources.formats.vqa_v2 import VqaV2Source

GOOD = {"id": "7", "image": "1.png", "question": "What is it?", "answers": "red", "split": "train"}


def correct(folder: Path, *rows: dict[str, str]) -> None:
    with (folder / "corrections.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)


class Curated:
    """What became of a source's rows."""

    def __init__(self, folder: Path, source: Any, **settings: Any) -> None:
        records, output = folder / "records", folder / "dataset"
        records.mkdir()
        output.mkdir()
        self.summary: RecordsSummary = validate_source(source, folder, records)
        given = SourceRecords(
            source.name, records, None, self.summary.num_question_records, self.summary.num_annotation_records
        )
        chosen = DatasetSettings(images_required=False, **settings)
        self.dataset = build_dataset([given], chosen, Known(), folder / "scratch", output)
        assert not self.dataset.ledger.find_imbalances()
        self.accepted = read(output / "questions")
        self.rejects = [(row["question_id"], row["fate"], row["rule"]) for row in read(output / "rejects").values()]


def read(folder: Path) -> dict[str, dict]:
    import pyarrow.parquet as pq

    rows = [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return {row["question_id"] or str(Locator(**row["locator"])): row for row in rows}


def curate(folder: Path, *rows: dict[str, Any], **settings: Any) -> Curated:
    write_files(folder, {"clinic.jsonl": encode_lines(rows)})
    source = make_table_source(image_root=None).model_copy(update={"corrections": "corrections.csv"})
    return Curated(folder, source, **settings)


def list_repairs(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(repair["kind"], repair["before"], repair["after"]) for repair in row["repairs"]]


def test_an_edit_changes_what_it_names_and_is_recorded(tmp_path):
    edit = {"question_id": "clinic/7", "action": "edit", "question": "What colour?", "answers": '["blue", "navy"]'}
    correct(tmp_path, {**edit, "image": "2.png", "split": "test"})
    row = curate(tmp_path, GOOD).accepted["clinic/7"]
    assert (row["question"], row["image"], row["split"]) == ("What colour?", "2.png", "test")
    assert [(answer["answer"], answer["answer_id"]) for answer in row["answers"]] == [("blue", 1), ("navy", 2)]
    assert row["most_common_answer"] == "blue"
    assert list_repairs(row) == [
        ("corrected_question", "What is it?", "What colour?"),
        ("corrected_image", "1.png", "2.png"),
        ("corrected_split", "train", "test"),
        ("corrected_answers", "red", '["blue", "navy"]'),
    ]


def test_an_edit_that_says_what_is_there_already_is_no_repair(tmp_path):
    correct(tmp_path, {"question_id": "clinic/7", "action": "edit", "question": "What is it?"})
    curated = curate(tmp_path, GOOD)
    assert curated.accepted["clinic/7"]["repairs"] == []
    assert curated.summary.corrections_by_action == {"edit": 1}


@pytest.mark.parametrize(
    ("broken", "mend"),
    [
        ({"question": " "}, {"question": "What now?"}),
        ({"image": "..\\up.png"}, {"image": "2.png"}),
        ({"split": "holdout"}, {"split": "val"}),
        ({"answers": " "}, {"answers": "green"}),
    ],
)
def test_an_edit_mends_a_row_that_the_row_alone_condemns(tmp_path, broken, mend):
    correct(tmp_path, {"question_id": "clinic/7", "action": "edit", **mend})
    curated = curate(tmp_path, GOOD | broken)
    assert list(curated.accepted) == ["clinic/7"]
    assert curated.rejects == []


def test_an_edit_that_does_not_mend_the_row_is_told(tmp_path):
    correct(tmp_path, {"question_id": "clinic/7", "action": "edit", "answers": "green"})
    curated = curate(tmp_path, GOOD | {"question": " "})
    assert curated.rejects == [("clinic/7", "rejected", "question_empty")]
    [told] = curated.summary.unfit_corrections
    assert told.startswith("clinic/7 (question_empty, the question is empty; that cannot be mended so")


def test_a_dropped_row_is_excluded_by_name(tmp_path):
    correct(tmp_path, {"question_id": "clinic/7", "action": "drop"})
    curated = curate(tmp_path, GOOD, GOOD | {"id": "8", "question": "why?"})
    assert list(curated.accepted) == ["clinic/8"]
    assert curated.rejects == [("clinic/7", "excluded", "corrected_drop")]
    assert curated.dataset.ledger.count_rules("excluded") == {"corrected_drop": 1}


def test_a_record_that_cannot_be_read_is_dropped_by_its_place(tmp_path):
    correct(tmp_path, {"locator": "clinic.jsonl:2", "raw": '{"id": 8, ', "action": "drop"})
    write_files(tmp_path, {"clinic.jsonl": encode_lines([GOOD, b'{"id": 8, ', GOOD | {"id": "9", "question": "why?"}])})
    source = make_table_source(image_root=None).model_copy(update={"corrections": "corrections.csv"})
    curated = Curated(tmp_path, source)
    assert curated.rejects == [(None, "excluded", "corrected_drop")]
    assert curated.summary.unfit_corrections == ()


@pytest.mark.parametrize(
    ("correction", "told"),
    [
        ({"question_id": "clinic/9", "action": "drop"}, "clinic/9 (no row has this key)"),
        (
            {"question_id": "clinic/7", "action": "drop", "kind": "question", "raw": '{"id": "7"}'},
            "clinic/7 (the record has changed since)",
        ),
        (
            {"locator": "clinic.jsonl:1", "action": "drop", "raw": '{"id": "7"}'},
            "clinic.jsonl:1 (the record has changed since)",
        ),
    ],
)
def test_a_correction_that_fits_no_row_changes_nothing_and_is_told(tmp_path, correction, told):
    correct(tmp_path, correction)
    curated = curate(tmp_path, GOOD)
    assert list(curated.accepted) == ["clinic/7"]
    assert curated.summary.unfit_corrections == (told,)
    assert curated.summary.corrections_by_action == {}


def test_of_two_rows_with_one_id_the_one_that_is_named_by_its_record_is_dropped(tmp_path):
    other = GOOD | {"question": "Another?"}
    raw = " ".join(json.dumps(other, ensure_ascii=False).split())
    correct(tmp_path, {"question_id": "clinic/7", "action": "drop", "kind": "question", "raw": raw})
    curated = curate(tmp_path, GOOD, other)
    assert [row["question"] for row in curated.accepted.values()] == ["What is it?"]
    assert curated.rejects == [("clinic/7", "excluded", "corrected_drop")]


def test_a_question_without_an_id_of_its_own_keeps_its_made_id_when_it_is_corrected(tmp_path):
    row = {name: value for name, value in GOOD.items() if name != "id"}
    source = make_table_source(image_root=None)
    source = source.model_copy(update={"columns": source.columns.model_copy(update={"id": None})})
    for name in ("before", "after"):
        write_files(tmp_path / name, {"clinic.jsonl": encode_lines([row])})
    [question_id] = Curated(tmp_path / "before", source).accepted
    correct(tmp_path / "after", {"question_id": question_id, "action": "edit", "question": "Corrected?"})
    corrected = Curated(tmp_path / "after", source.model_copy(update={"corrections": "corrections.csv"}))
    assert [(one, row["question"]) for one, row in corrected.accepted.items()] == [(question_id, "Corrected?")]


# ------------------------------------------------------------------------------------- rules that need more than a row


def test_accepting_takes_a_question_that_is_asked_twice(tmp_path):
    correct(tmp_path, {"question_id": "clinic/8", "action": "accept"})
    curated = curate(tmp_path, GOOD, GOOD | {"id": "8"}, GOOD | {"id": "9"})
    assert list(curated.accepted) == ["clinic/7", "clinic/8"]
    assert list_repairs(curated.accepted["clinic/8"]) == [("accepted_by_correction", "", "")]
    assert curated.rejects == [("clinic/9", "duplicate", "duplicate_question")]


def test_accepting_keeps_a_question_in_training_though_its_image_is_tested(tmp_path):
    correct(tmp_path, {"question_id": "clinic/8", "action": "accept"})
    rows = [GOOD | {"id": str(number), "question": f"{number}?"} for number in (7, 8)]
    rows.append(GOOD | {"id": "9", "split": "test", "question": "9?"})
    curated = curate(tmp_path, *rows, leakage="drop_from_train")
    assert list(curated.accepted) == ["clinic/8", "clinic/9"] or list(curated.accepted) == ["clinic/9", "clinic/8"]
    assert curated.rejects == [("clinic/7", "excluded", "leakage")]


def test_accepting_keeps_a_question_without_answers(tmp_path):
    correct(tmp_path, {"question_id": "clinic/8", "action": "accept"})
    unanswered = GOOD | {"answers": None, "question": "why?"}
    curated = curate(tmp_path, GOOD, unanswered | {"id": "8"}, unanswered | {"id": "9"})
    assert sorted(curated.accepted) == ["clinic/7", "clinic/8"]
    assert curated.rejects == [("clinic/9", "rejected", "annotation_missing")]


def test_what_is_broken_cannot_be_accepted(tmp_path):
    correct(tmp_path, {"question_id": "clinic/7", "action": "accept"})
    curated = curate(tmp_path, GOOD | {"question": " "})
    assert curated.rejects == [("clinic/7", "rejected", "question_empty")]
    assert curated.summary.unfit_corrections == (
        "clinic/7 (question_empty, the question is empty; that cannot be waived)",
    )


def curate_pair(folder: Path, annotations: list[tuple[int, str]]) -> Curated:
    """The official two files; questions 1 and 2, and annotations of one answer."""
    asked = [{"question_id": number, "image_id": number, "question": f"{number}?"} for number in (1, 2)]
    told = [
        {"question_id": number, "answers": [{"answer": answer, "answer_id": 1, "answer_confidence": "yes"}]}
        for number, answer in annotations
    ]
    (folder / "q.json").write_text(json.dumps({"data_subtype": "train2014", "questions": asked}))
    (folder / "a.json").write_text(json.dumps({"annotations": told}))
    source = VqaV2Source(
        name="vqa", format="vqa_v2", questions="q.json", annotations="a.json", corrections="corrections.csv"
    )
    return Curated(folder, source)


def test_corrected_answers_stand_before_those_of_the_annotation(tmp_path):
    correct(tmp_path, {"question_id": "vqa/1", "action": "edit", "answers": "right"})
    accepted = curate_pair(tmp_path, [(1, "wrong"), (2, "fine")]).accepted
    assert {key: row["most_common_answer"] for key, row in accepted.items()} == {"vqa/1": "right", "vqa/2": "fine"}


def test_corrected_answers_settle_annotations_that_contradict_each_other(tmp_path):
    correct(tmp_path, {"question_id": "vqa/1", "action": "edit", "answers": "right"})
    curated = curate_pair(tmp_path, [(1, "left"), (1, "right"), (2, "fine")])
    assert curated.accepted["vqa/1"]["most_common_answer"] == "right"
    assert sorted(curated.dataset.ledger.count_rules("rejected").items()) == [("annotation_conflict", 2)]


def test_a_dropped_question_takes_its_annotation_along(tmp_path):
    correct(tmp_path, {"question_id": "vqa/1", "action": "drop"})
    curated = curate_pair(tmp_path, [(1, "left"), (2, "fine")])
    assert list(curated.accepted) == ["vqa/2"]
    assert curated.dataset.ledger.count_rules("excluded") == {"corrected_drop": 2}
    assert curated.dataset.ledger.count("rejected") == 0

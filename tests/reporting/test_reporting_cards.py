"""Asset pages as markdown, read back as Dagster's UI would show them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from reporting_world import FACTS, HOSTILE, LEAK, METRICS, TRAINING, Page

from vqa_pipeline.reporting.cards import (
    checkpoint_markdown,
    dataset_markdown,
    metrics_markdown,
    predictions_markdown,
    raw_markdown,
    records_markdown,
    vocabulary_markdown,
)
from vqa_pipeline.reporting.escaping import escape_control

PICTURE = "data:image/png;base64,AAAA"

RECORDS = {
    "corrections_by_action": {"drop": 2},
    "unfit_corrections": ["scans/9 (no row has this key)"],
    "source": "shapes",
    "num_question_records": 1200,
    "num_annotation_records": 0,
    "num_questions": 1190,
    "num_annotations": 0,
    "num_rejects": 10,
    "num_embedded_images": 0,
    "num_files": 2,
    "num_junk_files": 0,
    "encodings": {},
    "rejects_by_rule": {"image_missing": 10},
    "repairs_by_kind": {"backslash": 3},
}
WORDS = ("rejects_by_rule", "repairs_by_kind", "corrections_by_action", "unfit_corrections")
"""Facts about records that are there only where there is something to tell."""

VOCABULARY = {
    "num_answers": 3129,
    "num_answers_seen": 22000,
    "coverage_train": 0.934,
    "ceiling_train": 0.92,
    "coverage_val": 0.9,
    "ceiling_val": 0.88,
}


def show(markdown: str) -> Page:
    return Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


def find_pictures(page: Page) -> list[str]:
    return [str(attributes["src"])[:22] for tag, attributes in page.elements if tag == "img"]


def test_a_source_is_told_by_format_files_and_size():
    page = show(raw_markdown({"source": "scans", "format": "table", "num_files": 1506, "num_bytes": 11_407_197}))
    assert page.rows == [["source scans", ""], ["format", "table"], ["files", "1,506"], ["size", "11.4 MB"]]


def test_records_are_told_by_count_rule_and_repair():
    page = show(records_markdown(RECORDS))
    assert ["question records read", "1,200"] in page.rows
    assert ["valid questions", "1,190"] in page.rows
    assert ["image_missing", "10"] in page.rows
    assert ["backslash", "3"] in page.rows
    assert ["drop", "2"] in page.rows
    assert ["scans/9 (no row has this key)"] in page.rows


def test_images_inside_the_files_of_a_source_are_counted():
    assert (
        "The files hold 1,024 distinct images" in show(records_markdown({**RECORDS, "num_embedded_images": 1024})).text
    )
    assert "images, kept in" not in show(records_markdown(RECORDS)).text


def test_files_are_told_by_what_was_passed_by_and_how_they_were_read():
    encodings = {f"train.zip!/{number}.csv": "cp1252" for number in range(23)}
    page = show(records_markdown({**RECORDS, "num_files": 1200, "num_junk_files": 3, "encodings": encodings}))
    assert "Read from 1,200 files. Passed by: 3 files that systems and editors leave behind." in page.text
    assert ["train.zip!/19.csv", "cp1252"] in page.rows
    assert ["train.zip!/20.csv", "cp1252"] not in page.rows
    assert "And 3 more." in page.text


def test_a_source_that_breaks_off_is_told_above_its_rules():
    page = show(records_markdown({**RECORDS, "rejects_by_rule": {"record_truncated": 1}}))
    assert "A file or a row breaks off" in page.text
    assert "breaks off" not in show(records_markdown(RECORDS)).text


def test_a_clean_source_has_one_table():
    page = show(records_markdown({**RECORDS, **dict.fromkeys(WORDS, {}), "unfit_corrections": []}))
    assert [tag for tag, _ in page.elements].count("table") == 1


def test_a_dataset_is_told_by_split_ledger_and_rule():
    page = show(dataset_markdown(FACTS))
    assert page.text.startswith("8 questions on 5 images, from 13 raw rows.")
    assert ["test", "3", "2"] in page.rows
    assert ["source", "rows read", "accepted", "duplicate", "rejected", "excluded"] in page.rows
    assert ["shapes", "13", "8", "1", "3", "1"] in page.rows
    assert ["shapes", "rejected", "image_missing", "2"] in page.rows
    assert find_pictures(page) == []


def test_a_dataset_is_told_by_source_with_its_licence():
    page = show(dataset_markdown({**FACTS, "licenses": {}}))
    assert ["shapes", "not stated", "5", "0", "3"] in page.rows
    assert ["shapes", "CC0-1.0", "5", "0", "3"] in show(dataset_markdown(FACTS)).rows


def test_a_dataset_s_answers_and_questions_are_counted_with_bars():
    rows = show(dataset_markdown(FACTS)).rows
    for expected in (
        ["most common answer (2 distinct)", "questions", ""],
        ["red", "6", "█" * 15 + "░" * 5],
        ["yes", "1", "█" * 2 + "░" * 18],
        ["color", "6", "█" * 15 + "░" * 5],
        ["3", "8", "█" * 20],
    ):
        assert expected in rows
    assert not any(row[0] == "answer type" for row in rows), "no source names any"


def test_a_dataset_counts_what_was_done_to_its_images():
    page = show(dataset_markdown(FACTS))
    assert ["done to show images as RGB", "images"] in page.rows
    assert ["orientation_applied", "2"] in page.rows
    assert "done to show" not in show(dataset_markdown({**FACTS, "alterations_by_kind": {}})).text


def test_a_dataset_tells_what_was_carved_and_what_leaks():
    page = show(dataset_markdown({**FACTS, "carved": ["val"], "leaks": [LEAK] * 12}, PICTURE))
    assert "No question declares val: carved from train, by image." in page.text
    leaks = [row for row in page.rows if row[0] == "ab" * 12]
    assert leaks == [["ab" * 12, "train, test", f"shapes/1, {escape_control(HOSTILE)}"]] * 10
    assert find_pictures(page) == [PICTURE[:22]]


def test_a_dataset_tells_corrections_apart_from_mends_and_what_fits_no_row():
    facts = {
        **FACTS,
        "repairs_by_kind": {"backslash": 4, "corrected_split": 2},
        "unfit_corrections": ["scans/9 (gone)"],
    }
    rows = show(dataset_markdown(facts)).rows
    at = rows.index(["corrected by people", "times"])
    assert rows[at : at + 6] == [
        ["corrected by people", "times"],
        ["corrected_split", "2"],
        ["mended and recorded", "times"],
        ["backslash", "4"],
        ["corrections that were not applied"],
        ["scans/9 (gone)"],
    ]


def test_a_vocabulary_is_told_by_size_coverage_and_answers():
    page = show(vocabulary_markdown(VOCABULARY, ["yes", "no"], [9000, 8000]))
    assert page.text.startswith("3,129 answers of 22,000 seen in training.")
    assert ["train", "0.934", "0.920"] in page.rows
    assert ["val", "0.900", "0.880"] in page.rows
    assert ["yes", "9,000"] in page.rows


def test_a_long_vocabulary_shows_its_first_answers():
    page = show(vocabulary_markdown(VOCABULARY, [f"a{n}" for n in range(90)], list(range(90))))
    assert ["a19", "19"] in page.rows
    assert ["a20", "20"] not in page.rows


def test_a_checkpoint_is_told_with_its_curve():
    page = show(checkpoint_markdown({**TRAINING, "overridden": {"epochs": 3, "backbone": HOSTILE}}))
    assert ["accuracy", "0.800 on 40 validation questions, in epoch 2 of 3"] in page.rows
    assert ["yes/no", "0.900"] in page.rows
    assert ["took", "1 min 01 s: 1,260 steps on 5,000 questions, 244 questions/s"] in page.rows
    assert ["in this run: epochs", "3"] in page.rows
    assert ["vilt.encoder.layer.0-1", "32", "341,867", "0.0002"] in page.rows
    assert find_pictures(page) == ["data:image/png;base64,"]


def test_a_checkpoint_without_curve_has_no_picture():
    page = show(checkpoint_markdown({**TRAINING, "curve": []}))
    assert find_pictures(page) == []


def test_predictions_are_told_by_the_first_few():
    sample = [{"question_id": "shapes/1", "answer": HOSTILE, "score": 0.98765}]
    page = show(predictions_markdown({"num_predictions": 1188, "splits": ["test"]}, sample))
    assert page.text.startswith("1,188 predictions for test.")
    assert ["shapes/1", escape_control(HOSTILE), "0.988"] in page.rows


def test_metrics_are_told_beside_the_baselines_as_bars():
    page = show(metrics_markdown(METRICS, TRAINING["curve"], PICTURE))
    assert page.text.startswith(
        "VQA accuracy 0.750 (normalized), with 95 % confidence between 0.210 and 0.930, on 4 questions about 3 images."
    )
    reliance = "accuracy above the best without the image, with 95 % confidence between +0.100 and +0.600"
    assert page.rows[1] == ["Image reliance", "+0.350", reliance]
    assert page.rows[3:] == [
        ["Model", "█" * 15 + "░" * 5, "0.750", "0.210 to 0.930"],
        ["Question only", "█" * 8 + "░" * 12, "0.400", "0.100 to 0.800"],
        ["Most common answer per question type", "█" * 8 + "░" * 12, "0.375", "0.100 to 0.700"],
        ["Most common answer", "█" * 5 + "░" * 15, "0.250", "0.050 to 0.600"],
        ["Ceiling", "█" * 19 + "░", "0.950", ""],
    ]
    assert len(find_pictures(page)) == 2


def test_the_verdict_is_told_beside_image_reliance_and_acts_on_nothing():
    verdict = {"outcome": "held", "reasons": [HOSTILE]}
    page = show(metrics_markdown({**METRICS, "verdict": verdict}, []))
    assert page.rows[2][:2] == ["Verdict", "Held"]
    assert "<script>alert(1)</script>" in page.rows[2][2]
    assert "script" not in page.tags


def test_whole_numbers_stand_for_shares_too():
    page = show(metrics_markdown({**METRICS, "vqa_accuracy": 1, "baseline_majority": 0}, []))
    assert ["Model", "█" * 20, "1.000", "0.210 to 0.930"] in page.rows
    assert ["Most common answer", "░" * 20, "0.000", "0.050 to 0.600"] in page.rows
    assert find_pictures(page) == []


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_text_changes_the_shape_of_a_page(text):
    def write(word: str) -> list[Page]:
        leak = {"image": word, "near": word, "distance": 1, "splits": ["train"], "question_ids": [word]}
        return [
            show(records_markdown({**RECORDS, "rejects_by_rule": {word: 1}, "repairs_by_kind": {word: 2}})),
            show(records_markdown({**RECORDS, "encodings": {word: "cp1252"}})),
            show(records_markdown({**RECORDS, "unfit_corrections": [word]})),
            show(dataset_markdown({**FACTS, "leaks": [leak], "unfit_corrections": [word]})),
            show(vocabulary_markdown(VOCABULARY, [word], [7])),
        ]

    for plain, page in zip(write("plain"), write(text), strict=True):
        assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
        assert [len(row) for row in page.rows] == [len(row) for row in plain.rows]
    shown = " ".join(escape_control(" ".join(text.split())).split())
    assert page.rows[-1] == [shown, "7"]

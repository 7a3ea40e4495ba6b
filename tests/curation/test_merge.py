"""A bucket of question ids: duplicates, the join with annotations and images, each by a bucket written by hand."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from curation_world import (
    Row,
    make_annotation,
    make_answers,
    make_question,
    tabulate_annotations,
    tabulate_questions,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_pipeline.curation.image_checks import VERDICTS
from vqa_pipeline.curation.merge import MERGED, Merged, merge_bucket
from vqa_pipeline.curation.resolution import MENDS
from vqa_pipeline.schemas import REJECTS

SHA = {"1.png": "a" * 64, "2.png": "b" * 64}
LOST = {"image_rule": "image_missing", "image_reason": "there is no lost.png", "image_fix": "Bring the file."}
FAR = {"image_rule": "image_path_absolute", "image_reason": "/x/9.png is absolute", "image_fix": "Bring the file."}
UNSURE = {"image_rule": "image_ambiguous", "image_reason": "it may mean 1.png, 2.png", "image_fix": "Write the name."}
BACKSLASH = {"kind": "backslash", "before": "A\\1.PNG", "after": "A/1.PNG"}
END = {"kind": "absolute_path", "before": "/x/1.png", "after": "1.png"}
CASE = {"kind": "letter_case", "before": "A/1.PNG", "after": "1.png"}
CUT = {"image_rule": "image_truncated", "image_reason": "the PNG breaks off", "image_fix": "Download it again."}


def tabulate_verdicts(source: str = "clinic", **more: Row) -> pa.Table:
    """1.png and 2.png are good; `lost` is missing, `cut` is truncated, `/x/9.png` is nowhere, `unsure` is anything."""
    rows: list[Row] = [{"image": name, "image_sha256": sha, "identity": sha, "dhash": 5} for name, sha in SHA.items()]
    rows += [{"image": "lost.png", "identity": "images/lost.png", **LOST}]
    rows += [{"image": "cut.png", "identity": "images/cut.png", **CUT}]
    rows += [{"image": "/x/9.png", "identity": "images//x/9.png", **FAR}]
    rows += [{"image": "unsure", "identity": "images/unsure", **UNSURE}]
    schema = VERDICTS.append(pa.field("identity", pa.string())).append(pa.field("group", pa.string()))
    return pa.Table.from_pylist([{"source": source, "group": row["identity"], **row} for row in rows], schema)


def tabulate_mends() -> pa.Table:
    """Two other spellings of 1.png."""
    rows = [{"image": "/x/1.png", "file_repairs": [END]}, {"image": "A/1.PNG", "file_repairs": [CASE]}]
    return pa.Table.from_pylist([{"source": "clinic", "file": "1.png", **row} for row in rows], MENDS)


def merge(questions: list[Row], annotations: list[Row] = (), *, images_required: bool = True) -> Merged:
    merged = merge_bucket(
        tabulate_questions(questions),
        tabulate_annotations(annotations),
        tabulate_verdicts(),
        tabulate_mends(),
        images_required=images_required,
    )
    assert merged.questions.schema.equals(MERGED)
    assert merged.rejects.schema.equals(REJECTS)
    return merged


def list_kept(merged: Merged) -> list[tuple[str, int]]:
    return [(row["question_id"], row["locator"]["record"]) for row in merged.questions.to_pylist()]


def list_rejects(merged: Merged) -> list[tuple[str, str, int, str, str]]:
    return [
        (row["kind"], row["question_id"], row["locator"]["record"], row["fate"], row["rule"])
        for row in merged.rejects.to_pylist()
    ]


def test_a_question_alone_goes_on_with_its_image():
    merged = merge([make_question("clinic/1", answers=make_answers("red"), repairs=[])])
    (row,) = merged.questions.to_pylist()
    assert row == {
        **make_question("clinic/1", answers=make_answers("red")),
        "image_sha256": SHA["1.png"],
        "identity": SHA["1.png"],
        "group": SHA["1.png"],
        "dhash": 5,
        "annotated": True,
    }
    assert (merged.rejects.num_rows, merged.joined) == (0, {})


def test_an_empty_bucket_gives_empty_tables():
    merged = merge([])
    assert (merged.questions.num_rows, merged.rejects.num_rows, merged.joined) == (0, 0, {})


# --------------------------------------------------------------------------------------------------------- duplicates


def test_rows_that_say_the_same_are_kept_once_the_first_in_place():
    rows = [make_question("clinic/1", record) for record in (7, 2, 5)]
    merged = merge(rows)
    assert list_kept(merged) == [("clinic/1", 2)]
    assert list_rejects(merged) == [
        ("question", "clinic/1", 5, "duplicate", "duplicate_row"),
        ("question", "clinic/1", 7, "duplicate", "duplicate_row"),
    ]


def test_the_first_place_is_by_file_record_and_item():
    places = [("b.jsonl", 0, None), ("a.jsonl", 10, None), ("a.jsonl", 9, 11), ("a.jsonl", 9, 2), ("a.jsonl", 9, 10)]
    rows = [make_question("clinic/1") for _ in places]
    for row, (file, record, item) in zip(rows, places, strict=True):
        row["locator"] = {**row["locator"], "file": file, "record": record, "item": item}
    (kept,) = merge(rows).questions["locator"].to_pylist()
    assert (kept["file"], kept["record"], kept["item"]) == ("a.jsonl", 9, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"question": "what is that?"},
        {"image": "2.png"},
        {"split": "val"},
        {"answers": make_answers("red")},
        {"question_type": "what"},
        {"answer_type": "other"},
        {"paraphrase_of": "7"},
    ],
)
def test_rows_that_claim_one_id_and_differ_are_all_rejected(change):
    told = [{}, {}, change]
    rows = [make_question("clinic/1", record, native_id="1", **fields) for record, fields in enumerate(told)]
    merged = merge([*rows, make_question("clinic/2", 3)])
    assert list_kept(merged) == [("clinic/2", 3)]
    assert list_rejects(merged) == [("question", "clinic/1", record, "rejected", "duplicate_id") for record in range(3)]


def test_annotators_in_rows_of_their_own_are_told_to_share_a_row_or_to_have_ids():
    answers = ["red", "red", "crimson"]
    rows = [make_question("clinic/1", number, answers=make_answers(answer)) for number, answer in enumerate(answers)]
    merged = merge([*rows, make_question("clinic/2", 3)])
    assert list_kept(merged) == [("clinic/2", 3)]
    rejects = merged.rejects.to_pylist()
    assert [(row["locator"]["record"], row["fate"], row["rule"]) for row in rejects] == [
        (0, "rejected", "answers_in_rows"),
        (1, "rejected", "answers_in_rows"),
        (2, "rejected", "answers_in_rows"),
    ]
    assert {row["fix"] for row in rejects} == {
        "Put all answers of a question into one row, as a list or with `answer_separator`, or map an id in `columns`."
    }


def test_rows_without_an_id_that_say_the_same_are_duplicates():
    merged = merge([make_question("clinic/1", 0), make_question("clinic/1", 1)])
    assert list_kept(merged) == [("clinic/1", 0)]
    assert list_rejects(merged) == [("question", "clinic/1", 1, "duplicate", "duplicate_row")]


@pytest.mark.parametrize(
    "change", [{"native_id": '"1"'}, {"repairs": [{"kind": "backslash", "before": "\\", "after": "/"}]}, {"raw": b"[]"}]
)
def test_rows_that_are_only_written_differently_say_the_same(change):
    merged = merge(
        [make_question("clinic/1", 0, native_id="1"), make_question("clinic/1", 1, **{"native_id": "1", **change})]
    )
    assert list_kept(merged) == [("clinic/1", 0)]
    assert list_rejects(merged) == [("question", "clinic/1", 1, "duplicate", "duplicate_row")]


# -------------------------------------------------------------------------------------------------------- annotations


def test_an_annotation_becomes_part_of_its_question():
    annotation = make_annotation("clinic/1", "red", "blue", question_type="what", answer_type="other")
    merged = merge([make_question("clinic/1")], [annotation])
    (row,) = merged.questions.to_pylist()
    assert row["answers"] == make_answers("red", "blue")
    assert (row["question_type"], row["answer_type"], row["annotated"]) == ("what", "other", True)
    assert row["locator"]["file"] == "rows.jsonl"
    assert (merged.rejects.num_rows, merged.joined) == (0, {"clinic": 1})


def test_a_question_without_annotation_goes_on_unanswered():
    merged = merge([make_question("clinic/1"), make_question("clinic/2")], [make_annotation("clinic/2", "red")])
    assert [(row["annotated"], row["answers"]) for row in merged.questions.to_pylist()] == [
        (False, None),
        (True, make_answers("red")),
    ]


def test_what_an_annotation_does_not_say_stays_as_the_question_says():
    question = make_question("clinic/1", question_type="how", answer_type="number", answers=make_answers("2"))
    (row,) = merge([question], [make_annotation("clinic/1", "3", answer_type="other")]).questions.to_pylist()
    assert (row["question_type"], row["answer_type"], row["answers"]) == ("how", "other", make_answers("3"))


def test_an_annotation_that_no_question_asks_for_is_a_row_of_its_own():
    merged = merge([make_question("clinic/1")], [make_annotation("clinic/9", "red", record=4)])
    assert list_rejects(merged) == [("annotation", "clinic/9", 4, "rejected", "annotation_orphan")]
    assert merged.joined == {}
    assert merged.questions["annotated"].to_pylist() == [False]


def test_annotations_that_say_the_same_are_used_once():
    told = [make_annotation("clinic/1", "red", record=record) for record in (3, 1, 2)]
    merged = merge([make_question("clinic/1")], told)
    assert list_rejects(merged) == [
        ("annotation", "clinic/1", 2, "duplicate", "duplicate_annotation"),
        ("annotation", "clinic/1", 3, "duplicate", "duplicate_annotation"),
    ]
    assert merged.joined == {"clinic": 1}
    assert merged.questions["answers"].to_pylist() == [make_answers("red")]


def test_when_annotations_differ_they_and_their_question_are_rejected():
    told = [make_annotation("clinic/1", answer, record=record) for record, answer in enumerate(("red", "blue", "red"))]
    merged = merge(
        [make_question("clinic/1"), make_question("clinic/2", 1)], [*told, make_annotation("clinic/2", "no")]
    )
    assert list_kept(merged) == [("clinic/2", 1)]
    assert list_rejects(merged) == [
        ("question", "clinic/1", 0, "rejected", "annotation_conflict"),
        *[("annotation", "clinic/1", record, "rejected", "annotation_conflict") for record in range(3)],
    ]
    assert merged.joined == {"clinic": 1}


def test_the_order_of_answers_is_part_of_what_an_annotation_says():
    told = [make_annotation("clinic/1", "red", "blue"), make_annotation("clinic/1", "blue", "red", record=1)]
    assert {rule for *_, rule in list_rejects(merge([make_question("clinic/1")], told))} == {"annotation_conflict"}


def test_conflicting_and_duplicate_orphans_have_one_fate_each():
    told = [make_annotation("clinic/8", answer, record=record) for record, answer in enumerate(("red", "blue"))]
    told += [make_annotation("clinic/9", "red", record=record) for record in (2, 3)]
    assert [row[2:] for row in list_rejects(merge([], told))] == [
        (0, "rejected", "annotation_conflict"),
        (1, "rejected", "annotation_conflict"),
        (2, "rejected", "annotation_orphan"),
        (3, "duplicate", "duplicate_annotation"),
    ]


def test_the_annotation_of_questions_that_share_an_id_is_no_row_of_its_own():
    asked = [make_question("clinic/1", record, native_id="1", question=f"{record}?") for record in (0, 1)]
    merged = merge(asked, [make_annotation("clinic/1", "red")])
    assert [rule for *_, rule in list_rejects(merged)] == ["duplicate_id", "duplicate_id"]
    assert merged.joined == {"clinic": 1}


def test_annotations_are_counted_by_their_source():
    asked = [make_question("clinic/1"), make_question("lab/1", source="lab"), make_question("lab/2", source="lab")]
    told = [make_annotation("clinic/1", "a"), *(make_annotation(f"lab/{n}", "a", source="lab") for n in (1, 2, 3))]
    assert merge(asked, told).joined == {"clinic": 1, "lab": 2}


# ------------------------------------------------------------------------------------------------------------- images


def test_a_question_whose_image_cannot_be_used_is_rejected_by_the_images_rule():
    merged = merge([make_question("clinic/1", image="cut.png"), make_question("clinic/2", image="lost.png")])
    assert list_kept(merged) == []
    assert [(row["rule"], row["reason"], row["fix"]) for row in merged.rejects.to_pylist()] == [
        ("image_truncated", "the PNG breaks off", "Download it again."),
        ("image_missing", "there is no lost.png", "Bring the file."),
    ]


def test_without_required_images_only_a_missing_one_is_let_through():
    images = ("cut.png", "lost.png", "/x/9.png", "unsure")
    asked = [make_question(f"clinic/{number}", image=image) for number, image in enumerate(images)]
    merged = merge(asked, images_required=False)
    assert [(row["question_id"], row["image_sha256"], row["identity"]) for row in merged.questions.to_pylist()] == [
        ("clinic/1", None, "images/lost.png"),
        ("clinic/2", None, "images//x/9.png"),
    ]
    assert [rule for *_, rule in list_rejects(merged)] == ["image_truncated", "image_ambiguous"]


def test_a_mended_reference_becomes_the_file_and_its_repairs_follow_those_of_the_text():
    asked = [make_question("clinic/1", image="A/1.PNG", repairs=[BACKSLASH]), make_question("clinic/2")]
    asked += [make_question("clinic/3", image="/x/1.png")]
    merged = merge(asked)
    assert [(row["image"], row["repairs"], row["image_sha256"]) for row in merged.questions.to_pylist()] == [
        ("1.png", [BACKSLASH, CASE], SHA["1.png"]),
        ("1.png", [], SHA["1.png"]),
        ("1.png", [END], SHA["1.png"]),
    ]


def test_a_mend_is_of_its_own_source_only():
    merged = merge([make_question("lab/1", image="/x/1.png", source="lab")], images_required=False)
    assert [(row["image"], row["repairs"]) for row in merged.questions.to_pylist()] == [("/x/1.png", [])]


def test_rows_that_spell_one_file_differently_say_the_same():
    spellings = ("A/1.PNG", "1.png", "/x/1.png")
    merged = merge([make_question("clinic/1", n, image=image, native_id="1") for n, image in enumerate(spellings)])
    assert list_kept(merged) == [("clinic/1", 0)]
    assert [rule for *_, rule in list_rejects(merged)] == ["duplicate_row", "duplicate_row"]


def test_a_duplicate_is_told_before_its_image():
    asked = [make_question("clinic/1", record, image="cut.png") for record in (0, 1)]
    assert [row[2:] for row in list_rejects(merge(asked))] == [
        (0, "rejected", "image_truncated"),
        (1, "duplicate", "duplicate_row"),
    ]


# ------------------------------------------------------------------------------------------------------------- always

ASKED = st.builds(
    make_question,
    st.sampled_from(["clinic/1", "clinic/2", "clinic/3"]),
    question=st.sampled_from(["a?", "b?"]),
    image=st.sampled_from(["1.png", "A/1.PNG", "lost.png", "cut.png"]),
)
TOLD = st.builds(make_annotation, st.sampled_from(["clinic/1", "clinic/2", "clinic/4"]), st.sampled_from(["x", "y"]))


@settings(max_examples=40, deadline=None)
@given(st.lists(ASKED, max_size=6), st.lists(TOLD, max_size=6), st.booleans(), st.randoms())
def test_every_row_has_one_fate_whatever_the_order_of_rows(asked, told, required, random):
    def place(rows: list[Row], file: str) -> list[Row]:
        return [{**row, "locator": {**row["locator"], "file": file, "record": n}} for n, row in enumerate(rows)]

    def list_places(merged: Merged) -> list[tuple[Any, ...]]:
        rows = [*merged.questions.to_pylist(), *merged.rejects.to_pylist()]
        return [(row["locator"]["file"], row["locator"]["record"]) for row in rows]

    asked, told = place(asked, "q"), place(told, "a")
    merged = merge(asked, told, images_required=required)
    places = list_places(merged)
    assert len(places) == len(set(places))
    assert len(places) + sum(merged.joined.values()) == len(asked) + len(told)
    assert {("q", number) for number in range(len(asked))} <= set(places)
    kept = merged.questions["question_id"].to_pylist()
    assert kept == sorted(set(kept))
    random.shuffle(asked)
    random.shuffle(told)
    assert merge(asked, told, images_required=required) == merged

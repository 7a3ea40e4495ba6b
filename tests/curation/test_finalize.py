"""A bucket of images: splits, leakage, missing answers, duplicate questions, each by a bucket written by hand."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from curation_world import Row, make_answers, make_question
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_pipeline.curation.finalize import Census, Finalized, Leak, finalize_bucket, take_census
from vqa_pipeline.curation.merge import MERGED
from vqa_pipeline.curation.settings import DatasetSettings
from vqa_pipeline.curation.splits import assign_split, carve_split
from vqa_pipeline.schemas import QUESTIONS, REJECTS, SPLITS

A, B = "a" * 64, "b" * 64
ANYWHERE = frozenset()


def make_merged(
    question_id: str,
    split: str | None = "train",
    identity: str = A,
    answer: str | None = "red",
    group: str | None = None,
    dhash: int = 0,
    **fields: Any,
) -> Row:
    """A question as `merge` gives it; its id is its text too, so that none is a duplicate by chance."""
    told = {"question": f"is it {question_id}?", "answers": None if answer is None else make_answers(answer), **fields}
    row = make_question(f"clinic/{question_id}", split=split, **told)
    identities = {"image_sha256": identity, "identity": identity, "group": group or identity, "dhash": dhash}
    return {**row, **identities, "annotated": row["answers"] is not None}


def tabulate(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, MERGED)


def finalize(rows: list[Row], *, missing=ANYWHERE, annotated=ANYWHERE, **told: Any) -> Finalized:
    census = Census(missing=frozenset(missing), annotated=frozenset(annotated))
    final = finalize_bucket(tabulate(rows), DatasetSettings.model_validate(told), census)
    assert final.questions.schema.equals(QUESTIONS)
    assert final.rejects.schema.equals(REJECTS)
    return final


def list_splits(final: Finalized) -> dict[str, str]:
    return {row["question_id"].removeprefix("clinic/"): row["split"] for row in final.questions.to_pylist()}


def list_rejects(final: Finalized) -> list[tuple[str, str, str]]:
    return [(row["question_id"].removeprefix("clinic/"), row["fate"], row["rule"]) for row in final.rejects.to_pylist()]


def test_an_accepted_question_carries_its_split_and_most_common_answer():
    answers = make_answers("Red.", "blue", "red")
    final = finalize([make_merged("1", "val", answers=answers, native_id="1", question_type="what", paraphrase_of="0")])
    assert final.questions.to_pylist() == [
        {
            "question_id": "clinic/1",
            "native_id": "1",
            "source": "clinic",
            "split": "val",
            "image": "1.png",
            "image_sha256": A,
            "question": "is it 1?",
            "question_type": "what",
            "answer_type": None,
            "paraphrase_of": "0",
            "answers": answers,
            "most_common_answer": "red",
            "repairs": [],
            "locator": make_question("")["locator"],
        }
    ]
    assert (final.rejects.num_rows, final.leaks) == (0, [])


def test_questions_are_in_the_order_of_their_ids():
    final = finalize([make_merged(name) for name in ("b", "10", "a", "9")])
    assert list(list_splits(final)) == ["10", "9", "a", "b"]


def test_an_empty_bucket_gives_empty_tables():
    final = finalize([])
    assert (final.questions.num_rows, final.rejects.num_rows, final.leaks) == (0, 0, [])


# ------------------------------------------------------------------------------------------------------------- splits


def test_a_declared_split_is_kept_and_an_undeclared_one_is_the_images():
    images = [f"{number:064x}" for number in range(40)]
    rows = [make_merged(f"{number:02}", None, image) for number, image in enumerate(images)]
    rows += [make_merged("declared", "test", "c" * 64)]
    final = finalize(rows)
    shares = DatasetSettings().split_fractions
    expected = {f"{number:02}": assign_split(image, shares) for number, image in enumerate(images)}
    assert list_splits(final) == {**expected, "declared": "test"}
    assert set(expected.values()) == set(SPLITS)


def test_questions_of_an_image_share_its_split():
    final = finalize([make_merged(str(number), None, A) for number in range(5)])
    assert len(set(list_splits(final).values())) == 1
    assert final.leaks == []


def test_a_missing_split_is_carved_from_train_by_image_and_from_nothing_else():
    images = [f"{number:064x}" for number in range(60)]
    rows = [make_merged(f"{number:02}", "train", image) for number, image in enumerate(images)]
    rows += [make_merged(f"v{number:02}", "val", f"{number:063x}c") for number in range(60)]
    splits = list_splits(finalize(rows, missing={"test"}))
    shares = DatasetSettings().split_fractions
    for number, image in enumerate(images):
        assert splits[f"{number:02}"] == carve_split(image, shares, frozenset({"test"}))
    assert {splits[f"{number:02}"] for number in range(60)} == {"train", "test"}
    assert {splits[f"v{number:02}"] for number in range(60)} == {"val"}


# ------------------------------------------------------------------------------------------------------------ leakage

LEAKING = [
    make_merged("1", "train", A),
    make_merged("2", "test", A),
    make_merged("3", "train", B),
    make_merged("4", "val", A),
    make_merged("5", "train", A),
]


@pytest.mark.parametrize("policy", ["fail", "report"])
def test_a_leaking_image_is_listed_and_its_rows_stay_under_fail_and_report(policy):
    final = finalize(LEAKING, leakage=policy)
    assert list_splits(final) == {"1": "train", "2": "test", "3": "train", "4": "val", "5": "train"}
    ids = ("clinic/1", "clinic/2", "clinic/4", "clinic/5")
    assert final.leaks == [Leak(image=A, splits=("train", "val", "test"), question_ids=ids)]


def test_a_leak_is_told_in_one_clause():
    (leak,) = finalize(LEAKING).leaks
    assert leak.describe() == "image aaaaaaaaaaaa… in train and val and test: clinic/1, clinic/2, clinic/4, clinic/5"


def test_a_leaking_image_that_is_not_there_is_told_by_its_reference():
    leak = Leak(image="scans/COCO_train2014_000000471001.jpg", splits=("train", "val"), question_ids=("vqa/1", "vqa/2"))
    assert leak.describe() == "scans/COCO_train2014_000000471001.jpg in train and val: vqa/1, vqa/2"


def test_under_drop_from_train_an_image_stays_in_the_split_nearest_to_the_test():
    final = finalize(LEAKING, leakage="drop_from_train")
    assert list_splits(final) == {"2": "test", "3": "train"}
    assert list_rejects(final) == [
        ("1", "excluded", "leakage"),
        ("4", "excluded", "leakage"),
        ("5", "excluded", "leakage"),
    ]
    assert [leak.image for leak in final.leaks] == [A], "it is told all the same"


def test_between_train_and_val_the_validation_question_stays():
    rows = [make_merged("1", "train"), make_merged("2", "val")]
    assert list_splits(finalize(rows, leakage="drop_from_train")) == {"2": "val"}


def test_leaks_are_listed_by_image_with_a_question_of_each_split_among_the_first_four():
    rows = [make_merged(f"{number:02}", "train", B) for number in range(9)]
    rows += [make_merged("90", "test", B), make_merged("91", "val", B)]
    rows += [make_merged("92", "train", A), make_merged("93", "test", A)]
    assert finalize(rows).leaks == [
        Leak(image=A, splits=("train", "test"), question_ids=("clinic/92", "clinic/93")),
        Leak(
            image=B,
            splits=("train", "val", "test"),
            question_ids=("clinic/00", "clinic/01", "clinic/90", "clinic/91"),
        ),
    ]


def test_a_row_that_is_rejected_leaks_nothing():
    rows = [make_merged("1", "train"), make_merged("2", "test", answer=None)]
    final = finalize(rows, annotated={("clinic", "test")}, leakage="drop_from_train")
    assert list_splits(final) == {"1": "train"}
    assert list_rejects(final) == [("2", "rejected", "annotation_missing")]
    assert final.leaks == []


def test_an_undeclared_question_leaks_when_its_image_is_declared_elsewhere():
    image = next(
        f"{n:064x}" for n in range(99) if assign_split(f"{n:064x}", DatasetSettings().split_fractions) == "val"
    )
    final = finalize([make_merged("1", None, image), make_merged("2", "train", image)])
    assert final.leaks == [Leak(image=image, splits=("train", "val"), question_ids=("clinic/1", "clinic/2"))]


C, D = "c" * 64, "d" * 64

NEAR = [
    make_merged("1", "train", A, group=A, dhash=0b1111),
    make_merged("2", "train", A, group=A, dhash=0b1111),
    make_merged("3", "test", B, group=A, dhash=0b0111),
    make_merged("4", "val", C, group=A, dhash=0b0001),
    make_merged("5", "train", D, group=D, dhash=0b1111),
]
"""A, B and C are a group of near-duplicates, as `near_duplicates` found out: D is none, whatever its hash."""


@pytest.mark.parametrize("policy", ["fail", "report"])
def test_near_duplicates_in_several_splits_leak_and_the_nearest_two_tell_it(policy):
    final = finalize(NEAR, leakage=policy)
    assert len(list_splits(final)) == 5
    ids = ("clinic/1", "clinic/2", "clinic/3", "clinic/4")
    (leak,) = final.leaks
    assert leak == Leak(image=A, near=B, distance=1, splits=("train", "val", "test"), question_ids=ids)
    assert leak.describe().startswith(
        "image aaaaaaaaaaaa… and its near-duplicate bbbbbbbbbbbb… (distance 1) in train and"
    )


def test_under_drop_from_train_a_group_of_near_duplicates_stays_in_the_split_nearest_to_the_test():
    final = finalize(NEAR, leakage="drop_from_train")
    assert list_splits(final) == {"3": "test", "5": "train"}
    assert list_rejects(final) == [(name, "excluded", "leakage") for name in ("1", "2", "4")]


def test_near_duplicates_in_one_split_are_no_leak():
    rows = [make_merged(str(number), "train", image, group=A) for number, image in enumerate((A, B, C))]
    assert finalize(rows, leakage="drop_from_train").leaks == []
    assert finalize(rows).questions.num_rows == 3


def test_an_image_that_leaks_itself_is_told_beside_its_near_duplicates():
    rows = [make_merged("1", "train", A, group=A), make_merged("2", "test", A, group=A)]
    rows += [make_merged("3", "train", B, group=A, dhash=-1)]
    assert [(leak.image, leak.near, leak.distance, leak.splits) for leak in finalize(rows).leaks] == [
        (A, None, None, ("train", "test")),
        (A, B, 64, ("train", "test")),
    ]


def test_a_rejected_near_duplicate_leaks_nothing():
    rows = [make_merged("1", "train", A, group=A), make_merged("2", "test", B, group=A, answer=None)]
    final = finalize(rows, annotated={("clinic", "test")}, leakage="drop_from_train")
    assert (list_splits(final), final.leaks) == ({"1": "train"}, [])


def test_of_a_large_group_two_images_of_different_splits_are_told():
    rows = [make_merged(f"{n:03}", "train", f"{n:064x}", group="0" * 64, dhash=n) for n in range(150)]
    rows += [make_merged("150", "test", f"{150:064x}", group="0" * 64, dhash=2**62)]
    (leak,) = finalize(rows).leaks
    assert (leak.near, leak.distance) == (f"{150:064x}", 1)


# ---------------------------------------------------------------------------------------------------- missing answers


def test_a_question_without_answer_is_rejected_only_where_others_of_its_source_and_split_have_one():
    rows = [
        make_merged("1", "train", answer=None),
        make_merged("2", "test", "2" * 64, answer=None),
        make_merged("3", None, "3" * 64, answer=None),
        make_merged("4", "train", "4" * 64, answer=None, source="lab"),
        make_merged("5", None, "5" * 64, answer=None, source="lab"),
        make_merged("6", "train", "6" * 64),
    ]
    final = finalize(rows, annotated={("clinic", "train"), ("lab", None)})
    assert list_rejects(final) == [("1", "rejected", "annotation_missing"), ("5", "rejected", "annotation_missing")]
    assert sorted(list_splits(final)) == ["2", "3", "4", "6"]
    assert final.questions["most_common_answer"].to_pylist() == [None, None, None, "red"]


# ------------------------------------------------------------------------------------------------ duplicate questions


def test_the_same_question_with_the_same_answers_is_kept_once_under_its_smallest_id():
    spellings = ["What is it?", "what is it", "  WHAT   is\tit ?! ", "what is it."]
    rows = [make_merged(name, question=text) for name, text in zip("dcab", spellings, strict=True)]
    final = finalize(rows)
    assert list(list_splits(final)) == ["a"]
    assert final.questions["question"].to_pylist() == ["  WHAT   is\tit ?! "], "words are kept as they were written"
    assert list_rejects(final) == [(name, "duplicate", "duplicate_question") for name in "bcd"]
    reason = "the same question with the same answers is asked about this image: clinic/a"
    assert final.rejects["reason"].to_pylist() == [reason] * 3, "it names the one that is kept"


@pytest.mark.parametrize(
    "change",
    [
        {"question": "what was it?"},
        {"question": "what is-it?"},
        {"answer": "blue"},
        {"answer": "Red"},
        {"answer": None},
        {"answers": make_answers("red", "red")},
        {"identity": B},
        {"split": "test"},
    ],
)
def test_a_question_that_differs_in_anything_else_is_another(change):
    one = make_merged("1", question="what is it?")
    other = make_merged("2", **{"question": "what is it?", **change})
    assert sorted(list_splits(finalize([one, other], leakage="report"))) == ["1", "2"]


def test_unanswered_questions_all_stay_as_an_evaluation_server_asks_for_each():
    rows = [make_merged(name, "test", question="what is it?", answer=None) for name in "ba"]
    final = finalize(rows)
    assert list(list_splits(final)) == ["a", "b"]
    assert list_rejects(final) == []


def test_a_question_of_another_source_about_the_same_image_is_a_duplicate():
    rows = [make_merged("2", question="what?"), {**make_merged("1", question="what?"), "source": "lab"}]
    assert [(row["question_id"], row["source"]) for row in finalize(rows).questions.to_pylist()] == [
        ("clinic/1", "lab")
    ]


def test_an_excluded_row_does_not_make_another_a_duplicate():
    asked = {"question": "what?", "answer": "red"}
    rows = [make_merged("1", "train", **asked), make_merged("2", "test", **asked), make_merged("3", "test", **asked)]
    final = finalize(rows, leakage="drop_from_train")
    assert list_splits(final) == {"2": "test"}
    assert list_rejects(final) == [("1", "excluded", "leakage"), ("3", "duplicate", "duplicate_question")]


def test_a_rejected_row_does_not_make_another_a_duplicate():
    asked = {"question": "what?", "answer": None}
    final = finalize(
        [make_merged("1", **asked), make_merged("2", **asked, source="lab")], annotated={("clinic", "train")}
    )
    assert list_rejects(final) == [("1", "rejected", "annotation_missing")]
    assert list_splits(final) == {"2": "train"}


# ------------------------------------------------------------------------------------------------------------- census


def count_census(*rows: tuple[str, str | None, bool], **shares: float) -> Census:
    schema = pa.schema([("source", pa.string()), ("split", pa.string()), ("annotated", pa.bool_())])
    table = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
    told = {"split_fractions": shares} if shares else {}
    parts = [table.slice(number, 1) for number in range(table.num_rows)]
    return take_census(parts, DatasetSettings.model_validate(told))


@pytest.mark.parametrize(
    ("declared", "missing"),
    [
        (["train"], {"val", "test"}),
        (["train", "val"], {"test"}),
        (["train", "test"], {"val"}),
        (["train", "val", "test"], set()),
        ([None], set()),
        (["train", None], set()),
        (["test"], {"val"}),
    ],
)
def test_a_split_is_missing_when_no_question_has_or_may_have_it(declared, missing):
    assert count_census(*[("clinic", split, True) for split in declared]).missing == missing


def test_a_split_with_no_share_is_not_carved():
    assert count_census(("clinic", "train", True), train=0.9, val=0, test=0.1).missing == {"test"}
    assert count_census(("clinic", None, True), train=0.9, val=0, test=0.1).missing == set()


def test_answers_are_expected_where_some_question_of_source_and_split_has_them():
    census = count_census(
        ("clinic", "train", False),
        ("clinic", "train", True),
        ("clinic", "test", False),
        ("lab", None, True),
        ("lab", "val", False),
    )
    assert census.annotated == {("clinic", "train"), ("lab", None)}


def test_nothing_has_a_census_too():
    assert take_census([], DatasetSettings()) == Census(missing=frozenset({"val", "test"}), annotated=frozenset())
    assert Census.model_validate_json(count_census(("a", None, True)).model_dump_json()).annotated == {("a", None)}


# ------------------------------------------------------------------------------------------------------------- always


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.builds(
            make_merged,
            st.integers(0, 99).map(str),
            st.sampled_from([None, *SPLITS]),
            st.sampled_from([A, B, "c"]),
            st.sampled_from([None, "red"]),
            question=st.sampled_from(["a?", "A", "b"]),
        ),
        max_size=10,
        unique_by=lambda row: row["question_id"],
    ),
    st.sampled_from(["fail", "report", "drop_from_train"]),
    st.randoms(),
)
def test_every_question_has_one_fate_and_nothing_leaks_that_is_not_told(rows, policy, random):
    final = finalize(rows, annotated={("clinic", "train")}, leakage=policy)
    ids = [*final.questions["question_id"].to_pylist(), *final.rejects["question_id"].to_pylist()]
    assert sorted(ids) == sorted(row["question_id"] for row in rows)
    splits: dict[str, set[str]] = {}
    for row in final.questions.to_pylist():
        splits.setdefault(row["image_sha256"], set()).add(row["split"])
    leaking = {image for image, found in splits.items() if len(found) > 1}
    assert leaking <= ({leak.image for leak in final.leaks} if policy != "drop_from_train" else set())
    random.shuffle(rows)
    assert finalize(rows, annotated={("clinic", "train")}, leakage=policy) == final

"""Paraphrases: which questions ask the same, how alike they are answered, the consensus score by hand."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.evaluation.consistency import Disagreement, measure_consistency


def make_questions(*rows: tuple[str, str | None, str]) -> pd.DataFrame:
    """Of (native id, what it paraphrases, image)."""
    return pd.DataFrame(
        {
            "question_id": [f"clinic/{name}" for name, _, _ in rows],
            "source": "clinic",
            "paraphrase_of": [of for _, of, _ in rows],
            "image": [image for _, _, image in rows],
            "image_sha256": None,
            "question": [f"what about {name}?" for name, _, _ in rows],
        }
    )


def make_scored(*rows: tuple[str | None, float]) -> pd.DataFrame:
    """Of (answer, score)."""
    return pd.DataFrame({"answer": [answer for answer, _ in rows], "score": [score for _, score in rows]})


def test_a_question_and_its_rephrasings_are_a_group_though_the_original_names_none():
    questions = make_questions(("1", None, "a"), ("2", "1", "a"), ("3", "1", "a"), ("4", None, "a"))
    told = measure_consistency(questions, make_scored(("A red.", 1), ("red", 0.3), ("the red", 1), ("red", 1)))
    assert (told.num_groups, told.num_questions, told.agreement) == (1, 3, 1.0)
    assert told.consensus == {1: 1.0, 2: 1.0, 3: 1.0}
    assert told.disagreements == ()


def test_a_name_that_no_question_has_holds_a_group_together():
    questions = make_questions(("1", "g", "a"), ("2", "g", "a"))
    told = measure_consistency(questions, make_scored(("yes", 1), ("no", 0)))
    assert (told.num_groups, told.agreement, told.consensus) == (1, 0.0, {1: 0.5, 2: 0.0})
    assert told.disagreements == (
        Disagreement(
            question_ids=("clinic/1", "clinic/2"),
            questions=("what about 1?", "what about 2?"),
            answers=("yes", "no"),
        ),
    )


def test_the_same_words_about_another_image_or_in_another_source_are_no_paraphrase():
    questions = make_questions(("1", "g", "a"), ("2", "g", "b"), ("3", None, "a"))
    other = make_questions(("1", "g", "a"), ("2", "h", "a")).assign(source="shop")
    other["question_id"] = ["shop/1", "shop/2"]
    everybody = pd.concat([questions, other], ignore_index=True)
    assert measure_consistency(everybody, make_scored(*[("red", 1.0)] * 5)) is None


def test_consensus_is_the_share_of_subsets_that_are_right_as_a_whole():
    """Four of a group, three right: C(3, 2) / C(4, 2) = 1/2, C(3, 3) / C(4, 3) = 1/4; the pair counts up to k = 2."""
    questions = make_questions(*[(str(n), "g", "a") for n in range(4)], ("8", "h", "b"), ("9", "h", "b"))
    scored = make_scored(("a", 1), ("a", 0.3), ("b", 1), ("c", 0), ("x", 1), ("x", 1))
    told = measure_consistency(questions, scored)
    assert told.consensus == pytest.approx({1: (3 / 4 + 1) / 2, 2: (1 / 2 + 1) / 2, 3: 1 / 4, 4: 0})
    assert told.agreement == 0.5


def test_questions_that_were_not_answered_do_not_agree():
    questions = make_questions(("1", "g", "a"), ("2", "g", "a"))
    told = measure_consistency(questions, make_scored((None, 0), (None, 0)))
    assert told.agreement == 0
    assert told.disagreements[0].answers == (None, None)


def test_the_interval_widens_when_groups_share_images():
    """64 groups, half of them answered alike: on 64 images, or on 8 on which all eight are alike or none is."""
    rows = [(f"{group}-{side}", str(group)) for group in range(64) for side in "ab"]
    scored = make_scored(*[("x" if group % 2 or side == "a" else "y", 1) for group in range(64) for side in "ab"])
    by_image = {
        "own": make_questions(*[(name, of, of) for name, of in rows]),
        "shared": make_questions(*[(name, of, f"{int(of) % 2}-{int(of) // 16}") for name, of in rows]),
    }
    widths = {}
    for kind, questions in by_image.items():
        told = measure_consistency(questions, scored)
        assert told.agreement == 0.5
        widths[kind] = told.agreement_interval.high - told.agreement_interval.low
    assert widths["shared"] > 1.5 * widths["own"]


@given(
    st.lists(
        st.tuples(st.sampled_from("gh"), st.sampled_from("ab"), st.sampled_from(["x", "y", None])),
        min_size=1,
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_questions_does_not_matter(rows, random):
    questions = make_questions(*[(str(number), of, image) for number, (of, image, _) in enumerate(rows)])
    scored = make_scored(*[(answer, float(answer == "x")) for _, _, answer in rows])
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = measure_consistency(
        questions.iloc[order].reset_index(drop=True), scored.iloc[order].reset_index(drop=True)
    )
    assert shuffled == measure_consistency(questions, scored)

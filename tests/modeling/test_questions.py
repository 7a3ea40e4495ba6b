from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from modeling_world import answer, question_row, write_questions

from vqa_pipeline.answers.scoring import MetricPolicy, score_answer
from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.errors import BackboneError
from vqa_pipeline.modeling.backbones.wordpiece import build_tokenizer
from vqa_pipeline.modeling.questions import (
    Asked,
    _AnswerScorer,
    check_known,
    describe_losses,
    read_asked,
    read_training,
    read_validation,
    tokenize,
)

VOCABULARY = AnswerVocabulary(answers=("yes", "no", "2", "t shirt"), counts=(4, 3, 2, 1))
ROWS = [
    question_row("w/a", "is it?", ["Yes", "yes", "no"], "s1"),
    question_row("w/b", "how many?", ["two"], "s2"),
    question_row("w/c", "what?", ["a unicorn"], "s1"),
    question_row("w/no-image", "what?", ["yes"], None),
    question_row("w/unannotated", "what?", None, "s3"),
    question_row("w/no-answers", "what?", [], "s3"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("questions")
    return [write_questions(folder / "0.parquet", ROWS[:2]), write_questions(folder / "1.parquet", ROWS[2:])]


def test_only_annotated_questions_with_image_are_trained_on(files: list[Path]) -> None:
    asked, targets = read_training(files, VOCABULARY, "normalized")
    assert asked.question_ids == ["w/a", "w/b", "w/c"]
    assert asked.shas == ["s1", "s2", "s1"]
    assert len(targets) == 3


def test_targets_are_soft_scores_by_answer_index(files: list[Path]) -> None:
    _, targets = read_training(files, VOCABULARY, "normalized")
    # two of three: 2 / 0.9 is full credit; one of three: 1 / 0.9 too; a single reference is met or missed
    assert targets.fill(np.arange(3)).tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_every_question_with_image_is_predicted(files: list[Path]) -> None:
    assert read_asked(files).question_ids == ["w/a", "w/b", "w/c", "w/unannotated", "w/no-answers"]


def test_validation_scores_are_the_metric(files: list[Path]) -> None:
    asked, scores = read_validation(files, VOCABULARY, "normalized")
    assert asked.question_ids == ["w/a", "w/b", "w/c"]
    assert scores.fill(np.arange(3)).tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


ANSWERS = st.sampled_from(
    ["yes", "Yes.", "no", "2", "two", "t-shirt", "T shirt", "the", "...", "a no", "x....y", "none"]
)


@given(st.lists(ANSWERS, min_size=1, max_size=10), st.sampled_from(["official", "normalized"]))
def test_no_answer_of_the_vocabulary_is_scored_differently_than_by_the_metric(
    texts: list[str], policy: MetricPolicy
) -> None:
    vocabulary = AnswerVocabulary(answers=("yes", "no", "2", "t shirt", "Yes.", "x....y", "0"), counts=(1,) * 7)
    references = [{**answer(text), "answer_id": number} for number, text in enumerate(texts)]
    scored = _AnswerScorer(vocabulary, policy).score_all(references)
    for index, candidate in enumerate(vocabulary.answers):
        assert scored.get(index, 0.0) == score_answer(candidate, references, policy)


def test_input_ids_are_those_of_the_tokenizer() -> None:
    questions = ["what color is it?", "is it red?"]
    tokenizer = build_tokenizer(questions, 40)
    tokenized = tokenize(questions, tokenizer, 40)
    assert [tokenized.input_ids[row].tolist() for row in range(2)] == tokenizer(questions)["input_ids"]
    assert tokenized.num_truncated == 0


def test_a_long_question_is_cut_and_counted() -> None:
    questions = ["is it red or blue or green?", "is it?"]
    tokenizer = build_tokenizer(questions, 5)
    tokenized = tokenize(questions, tokenizer, 5)
    words = tokenizer.convert_ids_to_tokens(tokenized.input_ids[0].tolist())
    assert words == ["[CLS]", "is", "it", "red", "[SEP]"]
    assert tokenized.num_truncated == 1


def test_no_questions_are_no_rows() -> None:
    assert len(tokenize([], build_tokenizer([], 40), 40).input_ids) == 0


def test_questions_of_unknown_words_have_their_rows_too_and_are_counted() -> None:
    tokenized = tokenize(["что это", "ja oder nein", "ja, это"], build_tokenizer(["ja oder nein,"], 40), 40)
    assert len(tokenized.input_ids) == 3
    assert (tokenized.num_unknown, tokenized.num_words) == (3, 8)  # a comma is a word


def test_a_tokenizer_that_knows_no_word_of_the_training_questions_is_refused() -> None:
    tokenizer = build_tokenizer(["ja oder nein"], 40)
    with pytest.raises(BackboneError, match=r"someone/vilt.*knows only 0 of 2 words of the training questions"):
        check_known(tokenize(["что это"], tokenizer, 40), "someone/vilt")


def test_a_tokenizer_that_knows_half_of_the_words_is_not_refused() -> None:
    tokenizer = build_tokenizer(["ja oder nein"], 40)
    check_known(tokenize(["ja это"], tokenizer, 40), "someone/vilt")
    check_known(tokenize([], tokenizer, 40), "someone/vilt")
    with pytest.raises(BackboneError, match="knows only 1 of 3 words"):
        check_known(tokenize(["ja что это"], tokenizer, 40), "someone/vilt")


def test_what_was_lost_of_a_splits_questions_is_told() -> None:
    tokenizer = build_tokenizer(["ja oder nein"], 4)
    assert describe_losses(tokenize(["ja nein", "oder"], tokenizer, 4), 4, "val") == []
    assert describe_losses(tokenize(["ja oder nein", "что это"], tokenizer, 4), 4, "test") == [
        "1 test questions are longer than 4 tokens and are cut.",
        "The tokenizer does not know 2 of 5 words of the test questions; the model cannot tell these words apart.",
    ]


def ask(*shas: str) -> Asked:
    asked = Asked()
    for number, sha in enumerate(shas):
        row = {"question_id": f"s/{number}", "question": f"what {number}?", "image_sha256": sha, "answer_type": None}
        asked.append(row)
    return asked


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=30).filter(lambda shas: len(set(shas)) > 1))
def test_other_images_are_other_ones_all_of_them_and_the_same_for_all_questions_of_an_image(shas: list[str]) -> None:
    asked = ask(*shas)
    shown = asked.show_other_images()
    assert (shown.question_ids, shown.questions) == (asked.question_ids, asked.questions)
    pairs = set(zip(asked.shas, shown.shas, strict=True))
    assert all(own != other for own, other in pairs)
    assert len(pairs) == len(set(shas)) == len({other for _, other in pairs})
    assert {other for _, other in pairs} == set(shas)


@given(st.permutations(["a", "b", "c", "d", "d"]))
def test_which_other_image_is_shown_does_not_depend_on_the_order(shas: list[str]) -> None:
    told = dict(zip(shas, ask(*shas).show_other_images().shas, strict=True))
    assert told == dict(zip("abcdd", ask(*"abcdd").show_other_images().shas, strict=True))

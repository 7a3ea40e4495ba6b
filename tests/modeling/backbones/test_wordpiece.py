from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_pipeline.modeling.backbones.wordpiece import SPECIAL_TOKENS, build_tokenizer

QUESTIONS = ["What color is it?", "is it RED?", "what shape is it?"]


def test_words_are_ordered_by_count_then_alphabetically() -> None:
    tokens = list(build_tokenizer(QUESTIONS, 40).get_vocab().items())
    words = [word for word, _ in sorted(tokens, key=lambda item: item[1])]
    assert words[:5] == list(SPECIAL_TOKENS)
    assert words[-6:] == ["is", "it", "what", "color", "red", "shape"]


def test_a_word_it_knows_is_one_token() -> None:
    assert build_tokenizer(QUESTIONS, 40).tokenize("What shape is RED?") == ["what", "shape", "is", "red", "?"]


def test_a_word_it_does_not_know_is_spelled() -> None:
    assert build_tokenizer(QUESTIONS, 40).tokenize("cape") == ["c", "##a", "##p", "##e"]


def test_rare_words_beyond_the_limit_are_spelled() -> None:
    assert build_tokenizer(QUESTIONS, 40, max_words=4).tokenize("is red") == ["is", "r", "##e", "##d"]


def test_the_order_of_the_questions_does_not_matter() -> None:
    assert build_tokenizer(QUESTIONS[::-1], 40).get_vocab() == build_tokenizer(QUESTIONS, 40).get_vocab()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=5))
def test_no_question_it_was_made_from_has_an_unknown_token(questions: list[str]) -> None:
    tokenizer = build_tokenizer(questions, 40)
    for question in questions:
        written = question.replace("[UNK]", "")
        assert tokenizer.unk_token_id not in tokenizer(written, add_special_tokens=False)["input_ids"]

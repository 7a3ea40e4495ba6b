"""`conversations`: four shapes of record, each turn a question, and what is not about one picture refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_reading import (
    Row,
    number_answers,
    read_fields,
    read_rows,
    sample_lines,
    sample_object,
    write_json,
    write_lines,
)

from vqa_pipeline.schemas import Locator
from vqa_pipeline.sources.formats.conversations import CONVERSATIONS, ConversationsSource, _ask, _cut_marks


def say(*texts: str, asking: str = "human", replying: str = "gpt") -> list[dict[str, str]]:
    return [{"from": replying if number % 2 else asking, "value": text} for number, text in enumerate(texts)]


def write_messages(*texts: str) -> list[dict[str, str]]:
    return [{"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(texts)]


def read(folder: Any, *records: Any) -> list[Any]:
    write_json(folder / "dialogues.json", list(records))
    return read_fields(folder, "conversations", "dialogues.json")


def refuse(folder: Any, record: Any) -> Row:
    """The one row of a record that is refused as a whole."""
    write_json(folder / "dialogues.json", [record])
    [row] = read_rows(folder, "conversations", "dialogues.json")
    assert row.error is not None
    return row


def list_pairs(rows: list[Any]) -> list[tuple[str, str]]:
    return [(row["question"], row["answers"][0]["answer"]) for row in rows]


# -------------------------------------------------------------------------------------------------------------- shapes


def test_llava_s_record_is_a_question_whose_answer_is_the_reply(tmp_path):
    record = {"id": "215", "image": "images/1.jpg", "conversations": say("<image>\nBu göğüs MR'ı mı?", "Hayır.")}
    assert read(tmp_path, record) == [
        {
            "native_id": None,
            "image": "images/1.jpg",
            "question": "Bu göğüs MR'ı mı?",
            "split": None,
            "question_type": None,
            "answer_type": None,
            "answers": number_answers("Hayır."),
        }
    ]


def test_internlm_s_bot_replies_and_its_questions_have_no_mark(tmp_path):
    record = {"id": 0, "image": "1.jpg", "conversations": say("What is it?", "A panda.", replying="bot")}
    assert list_pairs(read(tmp_path, record)) == [("What is it?", "A panda.")]


def test_llama_factory_s_messages_are_turns_too(tmp_path):
    record = {"messages": write_messages("<image>Who are they?", "Kane.", "Why?", "Football."), "images": ["1.jpg"]}
    assert list_pairs(read(tmp_path, record)) == [("Who are they?", "Kane."), ("Why?", "Football.")]


def test_an_instruction_is_a_question_and_its_type_is_kept(tmp_path):
    write_lines(
        tmp_path / "qa.jsonl",
        {"id": "7", "image": "1.jpg", "instruction": "Where is it?", "output": "There.", "type": "conv"},
        {"id": "7", "image": "1.jpg", "instruction": "What is it?", "output": "A dog.", "type": "detail"},
    )
    rows = read_fields(tmp_path, "conversations", "qa.jsonl")
    assert list_pairs(rows) == [("Where is it?", "There."), ("What is it?", "A dog.")]
    assert [(row["native_id"], row["question_type"]) for row in rows] == [(None, "conv"), (None, "detail")]


def test_a_text_with_a_question_id_is_an_unanswered_question_of_that_id(tmp_path):
    write_lines(tmp_path / "q.jsonl", {"question_id": 3, "image": "1.jpg", "text": "What is it?", "category": "conv"})
    [row] = read_fields(tmp_path, "conversations", "q.jsonl")
    assert (row["native_id"], row["question"], row["answers"], row["question_type"]) == (3, "What is it?", None, "conv")


# --------------------------------------------------------------------------------------------------------------- turns


def test_each_turn_is_a_row_with_its_place(tmp_path):
    record = {"image": "1.jpg", "conversations": say("a?", "1", "b?", "2", "c?", "3")}
    asked = read(tmp_path, record, {"image": "2.jpg", "conversations": say("d?", "4")})
    assert list_pairs(asked) == [("a?", "1"), ("b?", "2"), ("c?", "3"), ("d?", "4")]
    places = [str(row.raw.locator) for row in read_rows(tmp_path, "conversations", "dialogues.json")]
    assert places == ["dialogues.json[0].0", "dialogues.json[0].1", "dialogues.json[0].2", "dialogues.json[1]"]


@given(st.lists(st.text(alphabet="abc ?", min_size=1), min_size=1, max_size=7))
def test_no_turn_is_lost_and_none_asked_twice(texts):
    record = {"image": "1.jpg", "conversations": say(*texts)}
    rows = _ask(ConversationsSource(name="s", format="conversations", files="d.json"), record, Locator("d.json", 0))
    told = [text for row in rows for text in [row["question"], *(one["answer"] for one in row["answers"] or ())]]
    assert told == texts


def test_a_last_turn_without_reply_is_unanswered(tmp_path):
    rows = read(tmp_path, {"image": "1.jpg", "conversations": say("a?", "1", "b?")})
    assert [row["answers"] is None for row in rows] == [False, True]


def test_system_turns_ask_nothing(tmp_path):
    turns = [{"from": "system", "value": "Be kind."}, *say("a?", "1")]
    assert list_pairs(read(tmp_path, {"image": "1.jpg", "conversations": turns})) == [("a?", "1")]


@pytest.mark.parametrize(
    ("turns", "told"),
    [
        ([*say("a?"), *say("b?")], "turn 2 is by 'human', where a reply was expected"),
        (say("1", "a?", asking="gpt", replying="human"), "turn 1 is by 'gpt', where a question was expected"),
        (say("a?", "1", asking="tourist"), "turn 1 is by 'tourist'"),
    ],
)
def test_turns_out_of_order_are_refused_with_the_record(tmp_path, turns, told):
    refused = refuse(tmp_path, {"image": "1.jpg", "conversations": turns})
    assert refused.error.rule == "turns_out_of_order"
    assert told in refused.error.reason


def test_a_record_without_turns_has_a_fate(tmp_path):
    refused = refuse(tmp_path, {"image": "1.jpg", "conversations": []})
    assert refused.error.rule == "question_missing"


# --------------------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize(
    "named",
    [{"image": "1.jpg"}, {"image": ["1.jpg"]}, {"images": ["1.jpg", "1.jpg"]}, {"images": None, "image": "1.jpg"}],
)
def test_an_image_is_a_text_or_a_list_of_the_same(tmp_path, named):
    [row] = read(tmp_path, {**named, "conversations": say("a?", "1")})
    assert row["image"] == "1.jpg"


@pytest.mark.parametrize("named", [{}, {"image": None}, {"image": ""}, {"images": []}])
def test_text_alone_is_refused_as_one_row(tmp_path, named):
    refused = refuse(tmp_path, {**named, "conversations": say("a?", "1", "b?", "2")})
    assert refused.error.rule == "image_path_empty"
    assert refused.error.reason == "the record names no image: it is text only"


def test_several_pictures_are_refused_and_one_is_named(tmp_path):
    refused = refuse(tmp_path, {"images": ["1.jpg", "2.jpg"], "messages": write_messages("a?", "1")})
    assert refused.error.rule == "images_several"
    assert "2 images, '1.jpg' and others" in refused.error.reason


# ---------------------------------------------------------------------------------------------------------------- marks


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("<image>Who is he?", "Who is he?"),
        ("<image>\nWho is he?", "Who is he?"),
        ("Who is he?<image>", "Who is he?"),
        ("Who is he?\n<image>", "Who is he?"),
        ("Look at <image> and tell.", "Look at and tell."),
        ("<image> <image>\nBoth?", "Both?"),
        ("  What?  ", "  What?  "),
        ("<Image> is no mark", "<Image> is no mark"),
        ("<image>", ""),
    ],
)
def test_marks_are_cut_out_with_the_blanks_around_them(tmp_path, text, question):
    [row] = read(tmp_path, {"image": "1.jpg", "conversations": say(text, "1")})
    assert row["question"] == question


@given(st.text(alphabet="ab <>/\n"))
def test_a_text_without_marks_stays_as_it_is(text):
    assert _cut_marks(text.replace("<image>", "")) == text.replace("<image>", "")


# ------------------------------------------------------------------------------------------------------ what is neither


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"image": "1.jpg"}, "none of `conversations`, `messages`, `instruction` and `text`"),
        ({"image": 1, "text": "a?"}, "image"),
        ({"image": "1.jpg", "conversations": [{"from": "human"}]}, "value"),
        ({"image": "1.jpg", "messages": "a?"}, "messages"),
        ("a?", "object"),
    ],
)
def test_other_records_are_refused_and_the_next_is_read(tmp_path, record, told):
    write_json(tmp_path / "dialogues.json", [record, {"image": "1.jpg", "conversations": say("a?", "1")}])
    refused, kept = read_rows(tmp_path, "conversations", "dialogues.json")
    assert told in str(refused.error)
    assert kept.fields["question"] == "a?"


@pytest.mark.parametrize("start", ["", "\n ", "\ufeff"])
def test_a_list_and_lines_are_told_apart_by_their_first_character(tmp_path, start):
    record = '{"image": "1.jpg", "conversations": [{"from": "human", "value": "a?"}]}'
    for name, content in (("list.json", f"[{record}]"), ("lines.json", f"{record}\n{record}")):
        (tmp_path / name).write_text(start + content, encoding="utf-8")
    assert len(read_rows(tmp_path, "conversations", "list.json")) == 1
    assert len(read_rows(tmp_path, "conversations", "lines.json")) == 2


@pytest.mark.parametrize(
    ("record", "certainty"),
    [
        ({"conversations": say("a?")}, 1.0),
        ({"messages": write_messages("a?"), "images": []}, 1.0),
        ({"image": "1.jpg", "instruction": "a?", "output": "1"}, 0.8),
        ({"image": "1.jpg", "question_id": 1, "text": "a?", "category": "conv"}, 0.8),
        ({"image": "1.jpg", "text": "a?"}, None),
        ({"image": "1.jpg", "question": "a?"}, None),
    ],
)
def test_it_is_recognised_by_its_fields(record, certainty):
    told = CONVERSATIONS.recognize(sample_lines("d.json", record))
    assert (told and told.certainty) == certainty
    assert CONVERSATIONS.recognize(sample_object("d.json", {"1": record}, [record])) is None

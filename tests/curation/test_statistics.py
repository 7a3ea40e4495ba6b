"""Statistics of a dataset: what was written, counted once, whatever files it lies in."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from curation_world import make_answers

from vqa_pipeline.curation.statistics import LISTED, LONGEST, count_statistics
from vqa_pipeline.schemas import QUESTIONS


def make_row(number: int, question: str, answer: str | None, **fields: object) -> dict:
    row = dict.fromkeys(QUESTIONS.names) | {
        "question_id": f"clinic/{number}",
        "source": "clinic",
        "split": "train",
        "image": "1.png",
        "question": question,
        "answers": None if answer is None else make_answers(answer, answer),
        "most_common_answer": answer,
        "repairs": [],
        "locator": {"file": "q.csv", "record": number},
    }
    return row | fields


ROWS = [
    make_row(0, "what is it?", "red", question_type="what"),
    make_row(1, "is it  red ?", "yes", answer_type="yes/no"),
    make_row(2, "is it?", "yes", source="web", split="test", answer_type="yes/no"),
    make_row(3, "why?", None, split="test"),
]


def write(folder: Path, rows: list[dict], rows_per_file: int) -> list[Path]:
    paths = []
    for begin in range(0, len(rows), rows_per_file):
        paths.append(folder / f"train-{begin:05d}.parquet")
        pq.write_table(pa.Table.from_pylist(rows[begin : begin + rows_per_file], QUESTIONS), paths[-1])
    return paths


@pytest.mark.parametrize("rows_per_file", [1, 2, 4])
def test_what_is_counted(tmp_path, rows_per_file):
    assert count_statistics(write(tmp_path, ROWS, rows_per_file)).model_dump() == {
        "questions_by_source": {"clinic": {"test": 1, "train": 2}, "web": {"test": 1}},
        "num_distinct_answers": 2,
        "top_answers": {"yes": 2, "red": 1},
        "question_types": {"what": 1},
        "answer_types": {"yes/no": 2},
        "answers_per_question": {0: 1, 2: 3},
        "words_per_question": {1: 1, 2: 1, 3: 1, 4: 1},
        "longest": 15,
    }


def test_the_most_frequent_are_listed_ties_in_alphabetical_order(tmp_path):
    rows = [make_row(number, "what?", f"answer {number % 25:02}") for number in range(30)]
    listed = count_statistics(write(tmp_path, rows, 30)).top_answers
    assert list(listed.items())[:6] == [*((f"answer {number:02}", 2) for number in range(5)), ("answer 05", 1)]
    assert len(listed) == LISTED


def test_what_is_longer_than_the_longest_is_counted_with_it(tmp_path):
    rows = [make_row(number, "word " * words, "red") for number, words in enumerate((LONGEST - 1, LONGEST, 99))]
    assert count_statistics(write(tmp_path, rows, 3)).words_per_question == {LONGEST - 1: 1, LONGEST: 2}


def test_without_questions_there_is_nothing():
    assert count_statistics([]).model_dump() == {
        "questions_by_source": {},
        "num_distinct_answers": 0,
        "top_answers": {},
        "question_types": {},
        "answer_types": {},
        "answers_per_question": {},
        "words_per_question": {},
        "longest": 15,
    }

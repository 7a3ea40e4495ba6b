"""`pope`: JSON Lines named `.json`, and ids that start again in every file."""

from __future__ import annotations

from source_reading import number_answers, read_fields, read_rows, sample_lines, sample_list, write_lines

from vqa_pipeline.sources.formats.pope import POPE

RECORD = {"question_id": 1, "image": "COCO_val2014_000000310196.jpg", "text": "Is there a car in the image?", "label": "no"}  # fmt: skip


def test_a_line_is_a_question(tmp_path):
    write_lines(tmp_path / "coco_pope_random.json", RECORD)
    assert read_fields(tmp_path, "pope", "coco_pope_random.json") == [
        {
            "native_id": "coco_pope_random/1",
            "image": "COCO_val2014_000000310196.jpg",
            "question": "Is there a car in the image?",
            "split": None,
            "question_type": None,
            "answer_type": None,
            "answers": number_answers("no"),
        }
    ]


def test_ids_are_unique_over_files_wherever_these_lie(tmp_path):
    for name in ("coco_pope_random", "coco_pope_popular"):
        write_lines(tmp_path / "pope" / f"{name}.json", RECORD, {**RECORD, "question_id": 2})
    asked = read_fields(tmp_path, "pope", "pope/*.json")
    assert [row["native_id"] for row in asked] == [
        "coco_pope_popular/1",
        "coco_pope_popular/2",
        "coco_pope_random/1",
        "coco_pope_random/2",
    ]
    below = read_fields(tmp_path, "pope", "pope/*.json", image_root=".")
    assert [row["native_id"] for row in below] == [row["native_id"] for row in asked]


def test_a_broken_line_costs_only_itself(tmp_path):
    write_lines(tmp_path / "pope.json", RECORD, {**RECORD, "label": 0}, RECORD)
    rows = read_rows(tmp_path, "pope", "pope.json")
    assert [str(row.raw.locator) for row in rows] == ["pope.json:1", "pope.json:2", "pope.json:3"]
    assert [row.fields is None for row in rows] == [False, True, False]
    assert "label" in str(rows[1].error)


def test_it_is_recognised_by_its_fields():
    assert POPE.recognize(sample_lines("p.json", RECORD)) == (1.0, {"files": "p.json"})
    assert POPE.recognize(sample_list("p.json", [RECORD])) is None
    assert POPE.recognize(sample_lines("p.json", {"question_id": 1, "image": "a", "text": "?"})) is None

"""Rows that were not accepted, counted, read and grouped."""

from __future__ import annotations

from reporting_world import make_reject, write_rejects

from vqa_pipeline.reporting.rejects import count_rejects, group_rejects, list_images, read_rejects


def test_rows_of_all_files_are_counted_by_source_fate_and_rule(tmp_path):
    write_rejects(tmp_path, make_reject(), make_reject(number=1), make_reject("question_empty"))
    write_rejects(tmp_path, make_reject(source="scans"), make_reject(), name="rejects-1.parquet")
    assert count_rejects(tmp_path) == {
        ("shapes", "rejected", "image_missing"): 3,
        ("shapes", "rejected", "question_empty"): 1,
        ("scans", "rejected", "image_missing"): 1,
    }


def test_a_row_is_read_with_its_locator_and_payload_as_text(tmp_path):
    write_rejects(tmp_path, make_reject(number=6))
    (row,) = read_rejects(tmp_path)
    assert row["locator"] == "questions.jsonl:7"
    assert row["raw"] == '{"id": 6}'
    assert row["reason"] == "there is no image 6"


def test_bytes_that_are_no_text_are_written_out(tmp_path):
    write_rejects(tmp_path, make_reject(raw=b"caf\xe9"))
    (row,) = read_rejects(tmp_path)
    assert row["raw"] == "caf\\xe9"


def test_nothing_rejected_is_an_empty_account(tmp_path):
    assert count_rejects(tmp_path) == {}
    assert list(read_rejects(tmp_path)) == []
    assert group_rejects(tmp_path) == []


def test_groups_have_rejected_rows_first_and_frequent_rules_first(tmp_path):
    rows = [make_reject("rare"), *(make_reject("frequent", number) for number in range(2))]
    write_rejects(tmp_path, make_reject("duplicate_row", fate="duplicate"), *rows)
    assert [(group["fate"], group["rule"], group["count"]) for group in group_rejects(tmp_path)] == [
        ("rejected", "frequent", 2),
        ("rejected", "rare", 1),
        ("duplicate", "duplicate_row", 1),
    ]


def test_a_group_shows_three_examples_of_many(tmp_path):
    write_rejects(tmp_path, *(make_reject(number=number) for number in range(1500)))
    (group,) = group_rejects(tmp_path)
    assert group["count"] == 1500
    assert [example["place"] for example in group["examples"]] == [
        "shapes: questions.jsonl:1",
        "shapes: questions.jsonl:2",
        "shapes: questions.jsonl:3",
    ]


def test_an_example_is_short_and_shows_control_characters(tmp_path):
    write_rejects(tmp_path, make_reject(raw=b"\x1b[2J\n" + b"x" * 10_000))
    (group,) = group_rejects(tmp_path)
    raw = group["examples"][0]["raw"]
    assert raw.startswith("\\x1b[2J\nxxx")
    assert raw.endswith("x…")
    assert len(raw) < 620


def test_the_examples_of_a_late_rule_are_found(tmp_path):
    write_rejects(tmp_path, *(make_reject(number=number) for number in range(1200)), make_reject("late", 9))
    groups = {group["rule"]: group["examples"] for group in group_rejects(tmp_path)}
    assert [example["place"] for example in groups["late"]] == ["shapes: questions.jsonl:10"]


def test_an_example_has_the_picture_of_its_image_if_it_names_one(tmp_path):
    write_rejects(tmp_path, make_reject(image="7.png"), make_reject(number=1, image=None, question_id=None))
    (group,) = group_rejects(tmp_path, lambda source, reference: f"{source}:{reference}")
    assert [example["picture"] for example in group["examples"]] == ["shapes:7.png", ""]
    assert [example["question_id"] for example in group["examples"]] == ["shapes/0", ""]
    assert [example["picture"] for example in group_rejects(tmp_path)[0]["examples"]] == ["", ""]


def test_rows_that_only_follow_from_others_come_after_them(tmp_path):
    write_rejects(tmp_path, make_reject("annotation_orphan", kind="annotation"), make_reject("image_name_unknown"))
    assert [group["rule"] for group in group_rejects(tmp_path)] == ["image_name_unknown", "annotation_orphan"]


def test_the_images_of_some_questions_are_listed_once_with_their_source(tmp_path):
    rows = [make_reject(number=number, image="a.png") for number in range(2)]
    rows += [make_reject(number=2, image=None), make_reject(number=3, source="scans"), make_reject(number=4)]
    write_rejects(tmp_path, *rows)
    asked = {f"shapes/{number}" for number in range(4)}
    assert list_images(tmp_path, asked) == [("shapes", "a.png"), ("scans", "3.png")]
    assert list_images(tmp_path / "none", asked) == []
    assert list_images(tmp_path, []) == []

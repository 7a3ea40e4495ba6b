"""What became of a line of a source's file."""

from __future__ import annotations

import json

import pytest
from colours_world import Runner, declare_source, make_pipeline, write_source

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.lineage.places import Place, parse_place, trace_place
from vqa_pipeline.pipeline import Pipeline

LENIENT = {"dataset": {"max_reject_fraction": 0.5}}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a.csv:3", Place("a.csv", 3, None, None)),
        ("C:/x y/a.csv:3", Place("C:/x y/a.csv", 3, None, None)),
        ("a[1].json[2]", Place("a[1].json", None, 2, None)),
        ("train.zip!/a.json[2].1", Place("train.zip!/a.json", None, 2, 1)),
        ("a.csv:3.1", Place("a.csv", 3, None, 1)),
    ],
)
def test_a_place_is_read_as_locators_are_written(text, place):
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["a.csv", "a.csv:", "a.csv:x", ":3", "a.csv[x]"])
def test_what_names_no_line_is_refused(text):
    with pytest.raises(SettingsError, match=r"names no line or record of a file. Write FILE:LINE"):
        parse_place(text)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Line 18 asks about an image that is not there."""
    tmp_path = tmp_path_factory.mktemp("table")
    write_source(tmp_path, change={16: {"image": "nowhere.png"}})
    pipeline = make_pipeline(tmp_path, **LENIENT)
    Runner(pipeline).run("dataset")
    return pipeline


def test_a_line_leads_to_its_question(pipeline):
    [found] = trace_place(pipeline, "questions.csv:19")
    assert (found.question_id, found.fate, found.rule) == ("colours/17", "accepted", None)
    assert (found.locator, found.file_state) == ("questions.csv:19", "unchanged")
    assert '"17.png"' in found.raw


def test_a_rejected_line_leads_to_its_reason(pipeline):
    [found] = trace_place(pipeline, "questions.csv:18")
    assert (found.question_id, found.fate, found.rule) == ("colours/16", "rejected", "image_missing")
    assert "nowhere.png" in found.reason
    assert found.fix


def test_a_file_is_known_by_its_path_too(pipeline, monkeypatch):
    monkeypatch.chdir(pipeline.project_root / "raw" / "images")
    for name in ("../questions.csv", str(pipeline.project_root / "raw" / "questions.csv")):
        assert [one.question_id for one in trace_place(pipeline, f"{name}:19")] == ["colours/17"]


@pytest.mark.parametrize("place", ["questions.csv:99", "other.csv:2", "questions.csv[99]"])
def test_where_nothing_was_read_it_is_said(pipeline, place):
    with pytest.raises(SettingsError, match="no record of the dataset was read at"):
        trace_place(pipeline, place)


ROWS = [{"id": n, "image": f"{n}.png", "question": "what colour is it?", "answer": "red"} for n in range(3)]


@pytest.fixture(scope="module")
def written_as_json(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Three questions in a list over many lines: the first begins on line 2, the next on line 8, the last on 14."""
    tmp_path = tmp_path_factory.mktemp("json")
    write_source(tmp_path)
    (tmp_path / "raw" / "rows.json").write_text(json.dumps(ROWS, indent=1))
    settings = declare_source(files="raw/rows.json", splits="train")
    pipeline = make_pipeline(tmp_path, sources=[settings], **LENIENT)
    Runner(pipeline).run("dataset")
    return pipeline


@pytest.mark.parametrize(("line", "number"), [(2, 0), (7, 0), (8, 1), (9, 1), (14, 2), (19, 2)])
def test_in_a_format_without_lines_the_record_around_a_line_is_meant(written_as_json, line, number):
    assert [one.question_id for one in trace_place(written_as_json, f"rows.json:{line}")] == [f"colours/{number}"]


def test_lines_are_those_of_the_file_whatever_its_encoding(tmp_path):
    write_source(tmp_path)
    (tmp_path / "raw" / "rows.json").write_text(json.dumps(ROWS, indent=1), encoding="utf-16")
    pipeline = make_pipeline(tmp_path, sources=[declare_source(files="raw/rows.json", splits="train")], **LENIENT)
    Runner(pipeline).run("dataset")
    assert [one.question_id for one in trace_place(pipeline, "rows.json:9")] == ["colours/1"]


def test_a_record_is_found_by_its_number(written_as_json):
    [found] = trace_place(written_as_json, "rows.json[1]")
    assert (found.question_id, found.locator) == ("colours/1", "rows.json[1]")


def test_a_line_before_the_first_record_or_behind_the_file_is_none(written_as_json):
    for line in (1, 99):
        with pytest.raises(SettingsError):
            trace_place(written_as_json, f"rows.json:{line}")

"""Tab-separated rows with the image in base64: VLMEvalKit's layout with a header, OFA's without."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.answers.scoring import score_answer
from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import EmbeddedImage, QuestionFields, RawRecord
from vqa_pipeline.sources.formats import get_format
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.formats.tsv_base64 import TsvBase64Source, decode_base64
from vqa_pipeline.sources.samples import take_sample

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
SHA = hashlib.sha256(PICTURE).hexdigest()
IMAGE = base64.b64encode(PICTURE).decode()
HEADER = "index\timage\tquestion\tanswer"


def make_source(**settings: Any) -> TsvBase64Source:
    return TsvBase64Source.model_validate({"name": "bench", "format": "tsv_base64", "files": "*.tsv", **settings})


def write(root: Path, *lines: str, name: str = "rows.tsv") -> None:
    (root / name).write_bytes("".join(f"{line}\n" for line in lines).encode())


def read(root: Path, **settings: Any) -> list[RawRecord]:
    source = make_source(**settings)
    return list(get_format(source).read(source, root))


def ask(root: Path, **settings: Any) -> list[QuestionFields | tuple[str, str]]:
    """Fields of each row, or the rule and reason by which it is refused."""
    source = make_source(**settings)
    parse = get_format(source).build_parser(source, root)
    asked: list[QuestionFields | tuple[str, str]] = []
    for raw in get_format(source).read(source, root):
        try:
            asked.append(parse(raw))
        except MalformedRecord as error:
            asked.append((error.rule, error.reason))
    return asked


def answers_of(root: Path, **settings: Any) -> list[list[str]]:
    return [[answer["answer"] for answer in fields["answers"]] for fields in ask(root, **settings)]


# ------------------------------------------------------------------------------------------------------- with a header


def test_a_row_with_its_image(tmp_path):
    write(tmp_path, HEADER, f"0\t{IMAGE}\twhat is it?\tA dog")
    (raw,) = read(tmp_path)
    assert raw.image == EmbeddedImage(SHA, PICTURE)
    assert (raw.locator.file, raw.locator.record, raw.locator.line) == ("rows.tsv", 0, 2)
    assert json.loads(raw.payload) == {
        "index": "0",
        "image": {"sha256": SHA, "num_bytes": len(PICTURE), "path": None},
        "question": "what is it?",
        "answer": "A dog",
    }
    assert ask(tmp_path) == [
        {
            "native_id": "0",
            "image": SHA,
            "question": "what is it?",
            "split": None,
            "question_type": None,
            "answer_type": None,
            "answers": [{"answer": "A dog", "answer_id": 1, "answer_confidence": None}],
            "paraphrase_of": None,
        }
    ]


def test_an_image_may_be_larger_than_the_csv_modules_own_limit(tmp_path):
    large = bytes(200_000)
    write(tmp_path, HEADER, f"0\t{base64.b64encode(large).decode()}\twhat?\tred")
    assert [raw.image.data for raw in read(tmp_path)] == [large]


def test_a_short_image_is_the_index_of_an_earlier_row(tmp_path):
    write(tmp_path, HEADER, f"7\t{IMAGE}\twhat?\tred", "8\t7\twhich?\tblue", "9\t10\twho?\tme", f"10\t{IMAGE}\tx?\ty")
    first, second, third, fourth = ask(tmp_path)
    assert [fields["image"] for fields in (first, second, fourth)] == [SHA] * 3
    assert third == ("image_not_base64", "`image` holds '10', which is no image in base64")
    assert [raw.image is None for raw in read(tmp_path)] == [False, True, True, False]


def test_a_letter_is_the_option_in_its_column(tmp_path):
    header = f"{HEADER}\tA\tB\tC"
    rows = [
        f"{index}\t{IMAGE}\twhich?\t{answer}\tcat\tdog\t" for index, answer in enumerate(("A", "B", "C", "D", "AB"))
    ]
    write(tmp_path, header, *rows)
    told = ask(tmp_path)
    assert told[2] == ("record_malformed", "`answer` is C, but column C is empty")
    assert [told[place]["answers"][0]["answer"] for place in (0, 1, 3, 4)] == ["cat", "dog", "D", "AB"]


def test_a_letter_is_a_letter_where_there_are_no_options(tmp_path):
    write(tmp_path, HEADER, f"0\t{IMAGE}\twhich letter?\tA")
    assert answers_of(tmp_path) == [["A"]]


def test_what_is_not_base64_costs_its_row_and_stays_in_its_payload(tmp_path):
    write(tmp_path, HEADER, "0\tpictures/1.png\twhat?\tred", "1\t\twhat?\tred", f"2\t{IMAGE}\twhat?\tred")
    told = ask(tmp_path)
    assert told[0] == ("image_not_base64", "`image` holds 'pictures/1.png', which is no image in base64")
    assert told[1][0] == "image_not_base64"
    assert told[2]["image"] == SHA
    assert json.loads(read(tmp_path)[0].payload)["image"] == "pictures/1.png"


def test_a_row_of_another_length_costs_only_itself(tmp_path):
    write(tmp_path, HEADER, f"0\t{IMAGE}\twhat?", f"1\t{IMAGE}\twhat?\tred")
    told = ask(tmp_path)
    assert told[0] == ("record_malformed", "the row has 3 cells, another number than the header")
    assert told[1]["native_id"] == "1"


def test_other_columns_are_mapped_and_missing_ones_told(tmp_path):
    write(tmp_path, "id\tpicture\ttext\tlabel\tl2", f"0\t{IMAGE}\twhat?\tred\tcolour", name="MMBench_DEV_EN.tsv")
    mapping = {"id": "id", "image": "picture", "question": "text", "answers": "label", "question_type": "l2"}
    (fields,) = ask(tmp_path, columns=mapping)
    assert (fields["question"], fields["question_type"], fields["split"]) == ("what?", "colour", "val")
    with pytest.raises(SourceError, match=r"`columns`: .*has no column 'question', 'answer', 'index', 'image'"):
        read(tmp_path)


def test_a_file_may_be_gzipped(tmp_path):
    (tmp_path / "rows.tsv").write_bytes(gzip.compress(f"{HEADER}\n0\t{IMAGE}\twhat?\tred\n".encode()))
    assert [raw.image.sha256 for raw in read(tmp_path)] == [SHA]


# ------------------------------------------------------------------------------------------------------ without a header


def test_a_bare_line_has_six_cells_and_weighs_its_answers(tmp_path):
    safe = base64.urlsafe_b64encode(PICTURE).decode().rstrip("=")
    assert "-" in safe
    write(tmp_path, f'79459\t79459\tis this person wearing "shorts?\t0.6|!+no&&1.0|!+yes\tbag&&hat\t{safe}', name="vqa_train.tsv")  # fmt: skip
    (raw,) = read(tmp_path)
    assert raw.image == EmbeddedImage(SHA, PICTURE)
    assert json.loads(raw.payload)["objects"] == "bag&&hat"
    assert (raw.locator.record, raw.locator.line) == (0, 1)
    (fields,) = ask(tmp_path)
    assert (fields["native_id"], fields["question"]) == ("79459", 'is this person wearing "shorts?')
    assert fields["split"] == "train"
    assert [answer["answer"] for answer in fields["answers"]] == ["no", "no", "yes", "yes", "yes", "yes"]
    assert [answer["answer_id"] for answer in fields["answers"]] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("matches", [1, 2, 3, 4])
def test_an_answer_is_repeated_as_the_official_metric_asks_for(tmp_path, matches):
    references = [
        {"answer": "yes" if number < matches else f"other {number}", "answer_id": number, "answer_confidence": None}
        for number in range(10)
    ]
    score = score_answer("yes", references, "official")
    write(tmp_path, f"1\t1\twhat?\t{score}|!+yes\t\t{IMAGE}")
    assert answers_of(tmp_path) == [["yes"] * matches]


@pytest.mark.parametrize("cell", ["x|!+yes", "0|!+yes", "1.5|!+yes", "nan|!+yes", "0.3|!+yes&&no"])
def test_a_score_that_is_none_costs_its_row(tmp_path, cell):
    write(tmp_path, f"1\t1\twhat?\t{cell}\t\t{IMAGE}")
    ((rule, reason),) = ask(tmp_path)
    assert rule == "record_malformed"
    assert "but a score in (0, 1] stands before `|!+`" in reason


def test_bare_lines_that_are_none_cost_themselves(tmp_path):
    good = f"1\t1\tà côté?\t1.0|!+yes\t\t{IMAGE}"
    (tmp_path / "rows.tsv").write_bytes(f"{good}\n2\t2\twhat?\n\n".encode() + b"3\t3\t\xff?\ta\t\tb\n" + good.encode())
    told = ask(tmp_path)
    assert told[1] == ("record_malformed", "the row has 3 cells, another number than the header")
    assert told[2][0] == "record_not_utf_8"
    assert [raw.locator.line for raw in read(tmp_path)] == [1, 2, 4, 5]


def test_a_bare_file_has_no_column_to_take_the_split_from(tmp_path):
    write(tmp_path, f"1\t1\twhat?\t1.0|!+yes\t\t{IMAGE}")
    with pytest.raises(SourceError, match="`splits`: .*has no header, so there is no column 'fold'"):
        read(tmp_path, splits={"column": "fold"})


def test_a_file_of_neither_layout_is_told_without_its_images(tmp_path):
    write(tmp_path, f"1\twhat?\t{'A' * 5000}")
    with pytest.raises(SourceError, match="a file without a header has 6 cells per line") as caught:
        read(tmp_path)
    assert len(str(caught.value)) < 1000


# --------------------------------------------------------------------------------------------------------------- base64


@given(st.binary(min_size=1, max_size=200))
def test_bytes_come_back_from_every_way_to_write_them(data):
    standard, safe = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
    for text in (standard, safe, standard.rstrip("="), f"data:image/png;base64,{standard}", f" {standard} "):
        assert decode_base64(text) == data


@pytest.mark.parametrize("text", ["", "=", "a", "a.png", "é", "QUJD!", "QU JD"])
def test_other_text_is_no_base64(text):
    assert decode_base64(text) is None


# --------------------------------------------------------------------------------------------------------- recognition


def recognize(path: Path) -> dict[str, Any] | None:
    found = get_format(make_source()).recognize(take_sample(path, path.name).sample)
    return None if found is None else dict(found.settings)


def test_both_layouts_are_recognised_by_an_image_in_base64(tmp_path):
    write(tmp_path, "index\tpicture\tquestion\tanswer\tsplit", f"0\t{IMAGE}\twhat?\tred\tval", name="a.tsv")
    columns = {"question": "question", "answers": "answer", "id": "index", "image": "picture"}
    assert recognize(tmp_path / "a.tsv") == {"files": "a.tsv", "columns": columns, "splits": {"column": "split"}}
    write(tmp_path, f"1\t1\twhat is it?\t1.0|!+yes\t\t{IMAGE}", f"2\t2\twhat?\t1.0|!+no\t\t{IMAGE}", name="b.tsv")
    assert recognize(tmp_path / "b.tsv") == {"files": "b.tsv"}


def test_other_tables_are_left_to_others(tmp_path):
    write(tmp_path, HEADER, "0\tpictures/1.png\twhat?\tred", name="a.tsv")
    write(tmp_path, "one\ttwo\tthree\tfour\tfive\tsix seven eight?", name="b.tsv")
    assert [recognize(tmp_path / name) for name in ("a.tsv", "b.tsv")] == [None, None]


def test_the_first_records_can_be_read_alone(tmp_path):
    write(tmp_path, HEADER, *(f"{number}\t{IMAGE}\twhat?\tred" for number in range(3)))
    assert [raw.locator.record for raw in get_format(make_source()).read(make_source(), tmp_path, 2)] == [0, 1]

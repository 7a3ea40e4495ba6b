"""Parquet files with the images inside, in every encoding that people have."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import EmbeddedImage, QuestionFields, RawRecord
from vqa_pipeline.sources.formats import get_format
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.formats.hf_parquet import HfParquetSource
from vqa_pipeline.sources.samples import take_sample

PICTURE, OTHER = b"\x89PNG one", b"\xff\xd8 two"
SHA, OTHER_SHA = hashlib.sha256(PICTURE).hexdigest(), hashlib.sha256(OTHER).hexdigest()
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def make_source(**settings: Any) -> HfParquetSource:
    told = {"name": "hub", "format": "hf_parquet", "files": "data/*.parquet", **settings}
    return HfParquetSource.model_validate(told)


def write(root: Path, images: pa.Array, name: str = "data/rows.parquet", features: Any = None, **columns: Any) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"image": images, "question": ["what?"] * len(images), "answers": ["red"] * len(images), **columns}
    table = pa.table(told)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)


def read(root: Path, **settings: Any) -> list[RawRecord]:
    source = make_source(**settings)
    return list(get_format(source).read(source, root))


def ask(root: Path, **settings: Any) -> list[QuestionFields | str]:
    """Fields of each row, or the rule by which it is refused."""
    source = make_source(**settings)
    parse = get_format(source).build_parser(source, root)
    asked: list[QuestionFields | str] = []
    for raw in get_format(source).read(source, root):
        try:
            asked.append(parse(raw))
        except MalformedRecord as error:
            asked.append(error.rule)
    return asked


def test_an_image_travels_beside_its_row_and_is_named_by_its_sha256(tmp_path):
    write(tmp_path, pa.array([{"bytes": PICTURE, "path": "0.png"}], STRUCT), answers=[["red", "pink"]])
    (raw,) = read(tmp_path)
    assert raw.image == EmbeddedImage(SHA, PICTURE, "0.png")
    assert json.loads(raw.payload) == {
        "image": {"sha256": SHA, "num_bytes": 8, "path": "0.png"},
        "question": "what?",
        "answers": ["red", "pink"],
    }
    assert (raw.locator.file, raw.locator.record, raw.locator.line) == ("rows.parquet", 0, None)
    assert ask(tmp_path) == [
        {
            "native_id": None,
            "image": SHA,
            "question": "what?",
            "split": None,
            "question_type": None,
            "answer_type": None,
            "answers": [
                {"answer": "red", "answer_id": 1, "answer_confidence": None},
                {"answer": "pink", "answer_id": 2, "answer_confidence": None},
            ],
            "paraphrase_of": None,
        }
    ]


@pytest.mark.parametrize(
    "images",
    [
        pa.array([{"bytes": PICTURE, "path": "0.png"}], STRUCT),
        pa.array([{"bytes": PICTURE, "path": None}], STRUCT),
        pa.array([{"bytes": PICTURE}], pa.struct([("bytes", pa.binary())])),
        pa.array([PICTURE], pa.binary()),
        pa.array([PICTURE], pa.large_binary()),
        pa.array([[{"bytes": PICTURE, "path": None}]], pa.list_(STRUCT)),
    ],
)
def test_every_encoding_gives_the_same_image(tmp_path, images):
    write(tmp_path, images)
    assert [(raw.image.sha256, raw.image.data) for raw in read(tmp_path)] == [(SHA, PICTURE)]
    assert [fields["image"] for fields in ask(tmp_path)] == [SHA]


@pytest.mark.parametrize(
    "images",
    [pa.array([{"bytes": None, "path": "a/0.png"}], STRUCT), pa.array(["a/0.png"])],
)
def test_where_there_are_no_bytes_the_path_is_the_reference(tmp_path, images):
    (tmp_path / "pictures").mkdir()
    write(tmp_path, images)
    (raw,) = read(tmp_path, image_root="pictures")
    assert (raw.image, raw.locator.file) == (None, "data/rows.parquet")
    assert [fields["image"] for fields in ask(tmp_path, image_root="pictures")] == ["a/0.png"]


def test_rows_without_an_image_or_with_several_are_refused_one_by_one(tmp_path):
    several = [{"bytes": PICTURE, "path": None}, {"bytes": OTHER, "path": None}]
    images = pa.array([several, [], None, several[:1]], pa.list_(STRUCT))
    write(tmp_path, images)
    told = ask(tmp_path)
    assert told[:3] == ["images_several", "images_several", "image_path_empty"]
    assert told[3]["image"] == SHA
    assert OTHER not in b"".join(raw.payload for raw in read(tmp_path))
    write(tmp_path, pa.array([{"bytes": None, "path": None}, None], STRUCT))
    assert ask(tmp_path) == ["image_path_empty", "image_path_empty"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00001.parquet", "train"),
        ("data/validation-00000-of-00001.parquet", "val"),
        ("data/test/0000.parquet", "test"),
        ("data/vqa_dev.parquet", "val"),
        ("data/TEST.parquet", "test"),
        ("data/rows.parquet", None),
        ("data/constrained.parquet", None),
        ("data/testament.parquet", None),
    ],
)
def test_a_file_or_its_folder_declares_the_split(tmp_path, name, split):
    write(tmp_path, pa.array([PICTURE]), name)
    assert [fields["split"] for fields in ask(tmp_path, files=name)] == [split]
    assert [fields["split"] for fields in ask(tmp_path, files=name, splits="by_image")] == [None]


def test_a_column_may_declare_the_split_instead(tmp_path):
    write(tmp_path, pa.array([PICTURE, OTHER]), "data/train.parquet", fold=["test", "val"])
    assert [fields["split"] for fields in ask(tmp_path, splits={"column": "fold"})] == ["test", "val"]


def test_class_labels_are_read_by_their_names(tmp_path):
    names = ["red", "dark blue"]
    features = {"answers": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    write(tmp_path, pa.array([PICTURE] * 4), features=features, answers=[1, 0, -1, 7])
    told = ask(tmp_path)
    assert [fields if isinstance(fields, str) else fields["answers"] for fields in told] == [
        [{"answer": "dark blue", "answer_id": 1, "answer_confidence": None}],
        [{"answer": "red", "answer_id": 1, "answer_confidence": None}],
        None,
        "record_malformed",
    ]
    for listed in ({"feature": features["answers"], "_type": "Sequence"}, [features["answers"]]):
        write(tmp_path, pa.array([PICTURE]), features={"answers": listed}, answers=[[0, 1]])
        assert [one["answer"] for one in ask(tmp_path)[0]["answers"]] == names


def test_numbers_that_are_no_class_labels_stay_numbers(tmp_path):
    write(tmp_path, pa.array([PICTURE]), features={"answers": {"dtype": "int64", "_type": "Value"}}, answers=[3])
    assert ask(tmp_path)[0]["answers"][0]["answer"] == "3"


@pytest.mark.parametrize("told", [b"{", b"[]", b'{"info": 3}', b'{"info": {"features": []}}'])
def test_metadata_that_datasets_does_not_write_are_told(tmp_path, told):
    write(tmp_path, pa.array([PICTURE]))
    path = tmp_path / "data" / "rows.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata({"huggingface": told}), path)
    with pytest.raises(SourceError, match=r"rows\.parquet: its schema's `huggingface` key is not what"):
        read(tmp_path)


def test_ids_keep_their_type_and_values_that_json_cannot_hold_cost_their_row(tmp_path):
    write(tmp_path, pa.array([PICTURE]), key=[7])
    assert ask(tmp_path, columns={"id": "key"})[0]["native_id"] == 7
    write(tmp_path, pa.array([PICTURE]), answers=[dt.date(2020, 1, 1)])
    assert ask(tmp_path) == ["record_malformed"]


def test_columns_that_nobody_asks_for_are_not_read(tmp_path):
    write(tmp_path, pa.array([PICTURE]), mask=[OTHER])
    assert b"mask" not in read(tmp_path)[0].payload


def test_a_missing_column_and_a_damaged_file_are_told_by_name(tmp_path):
    write(tmp_path, pa.array([PICTURE]))
    with pytest.raises(SourceError, match=r"source 'hub', `columns`: .*rows\.parquet: has no column 'text'"):
        read(tmp_path, columns={"question": "text"})
    path = tmp_path / "data" / "rows.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"rows\.parquet: is damaged, or no Parquet"):
        read(tmp_path)


def test_rows_are_numbered_over_batches_and_gzip_is_told_by_content(tmp_path):
    write(tmp_path, pa.array([PICTURE, OTHER] * 50))
    path = tmp_path / "data" / "rows.parquet"
    path.write_bytes(gzip.compress(path.read_bytes()))
    rows = read(tmp_path)
    assert [raw.locator.record for raw in rows] == list(range(100))
    assert [raw.image.sha256 for raw in rows] == [SHA, OTHER_SHA] * 50


# --------------------------------------------------------------------------------------------------------- recognition


def recognize(path: Path) -> dict[str, Any] | None:
    sample = take_sample(path, "data/rows.parquet").sample
    found = get_format(make_source()).recognize(sample)
    return None if found is None else dict(found.settings)


def test_a_question_beside_bytes_is_recognised_in_every_encoding(tmp_path):
    columns = {"question": "question", "answers": "answers", "id": "qid", "image": "picture"}
    held = {"bytes": PICTURE, "path": None}
    for images in (pa.array([held], STRUCT), pa.array([PICTURE]), pa.array([[held]], pa.list_(STRUCT))):
        table = pa.table({"question": ["what?"], "answers": ["red"], "qid": [1], "picture": images})
        pq.write_table(table, tmp_path / "rows.parquet")
        assert recognize(tmp_path / "rows.parquet") == {"files": "data/rows.parquet", "columns": columns}


def test_parquet_without_bytes_or_without_a_question_is_left_to_others(tmp_path):
    pq.write_table(pa.table({"image": ["1.png"], "question": ["what?"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"image": [PICTURE], "label": [1]}), tmp_path / "b.parquet")
    assert [recognize(tmp_path / name) for name in ("a.parquet", "b.parquet")] == [None, None]


def test_the_first_records_can_be_read_alone(tmp_path):
    write(tmp_path, pa.array([PICTURE, OTHER, PICTURE]))
    assert [raw.locator.record for raw in get_format(make_source()).read(make_source(), tmp_path, 2)] == [0, 1]


# ------------------------------------------------------------------------------------------------------------ upstream


@pytest.mark.slow
def test_what_datasets_writes_today_is_read(tmp_path):
    """Images come out as bytes or, when they were given as paths, as absolute paths without bytes."""
    import datasets

    features = datasets.Features(
        {
            "image": datasets.Image(),
            "question": datasets.Value("string"),
            "answers": datasets.ClassLabel(names=["red", "blue"]),
        }
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "2.png").write_bytes(OTHER)
    rows = {
        "image": [{"bytes": PICTURE, "path": None}, str(tmp_path / "2.png")],
        "question": ["what?", "and this?"],
        "answers": [1, 0],
    }
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "data" / "train.parquet")
    first, second = ask(tmp_path)
    assert (first["image"], first["answers"][0]["answer"], first["split"]) == (SHA, "blue", "train")
    assert (second["image"], second["answers"][0]["answer"]) == (str(tmp_path / "2.png"), "red")
    assert [raw.image for raw in read(tmp_path)] == [EmbeddedImage(SHA, PICTURE), None]

"""Tar shards: members of one name are a record, wherever they stand, whatever dots are in it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import EmbeddedImage, QuestionFields, RawRecord
from vqa_pipeline.sources.formats import get_format
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.formats.webdataset import WebDatasetFormat, WebDatasetSource
from vqa_pipeline.sources.samples import take_sample

ONE, TWO = b"\xff\xd8 one", b"\xff\xd8 two"
SHA_ONE, SHA_TWO = hashlib.sha256(ONE).hexdigest(), hashlib.sha256(TWO).hexdigest()
ASKED = json.dumps({"question": "what?", "answers": ["red"], "id": 7}).encode()


def pack(*members: tuple[str, bytes], encoding: str = "utf-8") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT, encoding=encoding) as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def make_source(**settings: Any) -> WebDatasetSource:
    return WebDatasetSource.model_validate({"name": "shards", "format": "webdataset", "files": "*.tar", **settings})


def read(root: Path, **settings: Any) -> list[RawRecord]:
    source = make_source(**settings)
    return list(get_format(source).read(source, root))


def ask(root: Path, **settings: Any) -> list[QuestionFields | tuple[str, str]]:
    """Fields of each record, or the rule and reason by which it is refused."""
    source = make_source(**settings)
    parse = get_format(source).build_parser(source, root)
    asked: list[QuestionFields | tuple[str, str]] = []
    for raw in get_format(source).read(source, root):
        try:
            asked.append(parse(raw))
        except MalformedRecord as error:
            asked.append((error.rule, error.reason))
    return asked


def test_members_of_one_name_are_a_record(tmp_path):
    (tmp_path / "train-000.tar").write_bytes(pack(("a/1.jpg", ONE), ("a/1.json", ASKED), ("a/1.txt", b"a note\r\n")))
    (raw,) = read(tmp_path)
    assert raw.image == EmbeddedImage(SHA_ONE, ONE, "a/1.jpg")
    assert (raw.locator.file, raw.locator.record) == ("train-000.tar", 0)
    assert json.loads(raw.payload) == {
        "__key__": "a/1",
        "__image__": {"sha256": SHA_ONE, "num_bytes": 6, "path": "a/1.jpg"},
        "__twice__": [],
        "question": "what?",
        "answers": ["red"],
        "id": 7,
        "txt": "a note",
    }
    (fields,) = ask(tmp_path)
    assert (fields["image"], fields["question"], fields["native_id"], fields["split"]) == (
        SHA_ONE,
        "what?",
        None,
        "train",
    )
    assert ask(tmp_path, columns={"id": "id", "answers": "txt"})[0]["native_id"] == 7


def test_texts_beside_the_image_are_fields_by_their_extension(tmp_path):
    (tmp_path / "a.tar").write_bytes(pack(("1.png", ONE), ("1.txt", b"which digit?\n"), ("1.cls", b"8")))
    (fields,) = ask(tmp_path, columns={"question": "txt", "answers": "cls"})
    assert (fields["question"], fields["answers"][0]["answer"]) == ("which digit?", "8")


def test_members_need_not_stand_together(tmp_path):
    members = [("1.jpg", ONE), ("2.jpg", TWO), ("2.json", ASKED), ("1.json", ASKED)]
    for content in (pack(*members), gzip.compress(pack(*members))):
        (tmp_path / "a.tar").write_bytes(content)
        records = read(tmp_path)
        assert [json.loads(raw.payload)["__key__"] for raw in records] == ["2", "1"]
        assert [raw.image.sha256 for raw in records] == [SHA_TWO, SHA_ONE]
        assert [raw.locator.record for raw in records] == [0, 1]


def test_dots_in_a_folder_are_no_matter_and_dots_in_a_name_end_it(tmp_path):
    (tmp_path / "a.tar").write_bytes(pack(("v1.2/1.left.png", ONE), ("v1.2/1.json", ASKED)))
    (fields,) = ask(tmp_path)
    assert fields["image"] == SHA_ONE
    members = [("img.v1.png", ONE), ("img.v1.json", ASKED), ("img.v2.png", TWO), ("img.v2.json", ASKED)]
    (tmp_path / "a.tar").write_bytes(pack(*members))
    assert ask(tmp_path) == [
        (
            "images_several",
            "'img' has 2 images ('img.v1.png', 'img.v2.png'); a record's name ends at the first dot",
        )
    ]


def test_one_of_several_images_can_be_chosen(tmp_path):
    (tmp_path / "a.tar").write_bytes(pack(("1.mask.png", TWO), ("1.rgb.png", ONE), ("1.json", ASKED)))
    assert [rule for rule, _ in ask(tmp_path)] == ["images_several"]
    (raw,) = read(tmp_path, columns={"image": "rgb.png"})
    assert raw.image == EmbeddedImage(SHA_ONE, ONE, "1.rgb.png")
    assert json.loads(raw.payload)["mask.png"] == {"path": "1.mask.png", "num_bytes": 6}
    assert ask(tmp_path, columns={"image": "jpg"}) == [("image_path_empty", "'1' has no member 'jpg'")]


def test_equal_names_in_several_shards_are_records_of_their_own(tmp_path):
    (tmp_path / "a.tar").write_bytes(pack(("1.jpg", ONE), ("1.json", ASKED)))
    (tmp_path / "b.tar").write_bytes(pack(("1.jpg", TWO), ("1.json", ASKED)))
    assert [(raw.locator.file, raw.image.sha256) for raw in read(tmp_path)] == [("a.tar", SHA_ONE), ("b.tar", SHA_TWO)]
    assert [fields["native_id"] for fields in ask(tmp_path)] == [None, None]
    assert [fields["native_id"] for fields in ask(tmp_path, columns={"id": "__key__"})] == ["1", "1"]


def test_a_member_that_stands_there_twice_costs_its_record(tmp_path):
    members = [
        ("1.jpg", ONE),
        ("1.json", ASKED),
        ("1.json", b'{"question": "who?"}'),
        ("2.jpg", TWO),
        ("2.json", ASKED),
    ]
    (tmp_path / "a.tar").write_bytes(pack(*members))
    first, second = ask(tmp_path)
    assert first == ("record_malformed", "'1' has 'json' more than once")
    assert second["image"] == SHA_TWO
    (tmp_path / "a.tar").write_bytes(pack(("1.jpg", ONE), ("1.jpg", TWO), ("1.json", ASKED)))
    assert [rule for rule, _ in ask(tmp_path)] == ["images_several"]


def test_records_without_image_or_question_are_refused_and_junk_is_none(tmp_path):
    members = [("README", b"hello"), ("._1.jpg", b"side file"), ("1.json", ASKED), ("2.jpg", ONE), ("2.cls", b"3")]
    (tmp_path / "a.tar").write_bytes(pack(*members))
    assert ask(tmp_path) == [
        ("image_path_empty", "'1' has no image"),
        ("record_malformed", "the row has no `question`"),
    ]


def test_json_that_is_none_stays_text_and_cannot_claim_what_is_ours(tmp_path):
    forged = json.dumps({"__image__": {"sha256": SHA_TWO}, "__key__": "x", "__twice__": ["y"], "question": "q?"})
    (tmp_path / "a.tar").write_bytes(
        pack(("1.jpg", ONE), ("1.json", forged.encode()), ("2.jpg", TWO), ("2.json", b"{"))
    )
    first, second = read(tmp_path)
    payload = json.loads(first.payload)
    assert (payload["__key__"], payload["__image__"]["sha256"], payload["__twice__"]) == ("1", SHA_ONE, [])
    assert json.loads(second.payload)["json"] == "{"


def test_pickles_and_other_bytes_are_never_read_as_fields(tmp_path):
    import pickle

    (tmp_path / "a.tar").write_bytes(
        pack(("1.jpg", ONE), ("1.pyd", pickle.dumps({"question": "q?"})), ("1.json", ASKED))
    )
    (raw,) = read(tmp_path)
    assert json.loads(raw.payload)["pyd"] == {"num_bytes": len(pickle.dumps({"question": "q?"}))}


def test_a_name_that_is_no_utf_8_costs_its_record(tmp_path):
    members = [("café.jpg", ONE), ("café.json", ASKED), ("2.jpg", TWO), ("2.json", ASKED)]
    (tmp_path / "a.tar").write_bytes(pack(*members, encoding="latin-1"))
    first, second = ask(tmp_path)
    assert first[0] == "record_not_utf_8"
    assert second["image"] == SHA_TWO


def test_links_are_told_and_not_followed(tmp_path):
    file = io.BytesIO(pack(("1.json", ASKED)))
    with tarfile.open(fileobj=file, mode="a") as archive:
        link = tarfile.TarInfo("1.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    (tmp_path / "a.tar").write_bytes(file.getvalue())
    (raw,) = read(tmp_path)
    assert (raw.image, json.loads(raw.payload)["jpg"]) == (None, {"unreadable": "is a link"})
    assert ask(tmp_path) == [("image_path_empty", "'1' has no image")]


def test_a_damaged_shard_is_told_by_name(tmp_path):
    (tmp_path / "a.tar").write_bytes(pack(("1.jpg", ONE * 200), ("1.json", ASKED))[:1000])
    with pytest.raises(SourceError, match=r"a\.tar: is no tar archive, or damaged"):
        read(tmp_path)
    (tmp_path / "a.tar").write_bytes(gzip.compress(pack(("1.jpg", ONE)))[:40])
    with pytest.raises(SourceError, match=r"a\.tar: is no tar archive, or damaged \(Compressed file ended"):
        read(tmp_path)


def test_records_whose_members_lie_too_far_apart_are_no_danger_to_memory(tmp_path):
    careful = WebDatasetFormat(most_held_bytes=10)
    together = pack(
        ("1.jpg", ONE), ("1.json", ASKED), ("2.jpg", TWO), ("2.json", ASKED), ("3.jpg", TWO), ("3.json", ASKED)
    )
    (tmp_path / "a.tar").write_bytes(together)
    assert len(list(careful.read(make_source(), tmp_path))) == 3
    (tmp_path / "a.tar").write_bytes(pack(("1.jpg", ONE), ("2.jpg", TWO), ("1.json", ASKED), ("2.json", ASKED)))
    with pytest.raises(SourceError, match="more than 10 bytes of images lie between the members of a record"):
        list(careful.read(make_source(), tmp_path))


@given(st.permutations([("1.jpg", ONE), ("1.json", ASKED), ("2.jpg", TWO), ("2.json", ASKED), ("3.json", ASKED)]))
def test_the_order_of_members_changes_no_record(tmp_path_factory, members):
    root = tmp_path_factory.mktemp("order")
    (root / "a.tar").write_bytes(pack(*members))
    found = {json.loads(raw.payload)["__key__"]: raw.image and raw.image.sha256 for raw in read(root)}
    assert found == {"1": SHA_ONE, "2": SHA_TWO, "3": None}


# --------------------------------------------------------------------------------------------------------- recognition


def recognize(path: Path) -> dict[str, Any] | None:
    found = WebDatasetFormat().recognize(take_sample(path, path.name).sample)
    return None if found is None else dict(found.settings)


def test_images_with_texts_of_the_same_name_are_recognised(tmp_path):
    (tmp_path / "a.tar").write_bytes(pack(("1.jpg", ONE), ("1.json", ASKED)))
    (tmp_path / "b.tgz").write_bytes(gzip.compress(pack(("1.jpg", ONE), ("1.txt", b"what?"), ("1.cls", b"3"))))
    assert recognize(tmp_path / "a.tar") == {"files": "a.tar"}
    assert recognize(tmp_path / "b.tgz") == {"files": "b.tgz", "columns": {"question": "txt", "answers": "cls"}}


def test_archives_of_images_alone_and_other_archives_are_left_to_others(tmp_path):
    (tmp_path / "a.tar").write_bytes(pack(("1.jpg", ONE), ("2.jpg", TWO)))
    (tmp_path / "b.tar").write_bytes(pack(("questions.json", ASKED), ("images/1.jpg", ONE)))
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("1.jpg", ONE)
        archive.writestr("1.json", ASKED)
    assert [recognize(tmp_path / name) for name in ("a.tar", "b.tar", "c.zip")] == [None, None, None]


def test_the_first_records_can_be_read_alone(tmp_path):
    (tmp_path / "a.tar").write_bytes(pack(("1.jpg", ONE), ("1.json", ASKED), ("2.jpg", TWO), ("3.jpg", ONE)))
    assert [raw.locator.record for raw in WebDatasetFormat().read(make_source(), tmp_path, 2)] == [0, 1]

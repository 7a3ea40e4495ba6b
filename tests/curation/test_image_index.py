"""Which file of an image root a reference means, what was mended to find it, and what is too uncertain to be mended."""

from __future__ import annotations

import pickle
import unicodedata
from typing import Any

import pytest
from curation_world import write_files
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vqa_pipeline.curation.image_index import ImageIndex
from vqa_pipeline.curation.image_roots import Folder
from vqa_pipeline.curation.paths import check_reference
from vqa_pipeline.sources.formats.format import MalformedRecord

ROOT = (
    "1.png",
    "a/1.png",
    "a/My Cat.jpeg",
    "a/b/Deep.PNG",
    "largo/größe.png",
    "nfd/" + unicodedata.normalize("NFD", "café.jpg"),
    "coco/COCO_val2014_000000262148.jpg",
    "coco/COCO_train2014_000000000009.jpg",
    "2017/000000000042.jpg",
    "abstract/abstract_v002_train2015_000000011779.png",
    "clevr/CLEVR_val_000007.png",
    "textvqa/003a8ae2ef43b901.jpg",
    "plain",
    "100%25.png",
    "notes/7.txt",
    "fig.3.png",
)


def index(*names: str, root_name: str = "images") -> ImageIndex:
    return ImageIndex(names or ROOT, root_name)


def refuse(reference: str, *names: str) -> MalformedRecord:
    with pytest.raises(MalformedRecord) as caught:
        index(*names).find(reference)
    return caught.value


# ------------------------------------------------------------------------------------------------------------- mended


@pytest.mark.parametrize("name", ROOT)
def test_a_name_of_the_index_is_itself(name):
    assert index().find(name) == (name, [])


NFD_CAFE = "nfd/" + unicodedata.normalize("NFD", "café.jpg")
MENDED: list[tuple[str, list[tuple[str, str]]]] = [
    ("a/My%20Cat.jpeg", [("url_escape", "a/My Cat.jpeg")]),
    ("a%2F1.png", [("url_escape", "a/1.png")]),
    ("a%5c1.png", [("url_escape", "a\\1.png"), ("backslash", "a/1.png")]),
    ("largo/gr%C3%B6%C3%9Fe.png", [("url_escape", "largo/größe.png")]),
    ("100%2525.png", [("url_escape", "100%25.png")]),
    ("file:/mnt/data/a/1.png", [("file_address", "/mnt/data/a/1.png"), ("absolute_path", "a/1.png")]),
    ("file:/host/a/1.png", [("file_address", "/host/a/1.png"), ("absolute_path", "a/1.png")]),
    ("file:a/1.png", [("file_address", "a/1.png")]),
    (
        "FILE:/C:/data/a/My%20Cat.jpeg",
        [
            ("url_escape", "FILE:/C:/data/a/My Cat.jpeg"),
            ("file_address", "/C:/data/a/My Cat.jpeg"),
            ("drive_letter", "/data/a/My Cat.jpeg"),
            ("absolute_path", "a/My Cat.jpeg"),
        ],
    ),
    ("C:/data/a/1.png", [("drive_letter", "/data/a/1.png"), ("absolute_path", "a/1.png")]),
    ("d:a/1.png", [("drive_letter", "a/1.png")]),
    ("/a/1.png", [("absolute_path", "a/1.png")]),
    ("/home/me/vqa/images/a/b/Deep.PNG", [("absolute_path", "a/b/Deep.PNG")]),
    ("/1.png", [("absolute_path", "1.png")]),
    ("/other/1.png", [("absolute_path", "1.png")]),
    ("~/vqa/a/1.png", [("absolute_path", "a/1.png")]),
    ("~me/a/1.png", [("absolute_path", "a/1.png")]),
    ("/?/C:/data/a/1.png", [("absolute_path", "a/1.png")]),
    ("images/a/1.png", [("root_folder", "a/1.png")]),
    ("images/A/1.PNG", [("root_folder", "A/1.PNG"), ("letter_case", "a/1.png")]),
    ("A/B/deep.png", [("letter_case", "a/b/Deep.PNG")]),
    ("LARGO/GRÖSSE.png", [("letter_case", "largo/größe.png")]),
    ("/mnt/A/My cat.JPEG", [("absolute_path", "A/My cat.JPEG"), ("letter_case", "a/My Cat.jpeg")]),
    ("nfd/café.jpg", [("unicode_form", NFD_CAFE)]),
    ("nfd/CAFÉ.jpg", [("unicode_form", unicodedata.normalize("NFD", "nfd/CAFÉ.jpg")), ("letter_case", NFD_CAFE)]),
    (
        unicodedata.normalize("NFD", "largo/größe.png"),
        [("unicode_form", "largo/größe.png")],
    ),
    ("textvqa/003a8ae2ef43b901", [("extension", "textvqa/003a8ae2ef43b901.jpg")]),
    ("a/My Cat.jpg", [("extension", "a/My Cat.jpeg")]),
    ("a/my cat.PNG", [("extension", "a/my cat.jpeg"), ("letter_case", "a/My Cat.jpeg")]),
    ("plain.png", [("extension", "plain")]),
    ("fig.3", [("extension", "fig.3.png")]),
    ("fig.3.tiff", [("extension", "fig.3.png")]),
    ("coco/262148.jpg", [("zero_padding", "coco/COCO_val2014_000000262148.jpg")]),
    ("coco/COCO_val2014_262148.jpg", [("zero_padding", "coco/COCO_val2014_000000262148.jpg")]),
    ("coco/000000262148.jpg", [("zero_padding", "coco/COCO_val2014_000000262148.jpg")]),
    ("coco/9", [("extension", "coco/9.jpg"), ("zero_padding", "coco/COCO_train2014_000000000009.jpg")]),
    ("2017/COCO_train2014_000000000042.jpg", [("zero_padding", "2017/000000000042.jpg")]),
    ("2017/42.jpg", [("zero_padding", "2017/000000000042.jpg")]),
    ("abstract/11779.png", [("zero_padding", "abstract/abstract_v002_train2015_000000011779.png")]),
    ("clevr/CLEVR_val_7.png", [("zero_padding", "clevr/CLEVR_val_000007.png")]),
    (
        "/x/coco/coco_VAL2014_262148",
        [
            ("absolute_path", "coco/coco_VAL2014_262148"),
            ("extension", "coco/coco_VAL2014_262148.jpg"),
            ("zero_padding", "coco/COCO_val2014_000000262148.jpg"),
        ],
    ),
]


@pytest.mark.parametrize(("reference", "steps"), MENDED)
def test_a_reference_that_one_file_fits_is_mended_step_by_step(reference, steps):
    found = index().find(reference)
    assert [(repair["kind"], repair["after"]) for repair in found.repairs] == steps
    assert found.name == steps[-1][1]
    befores = [reference, *(after for _, after in steps[:-1])]
    assert [repair["before"] for repair in found.repairs] == befores


@pytest.mark.parametrize(
    ("reference", "names", "name"),
    [
        ("1.JPG", ("1.jpg", "1.png"), "1.jpg"),  # case before extension
        ("1.JPG", ("01.jpg", "1.png"), "01.jpg"),  # zeros before extension
        ("1.JPG", ("1.jpg", "01.jpg"), "1.jpg"),  # case before zeros
        ("é.jpg", (unicodedata.normalize("NFD", "é.jpg"), "É.jpg"), unicodedata.normalize("NFD", "é.jpg")),
        ("/x/a/1.png", ("1.png", "a/1.png"), "a/1.png"),  # the longest end
        ("/x/images/a/1.png", ("images/a/1.png", "a/1.png"), "images/a/1.png"),
        ("a%20b.png", ("a%20b.png", "a b.png"), "a%20b.png"),  # as it is written
        ("images/1.png", ("images/1.png", "1.png"), "images/1.png"),
        ("C:1.png", ("C:1.png", "1.png"), "C:1.png"),
        ("7.png", ("7.txt", "7.json", "07.png"), "07.png"),  # what is no image's extension is part of the name
        ("COCO_val2014_7.jpg", ("COCO_train2014_000000000007.jpg", "000000000007.jpg"), "000000000007.jpg"),
    ],
)
def test_of_several_files_the_one_that_is_plainly_closest_is_meant(reference, names, name):
    assert index(*names).find(reference).name == name


# ---------------------------------------------------------------------------------------------------------- ambiguous


@pytest.mark.parametrize(
    ("reference", "names"),
    [
        ("1", ("1.jpg", "1.png")),
        ("1.bmp", ("1.jpg", "1.png")),
        ("A.PNG", ("a.png", "A.png")),
        ("262148.jpg", ("COCO_train2014_000000262148.jpg", "COCO_val2014_000000262148.jpg")),
        ("7.png", ("007.png", "07.png")),
        ("/x/a/1.png", ("1.png", "a/1.jpg")),  # a longer end with another extension, or a shorter one as it is
        ("images/a.png", ("a.png", "images/A.png")),
        ("a%20b.PNG", ("a b.PNG", "a%20b.png")),
    ],
)
def test_when_more_than_one_file_fits_none_is_taken_and_all_are_named(reference, names):
    error = refuse(reference, *names)
    assert (error.rule, error.reason) == ("image_ambiguous", f"{reference} may mean {', '.join(sorted(names))}")
    assert error.fix == "Write the name of the one that is meant."


def test_of_many_candidates_four_are_named():
    error = refuse("1", *(f"1.{extension}" for extension in ("bmp", "gif", "jpg", "png", "tif", "webp")))
    assert error.reason == "1 may mean 1.bmp, 1.gif, 1.jpg, 1.png and 2 more"


def test_a_file_name_that_a_terminal_would_obey_is_told_in_escapes():
    assert refuse("a", "a.png", "a.\x1b[2J", "a.jpg").reason == "a may mean a.jpg, a.png"
    assert refuse("A\x1b[2J", "a\x1b[2J.png", "a\x1b[2J.jpg").reason.endswith(
        "may mean 'a\\x1b[2J.jpg', 'a\\x1b[2J.png'"
    )
    assert refuse("b/c.png", "a/c\n.png", "c\u202e.png", "b/c.pngs").fix.endswith("Near it: b/c.pngs.")
    assert refuse("b/c\n.png", "a/c\n.png").fix.endswith("Near it: 'a/c\\n.png'.")


# ------------------------------------------------------------------------------------------------------------ missing


@pytest.mark.parametrize(
    ("reference", "rule"),
    [
        ("2.png", "image_missing"),
        ("b/1.png", "image_missing"),  # of another folder: a `source.jpg` lies in each of SLAKE's
        ("other/a/1.png", "image_missing"),
        ("My Cat.jpeg", "image_missing"),
        ("a", "image_missing"),
        ("a/b", "image_missing"),
        ("notes/7.png", "image_missing"),
        ("coco/COCO_train2014_000000262148.jpg", "image_missing"),
        ("a/01.5.png", "image_missing"),
        ("a/My%2520Cat.jpeg", "image_missing"),
        ("a/My%FFCat.jpeg", "image_missing"),
        ("/data/b/2.png", "image_path_absolute"),
        ("~/2.png", "image_path_absolute"),
        ("/etc/passwd", "image_path_absolute"),
        ("file:/etc/passwd", "image_path_absolute"),
        ("file:2.png", "image_path_absolute"),
        ("C:/data/2.png", "image_path_drive"),
        ("z:2.png", "image_path_drive"),
        ("%2e%2e/1.png", "image_path_parent"),
        ("a/%2E%2e%2f1.png", "image_path_parent"),
        ("1.png%00.jpg", "image_path_nul"),
        ("a/%0a.png", "image_path_control"),
        ("a%5cnul.png", "image_path_reserved"),
        ("%20", "image_path_empty"),
        ("http%3A%2F%2Fexample.org%2F1.png", "image_path_scheme"),
    ],
)
def test_a_reference_that_no_file_fits_is_refused_by_its_rule(reference, rule):
    assert refuse(reference).rule == rule


def test_a_missing_file_is_told_with_the_names_near_it():
    told = {name: refuse(name).fix for name in ("b/1.png", "a/My Cats.jpeg", "zebra.png", "/x/Deep.png", "C:/9")}
    assert told == {
        "b/1.png": "Bring the file, or correct the reference. Near it: 1.png, a/1.png.",
        "a/My Cats.jpeg": "Bring the file, or correct the reference. Near it: a/My Cat.jpeg.",
        "zebra.png": "Bring the file, or correct the reference.",
        "/x/Deep.png": "Bring the file, or make the reference relative to the source's `image_root`. "
        "Near it: a/b/Deep.PNG.",
        "C:/9": "Bring the file, or make the reference relative to the source's `image_root`. "
        "Near it: coco/COCO_train2014_000000000009.jpg.",
    }


def test_of_an_empty_root_everything_is_missing():
    assert refuse("1.png", "x").rule == "image_missing"
    with pytest.raises(MalformedRecord, match="no end of it names a file"):
        ImageIndex([]).find("/a/1.png")


# ------------------------------------------------------------------------------------------------------------- always


def test_an_index_is_what_lies_in_a_folder(tmp_path):
    write_files(tmp_path / "images", {"1.png": b"", "a/2.png": b""})
    write_files(tmp_path, {"secret.png": b""})
    (tmp_path / "images" / "out.png").symlink_to("../secret.png")
    (tmp_path / "images" / "in.png").symlink_to("1.png")
    root = Folder(tmp_path / "images")
    assert (root.list_names(), root.name) == (["1.png", "a/2.png", "in.png"], "images")


def test_names_that_are_no_text_are_left_out():
    assert ImageIndex(["\udcff.png", "é.png"]).names == {"é.png"}


def test_an_index_can_be_sent_to_another_process():
    sent = pickle.loads(pickle.dumps(index()))
    assert sent.find("a/MY CAT.JPEG") == index().find("a/MY CAT.JPEG")


NAMES = st.sampled_from(
    [
        "1.png",
        "01.png",
        "1.jpg",
        "A.png",
        "a.PNG",
        "a",
        "é.png",
        "e\u0301.png",
        "coco_val2014_1.png",
        "%31.png",
        "x y.gif",
    ]
)
FOLDERS = st.sampled_from(["", "a/", "A/", "images/", "a/b/", "é/"])
PATHS = st.builds(str.__add__, FOLDERS, NAMES)
FRONTS = st.sampled_from(["", "/", "~/", "C:/", "file:/", "file:///C:\\", "images/", "/mnt/a/", "./", "%2e%2e/", "../"])


def mean(reference: str, names: set[str]) -> Any:
    try:
        tidy, _ = check_reference(reference)
        return ImageIndex(names, "images").find(tidy)
    except MalformedRecord as error:
        return error.rule


@settings(deadline=None)
@given(st.sets(PATHS, min_size=1), st.builds(str.__add__, FRONTS, PATHS | st.text(max_size=10)))
@example({"1.png"}, "/\x001.png")
@example({"a/1.png"}, "images/%61/1")
def test_what_is_found_is_in_the_index_and_its_repairs_lead_to_it(names, reference):
    found = mean(reference, names)
    if isinstance(found, str):
        assert found.startswith("image_")
        return
    assert found.name in names
    tidy, _ = check_reference(reference)
    steps = [tidy, *(repair["after"] for repair in found.repairs)]
    assert [repair["before"] for repair in found.repairs] == steps[:-1]
    assert steps[-1] == found.name
    assert all(before != after for before, after in zip(steps, steps[1:], strict=False))


@settings(deadline=None)
@given(st.sets(PATHS, min_size=1, max_size=8), st.builds(str.__add__, FRONTS, PATHS), PATHS)
def test_another_file_never_turns_the_meaning_of_a_reference_into_a_third_one(names, reference, new):
    """It may become the meaning or make it uncertain, but a file that was not meant before stays so."""
    before, after = mean(reference, names), mean(reference, names | {new})
    if not isinstance(after, str) and after.name != new and not isinstance(before, str):
        assert after == before


@settings(deadline=None)
@given(st.sets(PATHS, min_size=1))
def test_a_file_is_always_found_by_its_own_name(names):
    for name in names:
        tidy, _ = check_reference(name)
        if tidy == name:
            assert mean(name, names) == (name, [])

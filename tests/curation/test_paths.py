"""Image references: what is refused and why, what is repaired, and that nothing ever leads out of the image root."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vqa_pipeline.curation.paths import MAX_LENGTH, check_reference, resolve_reference
from vqa_pipeline.sources.formats.format import MalformedRecord

# ------------------------------------------------------------------------------------------------------------ refused

HOSTILE = [
    ("", "image_path_empty"),
    (" ", "image_path_empty"),
    ("\t\n", "image_path_empty"),
    ("\u3000", "image_path_empty"),
    (".", "image_path_empty"),
    ("./", "image_path_empty"),
    (".\\.", "image_path_empty"),
    ("./ ", "image_path_empty"),
    ("/", "image_path_empty"),
    ("\\\\", "image_path_empty"),
    ("/./ ", "image_path_empty"),
    ("C:", "image_path_empty"),
    ("C:\\", "image_path_empty"),
    ("file:", "image_path_empty"),
    ("file:///", "image_path_empty"),
    ("file:///C:/", "image_path_empty"),
    ("..", "image_path_parent"),
    ("../1.png", "image_path_parent"),
    ("..\\1.png", "image_path_parent"),
    ("a/../1.png", "image_path_parent"),
    ("a/..", "image_path_parent"),
    ("a\\..\\..\\1.png", "image_path_parent"),
    ("a/..\\1.png", "image_path_parent"),
    ("./../1.png", "image_path_parent"),
    (".//..//1.png", "image_path_parent"),
    (".. /1.png", "image_path_parent"),
    (" ../1.png", "image_path_parent"),
    ("a/ .. /1.png", "image_path_parent"),
    ("a/..\u00a0/1.png", "image_path_parent"),
    ("/../1.png", "image_path_parent"),
    ("/data/../../etc/passwd", "image_path_parent"),
    ("\\\\?\\C:\\..\\1.png", "image_path_parent"),
    ("~/../1.png", "image_path_parent"),
    ("C:..\\1.png", "image_path_parent"),
    ("C:\\..\\..\\1.png", "image_path_parent"),
    ("./C:/../1.png", "image_path_parent"),
    ("file:..", "image_path_parent"),
    ("file:///../etc/passwd", "image_path_parent"),
    ("FILE:///C:/../1.png", "image_path_parent"),
    ("http://example.org/1.png", "image_path_scheme"),
    ("HTTPS://example.org/../1.png", "image_path_scheme"),
    ("ftp://host/1.png", "image_path_scheme"),
    ("s3://bucket/1.png", "image_path_scheme"),
    ("hdfs://haruna/1.png", "image_path_scheme"),
    ("git+ssh://host/1.png", "image_path_scheme"),
    ("http:\\\\example.org\\1.png", "image_path_scheme"),
    ("1.png\0", "image_path_nul"),
    ("1.png\0.jpg", "image_path_nul"),
    ("\0", "image_path_nul"),
    ("../\0", "image_path_nul"),
    ("1\n.png", "image_path_control"),
    ("1.png\r", "image_path_control"),
    ("a\t1.png", "image_path_control"),
    ("\x1b[31m1.png", "image_path_control"),
    ("1\x7f.png", "image_path_control"),
    ("con", "image_path_reserved"),
    ("AUX.png", "image_path_reserved"),
    ("nul.tar.gz", "image_path_reserved"),
    ("images/prn.png", "image_path_reserved"),
    ("images/Com1/1.png", "image_path_reserved"),
    ("images\\lpt9", "image_path_reserved"),
    ("./nul", "image_path_reserved"),
    ("C:aux.png", "image_path_reserved"),
    ("/dev/con", "image_path_reserved"),
    ("file:///nul.png", "image_path_reserved"),
    ("a" * (MAX_LENGTH + 1), "image_path_too_long"),
    ("a/" * 600 + "1.png", "image_path_too_long"),
    ("../" * 400, "image_path_too_long"),
]


@pytest.mark.parametrize(("reference", "rule"), HOSTILE)
def test_a_hostile_reference_is_refused_by_its_rule(reference, rule):
    with pytest.raises(MalformedRecord) as caught:
        check_reference(reference)
    assert caught.value.rule == rule


def test_a_reason_names_the_reference_and_the_fix_says_what_to_do():
    with pytest.raises(MalformedRecord) as caught:
        check_reference("images\\aux.png")
    assert caught.value.reason == "the image reference 'images\\\\aux.png' names the device 'aux.png'"
    assert caught.value.fix == "Rename the file."
    with pytest.raises(MalformedRecord) as caught:
        check_reference("a" * 1025)
    assert caught.value.reason == "the image reference has 1025 characters, more than 1024"


def test_a_reason_shows_no_control_character_and_only_the_start_of_a_long_reference():
    with pytest.raises(MalformedRecord) as caught:
        check_reference("\x1b[2J" + "a" * 900)
    assert "\x1b" not in caught.value.reason
    assert len(caught.value.reason) < 150


# ------------------------------------------------------------------------------------------------ untouched, repaired


@pytest.mark.parametrize(
    "reference",
    [
        "1.png",
        "train2014/COCO_train2014_000000458752.jpg",
        "a/b/c/d-e_f.g.jpeg",
        "UPPER/Case.JPG",
        "with blank.png",
        " 1.png",
        "größe/日本.png",
        ".hidden/1.png",
        "..1.png",
        "a../1..png",
        "...",
        "a/~/1.png",
        "1~.png",
        "ab:c/1.png",
        "constant/console.png",
        "com10.png",
        "aux_1.png",
        "lpt0/null.png",
        "100%.png",
        "a?b#c.png",
        "a" * MAX_LENGTH,
    ],
)
def test_a_clean_reference_is_left_as_it_is(reference):
    assert check_reference(reference) == (reference, [])


def test_a_backslash_becomes_a_slash_and_the_repair_is_recorded():
    assert check_reference("drawn\\by-hand\\1.png") == (
        "drawn/by-hand/1.png",
        [{"kind": "backslash", "before": "drawn\\by-hand\\1.png", "after": "drawn/by-hand/1.png"}],
    )


@pytest.mark.parametrize("reference", ["./a/1.png", "a//1.png", "a/./1.png", "a/1.png/", "a/1.png/."])
def test_parts_that_say_nothing_are_left_out_and_the_repair_is_recorded(reference):
    repair = {"kind": "redundant_part", "before": reference, "after": "a/1.png"}
    assert check_reference(reference) == ("a/1.png", [repair])


def test_two_repairs_are_recorded_in_the_order_in_which_they_were_made():
    assert check_reference(".\\a\\\\1.png") == (
        "a/1.png",
        [
            {"kind": "backslash", "before": ".\\a\\\\1.png", "after": "./a//1.png"},
            {"kind": "redundant_part", "before": "./a//1.png", "after": "a/1.png"},
        ],
    )


@pytest.mark.parametrize(
    ("reference", "tidy", "kinds"),
    [
        ("/data/1.png", "/data/1.png", []),
        ("//server/share/1.png", "/server/share/1.png", ["redundant_part"]),
        ("\\1.png", "/1.png", ["backslash"]),
        ("\\\\server\\share\\1.png", "/server/share/1.png", ["backslash", "redundant_part"]),
        ("\\\\?\\C:\\1.png", "/?/C:/1.png", ["backslash", "redundant_part"]),
        ("~", "~", []),
        ("~root/1.png", "~root/1.png", []),
        ("./~/1.png", "~/1.png", ["redundant_part"]),
        ("C:\\images\\1.png", "C:/images/1.png", ["backslash"]),
        ("C:\\\\images\\\\1.png", "C:/images/1.png", ["backslash", "redundant_part"]),
        ("c://images/1.png", "c:/images/1.png", ["redundant_part"]),
        ("z:1.png", "z:1.png", []),
        ("./C:/1.png", "C:/1.png", ["redundant_part"]),
        ("file:///data/a%20b.png", "file:/data/a%20b.png", ["redundant_part"]),
        ("file:1.png", "file:1.png", []),
    ],
)
def test_another_machines_path_is_passed_on_to_be_found_by_its_end(reference, tidy, kinds):
    found, repairs = check_reference(reference)
    assert (found, [repair["kind"] for repair in repairs]) == (tidy, kinds)


PIECES = st.sampled_from(
    ["..", ".", "/", "\\", "~", "C:", "a", "1.png", " ", "\0", "\n", "aux", "nul.", "http://", "é", "\u00a0", ":", "-"]
    + ["file:", "//", "%2e", "%2f"]
)
REFERENCES = st.text() | st.lists(PIECES, max_size=8).map("".join)


@settings(deadline=None)
@given(REFERENCES)
@example("./~/1.png")
@example("./C:/1.png")
@example("images/aux.png")
@example("./ ")
@example(".\\.\\x")
@example("file:C:..")
def test_whatever_comes_in_what_comes_out_leads_nowhere_upwards(reference):
    try:
        tidy, repairs = check_reference(reference)
    except MalformedRecord:
        return
    parts = tidy.removeprefix("/").split("/")
    assert not {"", ".", ".."} & set(parts)
    assert ".." not in {part.strip() for part in parts}
    assert "\\" not in tidy
    assert check_reference(tidy) == (tidy, []), "a tidy reference is tidy"
    assert (repairs == []) == (tidy == reference)
    steps = [reference, *(repair["after"] for repair in repairs)]
    assert [repair["before"] for repair in repairs] == steps[:-1]
    assert steps[-1] == tidy


# ----------------------------------------------------------------------------------------------------------- resolved


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """An image root with links of every kind, reached through a link itself, and a secret beside it."""
    base = tmp_path_factory.mktemp("paths")
    real = base / "real"
    (real / "a").mkdir(parents=True)
    (real / "a" / "1.png").write_bytes(b"one")
    (real / "with blank.png").write_bytes(b"blank")
    (real / "~").mkdir()
    (base / "secret.png").write_bytes(b"secret")
    (base / "real-not").mkdir()
    (base / "real-not" / "1.png").write_bytes(b"a folder whose name begins as the root's")
    (real / "inside.png").symlink_to("a/1.png")
    (real / "far.png").symlink_to(real / "inside.png")
    (real / "b").symlink_to("a")
    (real / "up").symlink_to("..")
    (real / "outside.png").symlink_to(base / "secret.png")
    (real / "relative.png").symlink_to("../secret.png")
    (real / "chain.png").symlink_to("outside.png")
    (real / "sibling").symlink_to(base / "real-not")
    (real / "broken.png").symlink_to("nowhere.png")
    (real / "loop.png").symlink_to("loop.png")
    os.mkfifo(real / "pipe.png")
    (base / "root").symlink_to("real")
    return base / "root"


@pytest.mark.parametrize("reference", ["a/1.png", "inside.png", "far.png", "b/1.png", "up/real/a/1.png"])
def test_a_file_in_the_root_is_found_through_links_that_stay_inside(root, reference):
    found = resolve_reference(root, reference)
    assert found == root.resolve() / "a" / "1.png"
    assert found.read_bytes() == b"one"


@pytest.mark.parametrize("reference", ["outside.png", "relative.png", "chain.png", "up/secret.png", "sibling/1.png"])
def test_a_link_that_leads_out_is_refused(root, reference):
    with pytest.raises(MalformedRecord) as caught:
        resolve_reference(root, reference)
    assert (caught.value.rule, caught.value.reason) == (
        "image_outside_root",
        f"{reference} is a link that leads out of the image root",
    )


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("2.png", "there is no 2.png in the image root"),
        ("A/1.png", "there is no A/1.png in the image root"),
        ("a/1.png/2.png", "there is no a/1.png/2.png in the image root"),
        ("a", "a is not a file"),
        ("pipe.png", "pipe.png is not a file"),
        ("broken.png", "broken.png cannot be opened (FileNotFoundError)"),
    ],
)
def test_what_is_no_file_is_missing_and_the_reason_says_why(root, reference, reason):
    with pytest.raises(MalformedRecord) as caught:
        resolve_reference(root, reference)
    assert (caught.value.rule, caught.value.reason) == ("image_missing", reason)


@pytest.mark.parametrize("reference", ["loop.png", "a" * 300, "é" * 200])
def test_what_the_file_system_cannot_open_is_missing(root, reference):
    with pytest.raises(MalformedRecord, match="cannot be opened") as caught:
        resolve_reference(root, reference)
    assert caught.value.rule == "image_missing"


def test_a_machine_that_cannot_look_says_nothing_about_a_file(root):
    class Failing(type(root)):
        def resolve(self, strict=False):
            raise OSError(errno.EIO, "Input/output error", str(self))

    with pytest.raises(OSError, match="Input/output error"):
        resolve_reference(Failing(root), "a/1.png")


@settings(deadline=None)
@given(
    REFERENCES
    | st.lists(st.sampled_from(["..", "a", "b", "up", "sibling", "real", "1.png", "secret.png", "chain.png", ""])).map(
        "/".join
    )
)
@example("/etc/hostname")
@example("../secret.png")
@example("up/secret.png")
@example("b/../up/secret.png")
@example("up/real-not/1.png")
def test_nothing_outside_is_ever_resolved_even_without_the_first_check(root, reference):
    try:
        found = resolve_reference(root, reference)
    except MalformedRecord:
        return
    inside = os.path.realpath(root) + os.sep
    assert os.path.realpath(found).startswith(inside)
    assert found.is_file()

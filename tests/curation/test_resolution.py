"""All references of a source against a real folder: found, mended or refused, and never led outside."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pyarrow as pa
import pytest
from curation_world import Row, write_files
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_paths import PIECES, REFERENCES

from vqa_pipeline.curation.image_checks import VERDICTS
from vqa_pipeline.curation.image_roots import Folder
from vqa_pipeline.curation.paths import check_reference
from vqa_pipeline.curation.resolution import MENDS, Resolution, resolve_references
from vqa_pipeline.errors import SourceChanged, SourceError
from vqa_pipeline.sources.formats.format import MalformedRecord


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """An image root with links of every kind, and secrets around it."""
    base = tmp_path_factory.mktemp("resolution")
    inside = base / "images"
    files = {"1.png": b"1", "a/1.png": b"a1", "a/Two.PNG": b"a2", "b c.png": b"bc", "twin.jpg": b"t", "twin.png": b"t"}
    write_files(inside, files)
    write_files(base, {"secret.png": b"secret", "images-not/1.png": b"not", "etc/passwd": b"root"})
    (inside / "linked.png").symlink_to("a/1.png")
    (inside / "folder").symlink_to("a")
    (inside / "up").symlink_to("..")
    (inside / "out.png").symlink_to(base / "secret.png")
    (inside / "relative.png").symlink_to("../secret.png")
    (inside / "chain.png").symlink_to("out.png")
    (inside / "not").symlink_to(base / "images-not")
    (inside / "system").symlink_to("/etc")
    (inside / "broken.png").symlink_to("nowhere.png")
    (inside / "loop.png").symlink_to("loop.png")
    os.mkfifo(inside / "pipe.png")
    return inside


def resolve(root: Path | None, *references: str) -> Resolution:
    found = resolve_references("clinic", root and Folder(root), references)
    assert found.mends.schema.equals(MENDS)
    assert found.verdicts.schema.equals(VERDICTS)
    return found


def judge(root: Path, reference: str) -> str:
    """The file that a reference as people write it ends at, or the rule that refuses it."""
    try:
        tidy, _ = check_reference(reference)
    except MalformedRecord as error:
        return error.rule
    found = resolve(root, tidy)
    (outcome,) = [*found.files, *found.verdicts["image_rule"].to_pylist()]
    return outcome


ATTACKS = [
    ("../secret.png", "image_path_parent"),
    ("..\\secret.png", "image_path_parent"),
    ("a/../../secret.png", "image_path_parent"),
    ("a\\..\\..\\secret.png", "image_path_parent"),
    ("./../secret.png", "image_path_parent"),
    (".// ../secret.png", "image_path_parent"),
    ("..\u00a0/secret.png", "image_path_parent"),
    ("....//secret.png", "image_missing"),
    ("..;/secret.png", "image_missing"),
    ("\uff0e\uff0e/secret.png", "image_missing"),
    ("%2e%2e/secret.png", "image_path_parent"),
    ("%2e%2e%2fsecret.png", "image_path_parent"),
    ("..%2fsecret.png", "image_path_parent"),
    ("..%5csecret.png", "image_path_parent"),
    ("a/%2e%2e/%2e%2e/secret.png", "image_path_parent"),
    ("%252e%252e%252fsecret.png", "image_missing"),
    ("%c0%ae%c0%ae/secret.png", "image_missing"),
    ("%u002e%u002e/secret.png", "image_missing"),
    ("images/../secret.png", "image_path_parent"),
    ("images/secret.png", "image_missing"),
    ("{base}/secret.png", "image_path_absolute"),
    ("{base}/images/../secret.png", "image_path_parent"),
    ("{base}/images-not/1.png", "1.png"),
    ("{base}/images/1.png", "1.png"),
    ("file://{base}/secret.png", "image_path_absolute"),
    ("file://{base}/images/../secret.png", "image_path_parent"),
    ("file://localhost{base}/secret.png", "image_path_absolute"),
    ("file:..", "image_path_parent"),
    ("file:%2e%2e/secret.png", "image_path_parent"),
    ("/etc/passwd", "image_path_absolute"),
    ("//etc/passwd", "image_path_absolute"),
    ("/proc/self/environ", "image_path_absolute"),
    ("/dev/stdin", "image_path_absolute"),
    ("%2fetc%2fpasswd", "image_missing"),
    ("~/secret.png", "image_path_absolute"),
    ("~root/.ssh/id_rsa", "image_path_absolute"),
    ("$HOME/secret.png", "image_missing"),
    ("C:\\secret.png", "image_path_drive"),
    ("C:..\\secret.png", "image_path_parent"),
    ("C:\\..\\secret.png", "image_path_parent"),
    ("\\\\server\\share\\secret.png", "image_path_absolute"),
    ("\\\\?\\C:\\secret.png", "image_path_absolute"),
    ("\\\\.\\PhysicalDrive0", "image_path_absolute"),
    ("\\\\?\\GLOBALROOT\\Device\\1.png", "1.png"),
    ("out.png", "image_outside_root"),
    ("OUT.png", "image_missing"),
    ("relative.png", "image_outside_root"),
    ("chain.png", "image_outside_root"),
    ("up/secret.png", "image_outside_root"),
    ("up/images/../secret.png", "image_path_parent"),
    ("up/images-not/1.png", "image_outside_root"),
    ("not/1.png", "image_outside_root"),
    ("system/passwd", "image_outside_root"),
    ("/system/passwd", "image_path_absolute"),
    ("images/system/passwd", "image_missing"),
    ("broken.png", "image_missing"),
    ("loop.png", "image_missing"),
    ("loop.png/1.png", "image_missing"),
    ("pipe.png", "image_missing"),
    ("PIPE.png", "image_missing"),
    ("a", "image_missing"),
    (".", "image_path_empty"),
    ("/", "image_path_empty"),
    ("1.png/", "1.png"),
    ("1.png/.", "1.png"),
    ("1.png/x", "image_missing"),
    ("1.png\0", "image_path_nul"),
    ("1.png\0.jpg", "image_path_nul"),
    ("1.png%00.jpg", "image_path_nul"),
    ("../secret.png\0.jpg", "image_path_nul"),
    ("1.png\n", "image_path_control"),
    ("1.png%0d%0a", "image_path_control"),
    ("CON", "image_path_reserved"),
    ("a/nul.png", "image_path_reserved"),
    ("a%2fcom1.png", "image_path_reserved"),
    ("C:AUX", "image_path_reserved"),
    ("1.png::$DATA", "image_missing"),
    ("1.png:hidden", "image_missing"),
    ("a" * 1025, "image_path_too_long"),
    ("a" * 1000, "image_missing"),
    ("a/" * 300 + "1.png", "image_missing"),
    ("/" + "a/" * 300 + "1.png", "a/1.png"),
    ("%2e" * 340, "image_missing"),
    ("http://169.254.169.254/1.png", "image_path_scheme"),
    ("http%3a//169.254.169.254/1.png", "image_missing"),
    ("gopher://host/1.png", "image_path_scheme"),
    ("data:image/png;base64,AAAA", "image_missing"),
    ("1.png?../../secret.png", "image_path_parent"),
    ("*.png", "image_missing"),
    ("a/[T]wo.PNG", "image_missing"),
    ("`id`.png", "image_missing"),
]


@pytest.mark.parametrize(("reference", "outcome"), ATTACKS)
def test_an_attack_ends_at_its_rule_or_at_a_file_of_the_root(root, reference, outcome):
    assert judge(root, reference.format(base=root.parent) if "{base}" in reference else reference) == outcome


def test_there_are_many_attacks():
    assert len(dict(ATTACKS)) >= 80


@settings(deadline=None)
@given(
    REFERENCES
    | st.lists(
        PIECES
        | st.sampled_from(["up", "not", "system", "folder", "images", "secret", "passwd", "etc", ".png", "%2e%2e"]),
        max_size=8,
    ).map("".join)
    | st.lists(st.sampled_from(["..", "a", "up", "not", "system", "folder", "images", "1.png", "secret.png", ""])).map(
        "/".join
    )
)
@example("up/secret.png")
@example("/up/secret.png")
@example("up/images/1.png")
@example("folder/1.png")
@example("%2e%2e/secret.png")
def test_any_text_is_a_file_inside_the_root_or_is_refused(root, reference):
    outcome = judge(root, reference)
    if outcome.startswith("image_"):
        return
    assert os.path.realpath(root / outcome).startswith(os.path.realpath(root) + os.sep)
    assert (root / outcome).is_file()


def test_files_mends_and_verdicts_are_told_apart(root):
    found = resolve(root, "1.png", "1.PNG", "a/1.png", "/x/1.png", "b%20c.png", "lost.png", "twin", "out.png")
    assert found.files == ["1.png", "a/1.png", "b c.png"]
    mends = [
        (row["image"], row["file"], [one["kind"] for one in row["file_repairs"]]) for row in found.mends.to_pylist()
    ]
    assert mends == [
        ("1.PNG", "1.png", ["letter_case"]),
        ("/x/1.png", "1.png", ["absolute_path"]),
        ("b%20c.png", "b c.png", ["url_escape"]),
    ]
    verdicts: list[Row] = found.verdicts.to_pylist()
    assert [(row["source"], row["image"], row["image_rule"], row["image_sha256"]) for row in verdicts] == [
        ("clinic", "lost.png", "image_missing", None),
        ("clinic", "twin", "image_ambiguous", None),
        ("clinic", "out.png", "image_outside_root", None),
    ]
    assert [row["image_reason"] for row in verdicts] == [
        "there is no lost.png in the image root",
        "twin may mean twin.jpg, twin.png",
        "out.png is a link that leads out of the image root",
    ]


CONTESTED = [
    # of which machine's folder?
    (("/x/train/1.png", "/x/test/1.png"), {"/x/train/1.png", "/x/test/1.png"}),
    (("C:/x/1.png", "/y/1.png", "1.png"), {"C:/x/1.png", "/y/1.png"}),
    (("/x/1", "/y/1.jpeg"), {"/x/1", "/y/1.jpeg"}),
    (("/x/1.png", "/X/1.PNG", "file:/x/1.png", "C:/x/1.png", "C:1.png", "images/1.png", "1.png"), set()),
    (("/x/1.png", "/x/a/1.png"), set()),
    # of which extension?
    (("1.jpg", "1.png"), {"1.jpg"}),
    (("1.jpg", "1.PNG"), {"1.jpg"}),
    (("1.jpg", "1.gif"), {"1.jpg", "1.gif"}),
    (("1.jpg", "1.JPG", "1"), set()),
    (("1", "1.png"), set()),
    (("1.jpg", "a/1.png", "a/1.jpg"), {"a/1.jpg"}),
]


@pytest.mark.parametrize(("references", "contested"), CONTESTED)
def test_references_that_cannot_mean_one_file_are_not_mended_to_one(root, references, contested):
    found = resolve(root, *references)
    refused = {row["image"]: row["image_rule"] for row in found.verdicts.to_pylist()}
    assert refused == dict.fromkeys(contested, "image_contested")
    meant = [row["image"] for row in found.mends.to_pylist()]
    assert {*meant, *found.files, *refused} >= set(references), "each reference became something"
    assert not set(meant) & contested


def test_a_contested_reference_is_told_with_its_rival_and_the_file(root):
    told = {
        row["image"]: row for row in resolve(root, "/x/1.png", "/y/1.png", "a/1.png", "a/1.gif").verdicts.to_pylist()
    }
    assert {name: row["image_reason"] for name, row in told.items()} == {
        "/x/1.png": "/x/1.png fits 1.png, but so does /y/1.png, and they cannot be one file",
        "/y/1.png": "/y/1.png fits 1.png, but so does /x/1.png, and they cannot be one file",
        "a/1.gif": "a/1.gif fits a/1.png, but so does a/1.png, and they cannot be one file",
    }
    assert {row["image_fix"] for row in told.values()} == {
        "Bring the files under the paths that the references give, or correct the references."
    }


def test_a_file_that_only_contested_references_fit_is_not_checked(root):
    assert resolve(root, "/x/1.png", "/y/1.png").files == []


def test_a_file_in_a_linked_folder_is_itself(root):
    found = resolve(root, "folder/1.png", "linked.png")
    assert found.files == ["folder/1.png", "linked.png"]
    assert (found.mends.num_rows, found.verdicts.num_rows) == (0, 0)


def test_without_an_image_root_every_image_is_missing_and_the_fix_names_the_settings():
    found = resolve(None, "1.png", "/data/2.png")
    assert (found.files, found.mends.num_rows) == ([], 0)
    verdicts = (
        pa.table(found.verdicts).select(["source", "image", "image_rule", "image_reason", "image_fix"]).to_pylist()
    )
    fix = "Set `image_root`, or `dataset: {images_required: false}`."
    assert [tuple(row.values()) for row in verdicts] == [
        ("clinic", name, "image_missing", f"the source has no image root to look for {name} in", fix)
        for name in ("1.png", "/data/2.png")
    ]


def test_an_image_root_that_goes_away_or_cannot_be_listed_is_no_verdict(tmp_path):
    with pytest.raises(SourceChanged, match=r"none: changed"):
        resolve(tmp_path / "none", "1.png")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(SourceError, match=r"`image_root`: .*cannot be read \(Too many open files\)"):
            resolve(tmp_path, "1.png")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

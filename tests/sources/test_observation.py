"""What a source's files are right now: cheap where nothing moved, exact where something did."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.errors import SourceChanged, SourceError
from vqa_pipeline.sources.formats.easy_vqa import EasyVqaSource
from vqa_pipeline.sources.formats.table import TableSource
from vqa_pipeline.sources.observation import (
    FilesSummary,
    FileState,
    describe_files,
    digest_states,
    find_source_files,
    observe_files,
    observe_source_files,
    source_base,
)

SHA_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def root(tmp_path) -> Path:
    project = tmp_path / "project"
    for name in ("raw/tables/a.csv", "raw/tables/b.csv", "raw/images/2.png", "raw/images/sub/1.png", "raw/notes.txt"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_bytes(name.encode())
    return project


def make_source(**settings) -> TableSource:
    told = {"name": "clinic", "format": "table", "files": "raw/tables/*.csv", "image_root": "raw/images", **settings}
    return TableSource.model_validate(told)


# ---------------------------------------------------------------------------------------------------------- what counts


def test_rows_and_every_file_below_the_image_root_count(root):
    found = find_source_files(make_source(), root)
    assert list(found) == ["images/2.png", "images/sub/1.png", "tables/a.csv", "tables/b.csv"]
    assert source_base(make_source(), root) == root / "raw"


def test_split_lists_count(root):
    (root / "lists").mkdir()
    (root / "lists" / "test.txt").write_text("1.png")
    source = make_source(image_root=None, splits={"list": "lists/*.txt"})
    assert source_base(source, root) == root
    before = observe_source_files(source, root, {})
    assert sorted(before) == ["lists/test.txt", "raw/tables/a.csv", "raw/tables/b.csv"]
    (root / "lists" / "test.txt").write_text("2.png\n")
    assert digest_states(observe_source_files(source, root, before)) != digest_states(before)


def test_a_source_without_images_is_its_rows(root):
    source = make_source(image_root=None)
    assert list(find_source_files(source, root)) == ["a.csv", "b.csv"]
    assert source_base(source, root) == root / "raw" / "tables"


def test_rows_among_the_images_count_once(root):
    source = make_source(files="raw/tables/a.csv", image_root="raw")
    assert list(find_source_files(source, root)) == [
        *("images/2.png", "images/sub/1.png", "notes.txt", "tables/a.csv", "tables/b.csv"),
    ]


def test_an_archive_of_images_counts_as_the_file_it_is(root):
    with zipfile.ZipFile(root / "raw" / "images.zip", "w") as archive:
        archive.writestr("1.png", b"one")
    source = make_source(image_root="raw/images.zip")
    before = observe_source_files(source, root, {})
    assert sorted(before) == ["images.zip", "tables/a.csv", "tables/b.csv"]
    with zipfile.ZipFile(root / "raw" / "images.zip", "w") as archive:
        archive.writestr("1.png", b"another")
    assert digest_states(observe_source_files(source, root, before)) != digest_states(before)


def test_what_the_settings_name_must_be_there(root):
    with pytest.raises(SourceError, match="`image_root`"):
        find_source_files(make_source(image_root="raw/pictures"), root)
    missing = EasyVqaSource(name="easy", format="easy_vqa", folder="raw/easy")
    with pytest.raises(SourceError, match="source 'easy', `folder`"):
        observe_source_files(missing, root, {})


# --------------------------------------------------------------------------------------------------------- states


def test_a_state_is_size_time_and_digest(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    os.utime(path, ns=(5, 1_234_567_891))
    assert observe_files([path], tmp_path, {}) == {"a": FileState(3, 1_234_567_891, SHA_OF_ABC)}


def test_bytes_are_only_read_where_size_or_time_moved(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    os.utime(path, ns=(5, 5))
    told = FileState(3, 5, "what was remembered")
    assert observe_files([path], tmp_path, {"a": told}) == {"a": told}
    for moved in (FileState(3, 6, "stale"), FileState(4, 5, "stale")):
        assert observe_files([path], tmp_path, {"a": moved})["a"].sha256 == SHA_OF_ABC


def test_forgotten_files_leave_and_new_ones_come(root):
    before = observe_source_files(make_source(), root, {})
    (root / "raw" / "images" / "2.png").unlink()
    (root / "raw" / "images" / "3.png").write_bytes(b"new")
    after = observe_source_files(make_source(), root, before)
    assert sorted(after) == ["images/3.png", "images/sub/1.png", "tables/a.csv", "tables/b.csv"]
    assert after["tables/a.csv"] == before["tables/a.csv"]


def test_a_file_that_goes_away_while_it_is_looked_at_is_a_change(root):
    class Vanishing(dict):
        """Known states; when they are first asked, another program removes a file."""

        def get(self, name, default=None):
            (root / "raw" / "tables" / "b.csv").unlink(missing_ok=True)
            return default

    with pytest.raises(SourceChanged, match=r"source 'clinic'.*b\.csv: changed while it was being read"):
        observe_source_files(make_source(), root, Vanishing())


def test_a_file_that_cannot_be_read_is_named(root):
    class Failing(dict):
        def get(self, name, default=None):
            raise PermissionError(13, "Permission denied", f"/data/{name}")

    with pytest.raises(SourceError, match="source 'clinic', `files`: /data/images/2.png: .*Permission denied"):
        observe_source_files(make_source(), root, Failing())


# -------------------------------------------------------------------------------------------------------------- digests

STATES = st.dictionaries(
    st.text("ab/1", min_size=1, max_size=3),
    st.builds(FileState, st.integers(0, 9), st.integers(0, 9), st.sampled_from(["0" * 64, "1" * 64])),
    max_size=4,
)


def test_a_digest_has_thirty_two_hex_digits_and_stays_what_it_is():
    assert digest_states({"a": FileState(3, 5, SHA_OF_ABC)}) == "8e31f406d62dc9c20d601992ca171d0a"


@given(STATES, STATES)
def test_digests_are_equal_exactly_when_names_and_contents_are(one, other):
    def content(states):
        return {name: state.sha256 for name, state in states.items()}

    assert (digest_states(one) == digest_states(other)) == (content(one) == content(other))


@given(STATES, st.randoms(use_true_random=False))
def test_order_and_times_do_not_count(states, random):
    items = [(name, state._replace(modified_ns=random.randrange(9))) for name, state in states.items()]
    random.shuffle(items)
    assert digest_states(dict(items)) == digest_states(states)


def test_moving_the_data_changes_nothing(root, tmp_path):
    before = digest_states(observe_source_files(make_source(), root, {}))
    shutil.move(root, tmp_path / "elsewhere")
    assert digest_states(observe_source_files(make_source(), tmp_path / "elsewhere", {})) == before
    shutil.copytree(tmp_path / "elsewhere" / "raw", tmp_path / "other" / "data")
    moved = make_source(files="data/tables/*.csv", image_root="data/images")
    assert digest_states(observe_source_files(moved, tmp_path / "other", {})) == before


def test_renaming_or_changing_one_byte_changes_the_digest(root):
    before = digest_states(observe_source_files(make_source(), root, {}))
    image = root / "raw" / "images" / "2.png"
    image.rename(image.with_name("9.png"))
    renamed = digest_states(observe_source_files(make_source(), root, {}))
    image.with_name("9.png").write_bytes(b"raw/images/2.pnG")
    changed = digest_states(observe_source_files(make_source(), root, {}))
    assert len({before, renamed, changed}) == 3


def test_what_a_link_out_of_the_image_root_shows_does_not_count(root, tmp_path):
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"one")
    (root / "raw" / "images" / "link.png").symlink_to(outside)
    before = observe_source_files(make_source(), root, {})
    assert "images/link.png" not in before


def test_a_file_whose_name_is_not_utf_8_does_not_count_as_no_record_can_name_it(root):
    before = digest_states(observe_source_files(make_source(), root, {}))
    (root / "raw" / "images" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    assert digest_states(observe_source_files(make_source(), root, {})) == before


def test_it_is_told_how_much_of_what_moved_is_digested(tmp_path):
    for name, content in {"a": b"abc", "b": b"abcde", "c": b"abcdefg"}.items():
        (tmp_path / f"{name}.csv").write_bytes(content)
    source = make_source(files="*.csv", image_root=None)
    known = {"b.csv": observe_source_files(source, tmp_path, {})["b.csv"]}
    told = []
    states = observe_source_files(source, tmp_path, known, lambda *words: told.append(words))
    assert list(states) == ["a.csv", "b.csv", "c.csv"]
    assert told == [("digesting clinic", done, 10, "bytes") for done in (0, 3, 10)]


def test_an_archive_is_observed_as_a_whole_for_its_members(tmp_path):
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("a.csv", "image,question,answers\n")
        archive.writestr("b.csv", "image,question,answers\n")
    source = TableSource(name="clinic", format="table", files="rows.zip")
    assert list(observe_source_files(source, tmp_path, {})) == ["rows.zip"]
    assert describe_files(source, tmp_path) == FilesSummary(2, 0, {})

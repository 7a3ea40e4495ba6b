"""The table of formats, the union of their settings as people meet it in YAML, and how files are found."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import get_args

import pytest
from curation_world import write_files
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from vqa_pipeline.errors import SourceError
from vqa_pipeline.sources.formats import FORMATS, Source, get_format
from vqa_pipeline.sources.formats.easy_vqa import EasyVqaSource
from vqa_pipeline.sources.formats.files import find_base, find_folder, find_image_root, find_paths, name_file, reading
from vqa_pipeline.sources.formats.table import TableSource
from vqa_pipeline.sources.json_structure import JsonError

SOURCE = TypeAdapter(Source)
VARIANTS = get_args(get_args(Source)[0])
TABLE = {"name": "clinic", "format": "table", "files": "rows.csv"}
NAMES = ", ".join(repr(name) for name in sorted(FORMATS))


# ------------------------------------------------------------------------------------------------------------ the union


def test_the_format_chooses_the_settings():
    assert type(SOURCE.validate_python(TABLE)) is TableSource
    assert type(SOURCE.validate_python({"name": "e", "format": "easy_vqa", "folder": "easy"})) is EasyVqaSource


def test_the_table_is_ordered_so_that_a_name_is_found():
    assert list(FORMATS) == sorted(FORMATS)


def test_every_format_has_settings_and_every_settings_class_a_format():
    tags = {variant: get_args(variant.model_fields["format"].annotation) for variant in VARIANTS}
    assert sorted(tag for (tag,) in tags.values()) == sorted(FORMATS)


def test_a_source_knows_its_format():
    assert get_format(SOURCE.validate_python(TABLE)) is FORMATS["table"]


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        ({"format": "tabel"}, NAMES),
        ({"format": None}, NAMES),
        ({"colums": {}}, "table.colums"),
        ({"name": "My Clinic"}, "table.name"),
        ({"files": 7}, "table.files"),
        ({"folder": "x"}, "table.folder"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_only_for_the_chosen_format(change, culprit):
    with pytest.raises(ValidationError) as caught:
        SOURCE.validate_python(TABLE | change)
    assert culprit in str(caught.value)
    assert "easy_vqa.folder" not in str(caught.value)


def test_settings_are_values():
    source = SOURCE.validate_python(TABLE)
    with pytest.raises(ValidationError, match="frozen"):
        source.name = "other"
    assert source == SOURCE.validate_json(source.model_dump_json())


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_setting_is_described(variant):
    assert variant.__doc__
    undescribed = [name for name, field in variant.model_fields.items() if not field.description and name != "format"]
    assert undescribed == []


# -------------------------------------------------------------------------------------------------------- JSON schema


def test_the_schema_says_if_then_and_never_one_of():
    schema = SOURCE.json_schema()
    assert schema["required"] == ["format"]
    assert schema["properties"]["format"] == {"enum": sorted(FORMATS)}
    assert {
        "if": {"properties": {"format": {"const": "table"}}, "required": ["format"]},
        "then": {"$ref": "#/$defs/TableSource"},
    } in schema["allOf"]
    assert {"oneOf", "discriminator"}.isdisjoint(schema)


@pytest.mark.parametrize(
    ("settings", "place", "message"),
    [
        (TABLE, None, None),
        ({**TABLE, "format": "tabel"}, ["format"], f"'tabel' is not one of [{NAMES}]"),
        ({**TABLE, "colums": 1}, [], "('colums' was unexpected)"),
        ({**TABLE, "answer_separator": 3}, ["answer_separator"], "3 is not"),
        ({"name": "x", "format": "easy_vqa"}, [], "'folder' is a required property"),
    ],
)
def test_editors_and_dg_check_yaml_name_the_wrong_field(settings, place, message):
    jsonschema = pytest.importorskip("jsonschema")
    errors = list(jsonschema.Draft202012Validator(SOURCE.json_schema()).iter_errors(settings))
    if place is None:
        assert errors == []
    else:
        assert [list(error.absolute_path) for error in errors] == [place]
        assert message in errors[0].message


# -------------------------------------------------------------------------------------------------------------- loading


def test_settings_and_formats_load_without_pandas_torch_pillow_or_dagster():
    heavy = ["pandas", "polars", "torch", "transformers", "PIL", "dagster", "sklearn"]
    code = (
        "import json, sys, vqa_pipeline.sources.formats, vqa_pipeline.sources.observation;"
        f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == []


# -------------------------------------------------------------------------------------------------------- finding files


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def find(patterns: str | tuple[str, ...], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in find_paths("s", "files", patterns, root)]


def test_names_keep_their_order_and_globs_are_sorted_and_nothing_comes_twice(tmp_path):
    touch(*(tmp_path / name for name in ("b.csv", "a.csv", "z/c.csv", "z/y/d.csv")))
    assert find("*.csv", tmp_path) == ["a.csv", "b.csv"]
    assert find(("b.csv", "*.csv"), tmp_path) == ["b.csv", "a.csv"]
    assert find("**/*.csv", tmp_path) == ["a.csv", "b.csv", "z/c.csv", "z/y/d.csv"]
    assert find(("a.csv", "z/../a.csv"), tmp_path) == ["a.csv"]


def test_a_name_with_brackets_is_found_as_it_is(tmp_path):
    touch(tmp_path / "rows [v2].csv", tmp_path / "rows 2.csv")
    assert find("rows [v2].csv", tmp_path) == ["rows [v2].csv"]


def test_a_root_with_brackets_in_its_name_is_no_pattern(tmp_path):
    touch(tmp_path / "run[1]" / "a.csv", tmp_path / "run1" / "b.csv")
    assert find("*.csv", tmp_path / "run[1]") == ["a.csv"]


@pytest.mark.parametrize("patterns", ["raw/*.csv", "raw/", ["raw/a.csv", "raw/*.csv"]])
@pytest.mark.parametrize("without", ["raw/fixes.csv", "raw/../raw/fixes.csv"])
def test_corrections_beside_the_rows_are_none_of_them(tmp_path, patterns, without):
    write_files(tmp_path, {"raw/a.csv": b"", "raw/fixes.csv": b"", "raw/old/fixes.csv": b""})
    found = find_paths("s", "files", patterns, tmp_path, without=without)
    others = ["old/fixes.csv"] if patterns == "raw/" else []
    assert [path.relative_to(tmp_path / "raw").as_posix() for path in found] == ["a.csv", *others]


def test_a_folder_with_nothing_but_corrections_has_no_rows(tmp_path):
    write_files(tmp_path, {"raw/fixes.csv": b""})
    with pytest.raises(SourceError, match="raw"):
        find_paths("s", "files", "raw/*.csv", tmp_path, without="raw/fixes.csv")


def test_absolute_paths_and_globs_are_taken_as_they_are(tmp_path):
    touch(tmp_path / "a.csv")
    assert find_paths("s", "files", str(tmp_path / "*.csv"), Path("/nowhere")) == [tmp_path / "a.csv"]
    assert find_paths("s", "files", str(tmp_path / "a.csv"), Path("/nowhere")) == [tmp_path / "a.csv"]
    assert find_folder("s", "image_root", str(tmp_path), Path("/nowhere")) == tmp_path


def test_folders_are_not_files_and_files_no_folders(tmp_path):
    touch(tmp_path / "a.csv")
    (tmp_path / "b.csv").mkdir()
    assert find("*.csv", tmp_path) == ["a.csv"]
    with pytest.raises(SourceError, match="holds no files of rows, by their names"):
        find("b.csv", tmp_path)
    with pytest.raises(SourceError, match=r"source 's', `image_root`: .*a\.csv: no such folder"):
        find_folder("s", "image_root", "a.csv", tmp_path)


def test_an_image_root_is_a_folder_or_an_archive_that_single_images_can_be_read_from(tmp_path):
    (tmp_path / "folder").mkdir()
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("1.png", b"")
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        archive.add(tmp_path / "folder", "folder")
    for name in ("folder", "images.zip", "images.tar"):
        assert find_image_root("s", name, tmp_path) == tmp_path / name
    assert find_image_root("s", None, tmp_path) is None
    (tmp_path / "images.tar.gz").write_bytes(gzip.compress((tmp_path / "images.tar").read_bytes()))
    touch(tmp_path / "a.csv")
    for name in ("images.tar.gz", "a.csv"):
        with pytest.raises(SourceError, match=f"`image_root`: .*{name}: is neither a folder nor a zip or tar archive"):
            find_image_root("s", name, tmp_path)
    with pytest.raises(SourceError, match="`image_root`: .*lost: no such folder"):
        find_image_root("s", "lost", tmp_path)


def test_the_base_is_what_files_and_images_have_in_common():
    data = Path("/data/clinic")
    assert find_base([data / "q" / "a.json"], None) == data / "q"
    assert find_base([data / "q" / "a.json", data / "q" / "b.json"], data / "images") == data
    assert find_base([data / "a.json"], data) == data
    assert name_file(data / "q" / "a.json", data) == "q/a.json"


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), min_size=1, max_size=4))
def test_names_are_the_same_wherever_the_data_lies(parts):
    def names(root: str) -> list[str]:
        files = [Path(root, *path) for path in parts]
        return [name_file(path, find_base(files, None)) for path in files]

    assert names("/here") == names("/moved/far/away")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (JsonError(7, "an array expected"), r"is not JSON of this format: an array expected \(at byte 7\)"),
        (PermissionError(13, "Permission denied"), "cannot be read .*Permission denied.*Check the file and its rights"),
        (EOFError("Compressed file ended"), "cannot be read .*Compressed file ended.*download or copy it again"),
        (gzip.BadGzipFile("CRC check failed"), "cannot be read .*CRC check failed.*download or copy it again"),
    ],
)
def test_what_goes_wrong_with_a_file_names_it(error, reason):
    with pytest.raises(SourceError, match=f"source 's', `files`: /data/a.json: {reason}"), reading("s", "files", Path("/data/a.json")):  # fmt: skip
        raise error


def test_a_mistake_in_the_program_is_not_blamed_on_the_file():
    with pytest.raises(KeyError), reading("s", "files", Path("/data/a.json")):
        raise KeyError("x")

"""Images are decoded once, told apart by their bytes, and packed as they are."""

from __future__ import annotations

import hashlib
import io
import resource
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from curation_world import Row, draw_png, write_files
from PIL import Image

from vqa_pipeline.curation.image_checks import (
    VERDICTS,
    Found,
    check_images,
    has_present_form,
    read_packed,
    reading,
    write_packs,
)
from vqa_pipeline.curation.image_roots import Folder
from vqa_pipeline.errors import SourceChanged, SourceError
from vqa_pipeline.schemas import IMAGES


def check(root: Path, *references: str) -> list[Row]:
    table = check_images("clinic", Folder(root), references)
    assert table.schema.equals(VERDICTS)
    return table.to_pylist()


def explain(root: Path, reference: str) -> tuple[str, str, str]:
    (verdict,) = check(root, reference)
    told = {name for name, value in verdict.items() if value is not None}
    assert told == {"source", "image", "image_rule", "image_reason", "image_fix"}
    return verdict["image_rule"], verdict["image_reason"], verdict["image_fix"]


# ------------------------------------------------------------------------------------------------------------ verdicts


def test_a_good_image_is_told_by_its_facts(tmp_path):
    file = io.BytesIO()
    Image.new("L", (5, 3), 7).save(file, "PNG")
    write_files(tmp_path, {"a/1.jpg": file.getvalue()})
    assert check(tmp_path, "a/1.jpg") == [
        {
            "source": "clinic",
            "image": "a/1.jpg",
            "image_sha256": hashlib.sha256(file.getvalue()).hexdigest(),
            "width": 5,
            "height": 3,
            "mode": "L",
            "format": "PNG",
            "dhash": 0,
            "num_bytes": len(file.getvalue()),
            "alterations": [],
            "colours": bytes([7]) * 192,
            "image_rule": None,
            "image_reason": None,
            "image_fix": None,
        }
    ]


def test_verdicts_are_in_the_order_of_the_files_and_equal_bytes_are_one_image(tmp_path):
    write_files(tmp_path, {"1.png": draw_png(1), "2.png": draw_png(2), "copy.png": draw_png(1)})
    verdicts = check(tmp_path, "2.png", "copy.png", "1.png")
    assert [verdict["image"] for verdict in verdicts] == ["2.png", "copy.png", "1.png"]
    assert verdicts[1]["image_sha256"] == verdicts[2]["image_sha256"] != verdicts[0]["image_sha256"]
    assert check(tmp_path) == []


def test_the_whole_image_is_decoded(tmp_path):
    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(file, "JPEG")
    write_files(tmp_path, {"cut.jpg": file.getvalue()[:-100], "no-bytes.png": b"", "page.png": b"<html></html>"})
    rule, reason, fix = explain(tmp_path, "cut.jpg")
    assert (rule, fix) == ("image_truncated", "Download the file again.")
    assert reason.startswith("the JPEG file breaks off or is damaged (")
    assert explain(tmp_path, "no-bytes.png")[:2] == ("image_empty", "the file has no bytes")
    assert explain(tmp_path, "page.png")[:2] == ("image_unreadable", "the file is an HTML page, not an image")


def test_a_file_too_large_to_be_an_image_is_not_read(tmp_path):
    with (tmp_path / "disk.png").open("wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no room
    rule, reason, _ = explain(tmp_path, "disk.png")
    assert (rule, reason) == (
        "image_too_large",
        "the file has 1,099,511,627,776 bytes, more than 1,073,741,824",
    )


def test_an_image_that_is_not_there_is_missing(tmp_path):
    assert explain(tmp_path, "1.png") == (
        "image_missing",
        "there is no 1.png in the image root",
        "Bring the file, or correct the reference.",
    )


def test_a_link_that_leads_out_is_not_read(tmp_path):
    write_files(tmp_path, {"secret.png": draw_png(1), "root/2.png": draw_png(2)})
    (tmp_path / "root" / "1.png").symlink_to("../secret.png")
    assert explain(tmp_path / "root", "1.png")[0] == "image_outside_root"


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that cannot be read, whoever asks")
def test_a_file_that_the_machine_cannot_read_is_an_error_and_no_verdict():
    with pytest.raises(
        SourceError, match=r"source 'clinic', `image_root`: /proc/self/mem: .*Input/output error"
    ) as caught:
        check(Path("/proc/self"), "mem")
    assert not isinstance(caught.value, SourceChanged)


@pytest.mark.parametrize("reference", ["1.png", "folder/1.png"])
def test_too_many_open_files_are_no_verdict(tmp_path, reference):
    write_files(tmp_path, {"1.png": draw_png(1), "folder/1.png": draw_png(1)})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(SourceError, match=r"1\.png: cannot be read \(Too many open files\)"):
            check(tmp_path, reference)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file"), NotADirectoryError(20, "Not a directory")])
def test_a_file_that_goes_away_while_it_is_read_is_a_change(error):
    with (
        pytest.raises(SourceChanged, match=r"source 'clinic'.*raw/1\.png: changed"),
        reading("clinic", Path("raw/1.png")),
    ):
        raise error


# --------------------------------------------------------------------------------------------------------------- packs


def make_images(folder: Path, numbers: range) -> list[Found]:
    """Some pictures, in the order of their sha256."""
    write_files(folder, {f"{number}.png": draw_png(number) for number in numbers})
    verdicts = check(folder, *[f"{number}.png" for number in numbers])
    ordered = sorted(verdicts, key=lambda verdict: verdict["image_sha256"])
    return [Found(verdict, "clinic", Folder(folder), verdict["image"]) for verdict in ordered]


def test_a_pack_holds_the_files_own_bytes_and_facts(tmp_path):
    images = make_images(tmp_path / "images", range(3))
    (pack,) = write_packs(images, tmp_path / "packs")
    assert pack == tmp_path / "packs" / "pack-00000.parquet"
    rows = pq.read_table(pack).to_pylist()
    for row, (facts, _, root, name) in zip(rows, images, strict=True):
        sha = facts["image_sha256"]
        assert row["image"] == {"bytes": root.read(name), "path": f"{sha}.png"}
        assert {name: row[name] for name in ("image_sha256", "width", "height", "mode", "format", "dhash")} == {
            "image_sha256": sha,
            "width": 4,
            "height": 3,
            "mode": "RGB",
            "format": "PNG",
            "dhash": facts["dhash"],
        }


def test_a_pack_is_uncompressed_in_groups_of_a_hundred_and_says_that_it_has_images(tmp_path):
    (pack,) = write_packs(make_images(tmp_path / "images", range(201)), tmp_path / "packs")
    with pq.ParquetFile(pack) as file:
        assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [100, 100, 1]
        assert file.metadata.row_group(0).column(1).compression == "UNCOMPRESSED"
        assert file.schema_arrow.equals(IMAGES, check_metadata=True)
        assert b'"image": {"_type": "Image"}' in file.schema_arrow.metadata[b"huggingface"]


def test_what_is_more_than_one_pack_goes_into_the_next(tmp_path):
    images = make_images(tmp_path / "images", range(5))
    size = len(images[0].root.read(images[0].name))
    packs = write_packs(images, tmp_path / "packs", pack_bytes=2 * size - 5)
    assert [path.name for path in packs] == [f"pack-0000{number}.parquet" for number in range(3)]
    shas = [sha for path in packs for sha in pq.read_table(path)["image_sha256"].to_pylist()]
    assert shas == [facts["image_sha256"] for facts, *_ in images]
    assert read_packed(packs) == set(shas)


def test_a_pack_of_an_earlier_form_is_told_apart(tmp_path):
    (pack,) = write_packs(make_images(tmp_path / "images", range(2)), tmp_path / "packs")
    assert has_present_form(pack)
    pq.write_table(pq.read_table(pack).drop_columns(["alterations"]), tmp_path / "old.parquet")
    assert not has_present_form(tmp_path / "old.parquet")


def test_without_images_there_is_no_pack(tmp_path):
    assert write_packs([], tmp_path / "packs") == []
    assert not (tmp_path / "packs").exists()
    assert read_packed([]) == set()


def test_an_image_that_changed_since_it_was_checked_is_not_packed(tmp_path):
    images = make_images(tmp_path / "images", range(2))
    (tmp_path / "images" / "1.png").write_bytes(draw_png(7))
    with pytest.raises(SourceChanged, match=r"source 'clinic'.*1\.png: changed while it was being read"):
        write_packs(images, tmp_path / "packs")


def test_an_image_that_went_away_since_it_was_checked_is_told_by_name(tmp_path):
    images = make_images(tmp_path / "images", range(2))
    (tmp_path / "images" / "1.png").unlink()
    with pytest.raises(SourceChanged, match=r"1\.png"):
        write_packs(images, tmp_path / "packs")

"""Verdicts as the plan takes them: which image each reference is about, and which others that image looks like."""

from __future__ import annotations

import pyarrow as pa

from vqa_pipeline.curation.image_checks import VERDICTS
from vqa_pipeline.curation.image_verdicts import JUDGED, append_groups, identify, miss_images

SHA, OTHER = "a" * 64, "b" * 64


def tabulate(*images: tuple[str, str | None]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"source": "clinic", "image": name, "image_sha256": sha} for name, sha in images], VERDICTS
    )


def test_an_image_is_its_bytes_and_without_them_the_place_where_it_would_lie():
    verdicts = tabulate(("1.png", SHA), ("copy.png", SHA), ("lost.png", None))
    assert identify(verdicts, "images")["identity"].to_pylist() == [SHA, SHA, "images/lost.png"]
    assert identify(verdicts)["identity"].to_pylist() == [SHA, SHA, "lost.png"]


def test_an_image_alone_is_a_group_and_others_are_in_the_one_that_is_named():
    judged = append_groups(identify(tabulate(("1.png", SHA), ("2.png", OTHER), ("lost.png", None))), {OTHER: SHA})
    assert judged.schema.equals(JUDGED)
    assert judged["group"].to_pylist() == [SHA, SHA, "lost.png"]


def test_without_an_image_root_each_reference_misses_its_image():
    judged = miss_images("clinic", ["1.png", "2.png"])
    assert judged.schema.equals(JUDGED)
    assert judged["image_rule"].to_pylist() == ["image_missing"] * 2
    assert judged["identity"].to_pylist() == judged["group"].to_pylist() == ["1.png", "2.png"]
    assert judged["source"].to_pylist() == ["clinic"] * 2
    assert miss_images("clinic", []).num_rows == 0

from __future__ import annotations

from pathlib import Path

import pytest

from vqa_pipeline.modeling.training.known_sizes import KnownSizes


def test_a_size_is_known_for_exactly_what_it_was_found_with(tmp_path: Path) -> None:
    path = tmp_path / "training" / "sizes.json"
    KnownSizes(path).put(16, "H200", "fp32")
    KnownSizes(path).put(32, "H200", "bf16")
    known = KnownSizes(path)
    assert (known.get("H200", "fp32"), known.get("H200", "bf16")) == (16, 32)
    assert (known.get("H200"), known.get("H200fp32", ""), known.get("fp32", "H200")) == (None, None, None)


@pytest.mark.parametrize("content", [None, "", "[1]", '{"[]": "many"}'])
def test_a_file_that_is_lost_or_damaged_knows_nothing(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "sizes.json"
    if content is not None:
        path.write_text(content)
    assert KnownSizes(path).get() is None
    KnownSizes(path).put(4)
    assert KnownSizes(path).get() == 4

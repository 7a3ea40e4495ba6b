"""What `evaluation.images: false` keeps out of the report and the page of metrics."""

from __future__ import annotations

import pytest
from colours_world import Runner, make_pipeline, write_source


@pytest.mark.parametrize("images", [True, False])
def test_confidential_images_are_neither_shown_nor_named(tmp_path, images):
    write_source(tmp_path, change={19: {"image": "nobody.png"}})
    done = Runner(make_pipeline(tmp_path, evaluation={"images": images}, dataset={"max_reject_fraction": 0.5})).run()
    report = (done["metrics"].version.path / "report.html").read_text()
    assert ("<img" in report, "nobody.png" in report) == (images, images)
    assert report.count("what colour is it?") >= 3
    assert "An image of an evaluated question" in done["metrics"].markdown or not images
    assert "![An image" not in done["metrics"].markdown or images

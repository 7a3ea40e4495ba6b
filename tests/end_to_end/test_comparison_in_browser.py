"""The page of a comparison in a real browser: light and dark, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from browser import Browser, start_browser
from cli_world import Project
from shapes_runs import run_shapes

from vqa_pipeline.cli import main

pytestmark = pytest.mark.slow

DECLARATION = """
type: vqa_pipeline.VqaPipeline
attributes: {{name: {name}, sources: [{{name: shapes, format: shapes, images: 400, image_pixels: 128}}]}}
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with start_browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two runs, the second with more images and another model."""
    project = Project(tmp_path_factory.mktemp("compared"))
    project.declare("demo", DECLARATION)
    run_shapes(project.root, 300, 0.6, store="data/store", scratch="data/scratch")
    run_shapes(project.root, 400, 0.85, store="data/store", scratch="data/scratch")
    with chdir(project.root), pytest.raises(SystemExit) as ended:
        main(["compare", "--output", "page.html"])
    assert ended.value.code == 0
    return project.root / "page.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
def test_everything_fits_and_nothing_is_missing(browser, page, width, scheme):
    browser.show_as(width, scheme)
    browser.open(page.as_uri())
    browser.wait_for(
        "What it is made of", "Questions added", "Right before, wrong now", "Wrong before, right now", "Origin"
    )
    assert browser.list_overflowing() == []
    widths = browser.read_image_widths()
    assert len(widths) > 10
    assert min(widths) > 0
    assert browser.read_console() == []
    assert browser.read_requests() <= {"file://"}
    browser.picture_whole(f"comparison {width} {scheme}")

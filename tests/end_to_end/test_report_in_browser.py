"""The report in a real browser: light and dark, on a desk and on a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, start_browser
from PIL import Image
from shapes_runs import run_shapes

pytestmark = pytest.mark.slow

WIDE = ("epoch\tsteps", "source\trows read", "calibration\tquestions")
"""Begins of tables of numbers that a phone shows in a card of their own, to be moved sideways."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with start_browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of a second run, with more images and a better model than the first."""
    root = tmp_path_factory.mktemp("runs")
    run_shapes(root, 300, 0.7)
    done = run_shapes(root, 400, 0.85)
    return shutil.copy(done.version.path / "report.html", root / "report.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
def test_everything_fits_and_nothing_is_missing(browser, report, width, scheme):
    browser.show_as(width, scheme)
    browser.open(report.as_uri())
    browser.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    browser.wait_for(
        "Verdict: promoted",
        "What changed",
        "Where it fails",
        "Suspect answers",
        "Wrong answers",
        "Right answers",
        "Origin",
    )
    assert [text for text in browser.list_overflowing() if not text.startswith(WIDE)] == []
    widths = browser.read_image_widths()
    assert len(widths) > 30
    assert min(widths) > 0
    assert browser.read_console() == []
    assert browser.read_requests() <= {"file://"}
    picture = browser.picture_whole(f"report {width} {scheme}")
    assert _tell_brightness(picture) == scheme


def _tell_brightness(picture: Path) -> str:
    """By the page's paper, in its first corner."""
    with Image.open(picture) as image:
        return "light" if image.convert("L").getpixel((2, 2)) > 127 else "dark"


def test_text_can_be_read_on_what_is_behind_it(browser, report):
    """At least 4.5 : 1 for every colour that text has, in both schemes (WCAG 2.2, 1.4.3)."""
    for scheme in ("light", "dark"):
        browser.show_as(1100, scheme)
        browser.open(report.as_uri())
        assert browser.run(_LOW_CONTRASTS) == [], scheme


_LOW_CONTRASTS = """
const parse = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
  .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = one => { for (; one; one = one.parentElement) {
  const colour = parse(getComputedStyle(one).backgroundColor); if (colour.length < 4 || colour[3] > 0) return colour; } return [255, 255, 255]; };
const found = {};
for (const one of document.querySelectorAll('main *')) {
  if (one.tagName == 'title') continue;  // a tooltip, which the browser draws
  if (![...one.childNodes].some(node => node.nodeType == 3 && node.textContent.trim())) continue;
  const style = getComputedStyle(one), svg = one instanceof SVGElement;
  const [text, paper] = [light(parse(svg ? style.fill : style.color)), light(behind(one))];
  const ratio = (Math.max(text, paper) + 0.05) / (Math.min(text, paper) + 0.05);
  if (ratio < 4.5) found[one.tagName + '.' + (one.className.baseVal ?? one.className)] = ratio;
}
return Object.entries(found).map(([name, ratio]) => `${name} ${ratio.toFixed(2)}`);
"""

"""The pages that people look at, in a real browser without a network: Dagster's own, the report, the page of rejects.

One pipeline's data tries to run scripts.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, start_browser
from live_project import Project, Server, read_versions
from PIL import Image

pytestmark = pytest.mark.slow

ATTACK = (
    """<script>window.stolen = 1</script><img src="x" onerror="window.stolen = 1"> [here](javascript:window.stolen=1)"""
)
COLOURS = ("red", "green", "blue", "yellow")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with start_browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="module")
def dagster(server: Server, browser: Browser, whole_run: str) -> Server:
    """The server, its greeting dismissed."""
    browser.open(server.address)
    browser.run("localStorage.setItem('communityNux', '1')")
    return server


@pytest.fixture(scope="module")
def attacked(server: Server) -> Project:
    """The server's project after a command ran the pipeline whose texts try to run scripts, accepted rows and rejected."""
    images = server.project.root / "raw" / "images"
    images.mkdir(parents=True)
    with (server.project.root / "raw" / "attack.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "image", "question", "answer", "split"])
        for number in range(40):
            colour = COLOURS[number % 4]
            Image.new("RGB", (32 + number, 32), colour).save(images / f"{number}.png")
            name = f"{number}.png" if number < 35 else f"{ATTACK}{number}.png"
            split = ("train", "train", "train", "val", "test")[number // 4 % 5]
            table.writerow([f"{number} {ATTACK}", name, f"what colour is it? {ATTACK}", f"{colour} {ATTACK}", split])
    status, told = server.project.run("run", "--pipeline", "attacked")
    assert status == 0, told
    return server.project


def current(project: Project, pipeline: str, asset: str) -> Path:
    """The folder of an asset's current version."""
    return project.store(pipeline) / asset / "versions" / read_versions(project.store(pipeline))[asset]["version"]


def test_the_asset_graph_shows_every_asset(browser, dagster):
    browser.open(f"{dagster.address}/locations/__repository__@vqa_pipeline/asset-groups/clinic/lineage")
    browser.wait_for("shapes", "dataset", "vocabulary", "checkpoint", "predictions", "metrics", "training_curve")
    browser.picture("graph")
    assert browser.read_console() == []
    assert browser.read_requests() <= {dagster.address}


def test_the_dataset_s_page_shows_rows_columns_and_checks(browser, dagster):
    browser.open(f"{dagster.address}/assets/clinic/dataset")
    browser.wait_for("Row count", "240", "free of leakage", "most_common_answer", "num_rejected")
    browser.open(f"{dagster.address}/assets/clinic/dataset?view=checks")
    browser.wait_for("ledger_balances", "has_questions", "reject_fraction", "no_leakage", "no_rejects", "drift")
    assert browser.read_console() == []
    assert browser.read_requests() <= {dagster.address}


def test_the_metrics_page_shows_the_headline_its_check_and_a_picture(browser, dagster):
    accuracy = read_versions(dagster.project.store("clinic"))["metrics"]["numbers"]["vqa_accuracy"]
    browser.open(f"{dagster.address}/assets/clinic/metrics")
    browser.wait_for(
        "VQA accuracy beside blind baselines", "vqa_accuracy", json.dumps(accuracy), "baseline_question_only"
    )
    browser.press("[Show Markdown]")
    browser.wait_for(f"VQA accuracy {accuracy:.3f}", "The baselines do not see the question's image.")
    assert browser.picture("metrics").stat().st_size > 10_000
    widths = browser.read_image_widths()
    assert len(widths) >= 2, "the curve and a picture"
    assert min(widths) > 0
    browser.open(f"{dagster.address}/assets/clinic/metrics?view=checks")
    browser.wait_for("looks_at_images", "calibrated", "Probabilities are at most 0.1 off on average")
    assert browser.read_console() == []
    assert browser.read_requests() <= {dagster.address}


def test_the_report_opens_without_a_network_and_all_its_pictures_show(browser, dagster):
    report = current(dagster.project, "clinic", "metrics") / "report.html"
    browser.open(report.as_uri())
    told = json.loads((report.parent / "metrics.json").read_text())
    assert browser.run("return document.title") == f"clinic: VQA accuracy {told['vqa_accuracy']:.3f}"
    browser.wait_for("Wrong answers", "Right answers", "Learning curve", f"{told['baseline_question_only']:.3f}")
    widths = browser.read_image_widths()
    assert len(widths) == told["num_scored"] if told["num_scored"] < 6 else len(widths) >= 6
    assert min(widths) > 0
    browser.picture("report")
    assert browser.read_console() == []
    assert browser.read_requests() <= {"file://"}


@pytest.mark.parametrize("page", ["metrics/report.html", "dataset/page.html"])
def test_text_from_data_stays_text_in_our_own_pages(browser, attacked, page):
    asset, name = page.split("/")
    browser.open((current(attacked, "attacked", asset) / name).as_uri())
    browser.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    browser.wait_for("<script>window.stolen = 1</script>")
    browser.picture(f"attacked {asset}")
    assert not browser.is_attacked()
    assert min(browser.read_image_widths(), default=1) > 0
    assert browser.read_console() == []
    assert browser.read_requests() <= {"file://"}


@pytest.mark.parametrize(
    ("asset", "shown"), [("predictions", "<script>window.stolen = 1</script>"), ("vocabulary", "scriptwindowstolen")]
)
def test_text_from_data_stays_text_in_dagster_s_pages(browser, dagster, attacked, asset, shown):
    browser.open(f"{dagster.address}/assets/attacked/{asset}")
    browser.wait_for("stage_seconds")
    if "[Show Markdown]" in browser.read_text():  # a long page is behind a button
        browser.press("[Show Markdown]")
    browser.wait_for(shown)
    browser.picture(f"attacked {asset} in Dagster")
    assert not browser.is_attacked()
    assert browser.read_requests() <= {dagster.address}

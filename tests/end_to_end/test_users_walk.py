"""A user's walk through Dagster's page in a real browser, from an empty graph to a pipeline that keeps itself up to date.

Everything is done with mouse and keyboard on what the page shows. `VQA_PIPELINE_SCREENSHOTS=docs/images` keeps the
pictures that the documents show.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import BACKSPACE, END, Browser, start_browser
from colours_world import declare_source, write_source
from live_project import Server, live_project, serve, wait_until

pytestmark = pytest.mark.slow

ASSETS = ("dataset", "vocabulary", "checkpoint", "training_curve", "predictions", "metrics", "champion")
SETTINGS: dict[str, Any] = {"sources": [declare_source()], "observe": "* * * * *"}
EPOCHS = 120
"""A training that takes about a minute: long enough to be watched and cancelled."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    with start_browser(folder) as started:
        started.screenshots = Path(os.environ.get("VQA_PIPELINE_SCREENSHOTS", folder))
        yield started


@pytest.fixture(scope="module")
def walked(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`dagster dev` on a project with one pipeline, whose source is a table with pictures; nothing has run."""
    with live_project(tmp_path_factory.mktemp("walk") / "project") as project:
        write_source(project.root, rows=80)
        project.declare("clinic", **SETTINGS)
        with serve(project) as server:
            yield server


def test_a_pipeline_s_life_in_dagster_s_page(browser, walked):
    browser.show_as(1400, "light", 900)
    see_the_graph(browser, walked)
    materialize_everything(browser, walked)
    open_the_report(browser, walked)
    cancelled = launch_with_other_epochs(browser, walked, "launchpad")
    watch_the_curve(browser, walked, cancelled)
    cancel(browser, walked, cancelled)
    resumed = launch_with_other_epochs(browser, walked)
    see_it_go_on_and_end(browser, walked, resumed)
    see_what_was_overridden_and_what_is_out_of_date(browser, walked)
    let_it_keep_itself_up_to_date(browser, walked)
    change_the_data_and_see_why_it_runs(browser, walked)


def see_the_graph(browser: Browser, server: Server) -> None:
    browser.open(server.address)
    browser.click("Skip")  # the greeting
    browser.click("Lineage")
    browser.wait_for("colours", *ASSETS, "Materialize all (7)")


def materialize_everything(browser: Browser, server: Server) -> None:
    browser.click("Materialize all (7)")
    browser.click("View")  # what the page says of the run that it launched
    wait_for_run(browser, server, "Success")
    browser.show_as(2800, "light", 1200)  # wide enough for the graph to tell more than names
    open_graph(browser, server)
    wait_until(lambda: browser.read_text().count("Materialized") == 7, 30, "the graph shows what was materialized")
    browser.wait_for("Observed", "6 / 6 Passed")
    assert "Unsynced" not in browser.read_text()
    browser.picture_around("asset_graph", "foreignObject")
    browser.show_as(1400, "light", 900)


def open_the_report(browser: Browser, server: Server) -> None:
    open_asset(browser, server, "metrics")
    browser.wait_for("report.html")
    browser.open(Path(read_value(browser, "report")).as_uri())
    browser.wait_for("Wrong answers", "Right answers", "Learning curve")
    assert min(browser.read_image_widths()) > 0


def launch_with_other_epochs(browser: Browser, server: Server, picture: str = "") -> str:
    """Returns the run."""
    open_asset(browser, server, "checkpoint")
    browser.click("Materialize", shift=True)
    browser.wait_for("Launchpad (configure assets)", "All defaults expanded")
    browser.click("epochs: 3")
    browser.type(f"{END}{BACKSPACE}{EPOCHS}")
    browser.wait_for(f"epochs: {EPOCHS}", "No errors")
    browser.wait_for_place("Materialize")
    if picture:
        browser.picture(picture)
    browser.click("Materialize")
    wait_until(lambda: "/runs/" in browser.read_address(), 60, "the page of the run")
    return browser.read_address().rpartition("/")[2]


def watch_the_curve(browser: Browser, server: Server, run: str) -> None:
    wait_until(lambda: re.search(r"epoch \d\d done", browser.read_text()), 120, "ten epochs are in the log of the page")
    open_asset(browser, server, "training_curve")
    browser.wait_for("val_accuracy", run)
    browser.click("Plots")
    browser.wait_for("loss", "val_accuracy")
    browser.scroll_to("loss")
    assert browser.run("return document.querySelectorAll('canvas').length") >= 5
    browser.picture("live_curve")


def cancel(browser: Browser, server: Server, run: str) -> None:
    [worker] = server.project.find_workers()
    browser.open(f"{server.address}/runs/{run}")
    browser.click("Terminate")
    browser.click("Terminate 1 run")
    wait_for_run(browser, server, "Canceled")
    assert server.project.find_workers() == []
    assert not worker.is_running()


def see_it_go_on_and_end(browser: Browser, server: Server, run: str) -> None:
    browser.wait_for("Started", seconds=60)
    browser.click("Filter…")
    browser.type("going on from step")
    browser.wait_for("going on from step", seconds=60)
    wait_for_run(browser, server, "Success")


def see_what_was_overridden_and_what_is_out_of_date(browser: Browser, server: Server) -> None:
    open_asset(browser, server, "checkpoint")
    browser.wait_for("declared_in_yaml")
    assert json.loads(read_value(browser, "overridden")) == {"epochs": EPOCHS}
    assert read_value(browser, "declared_in_yaml") == "false"
    for asset in ("predictions", "champion"):
        open_asset(browser, server, asset)
        browser.wait_for("Unsynced (1)")


def let_it_keep_itself_up_to_date(browser: Browser, server: Server) -> None:
    server.project.declare("clinic", **SETTINGS, retrain="on_change")
    browser.open(server.address)
    browser.click("Lineage")
    browser.click("Reload definitions")
    browser.wait_for("Definitions reloaded!")
    browser.click("Automation")
    browser.wait_for("clinic_automation", "Automation condition sensor")


def change_the_data_and_see_why_it_runs(browser: Browser, server: Server) -> None:
    write_source(server.project.root, rows=100)
    open_asset(browser, server, "records/colours")
    browser.wait_for("Unsynced (1)", seconds=150)
    browser.click("Automation")
    browser.wait_for("1 run", seconds=90)
    look = browser.run(
        "return [...document.querySelectorAll('tr')].find(row => row.innerText.includes('1 run')).innerText"
    )
    browser.click(look.partition("\n")[0])
    browser.wait_for("follows its inputs", "content changed, or never made", "True")
    browser.picture("condition")
    browser.click("Runs (1)")
    browser.wait_for("clinic_automation")


def open_graph(browser: Browser, server: Server) -> None:
    browser.open(f"{server.address}/locations/__repository__@vqa_pipeline/asset-groups/clinic/lineage")
    browser.wait_for(*ASSETS)


def open_asset(browser: Browser, server: Server, asset: str) -> None:
    browser.open(f"{server.address}/assets/clinic/{asset}")
    browser.wait_for("Latest")


def read_value(browser: Browser, name: str) -> str:
    """What the table of metadata on an asset's page says."""
    rows = "[...document.querySelectorAll('tr')].filter(row => row.cells[0].innerText.trim() === '%s')"
    return browser.run(f"return {rows % name}[0].cells[2].innerText").strip()


def wait_for_run(browser: Browser, server: Server, status: str) -> None:
    """Wait for the page of a run to say how it ended."""
    run = browser.read_address().rpartition("/")[2]
    server.wait_for(run, status.upper(), 300)
    browser.wait_for(status)

"""Training and predicting with `--output`: on what is published, without Dagster."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from colours_world import Runner, make_pipeline, write_source
from fake_worker import FakeWorker

from vqa_pipeline.errors import EXIT_CANCELLED
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.reporting.training import list_facts
from vqa_pipeline.stages.standalone import open_published, train_into

SMALL = ("tiny_width=32", "tiny_patch_pixels=8", "tiny_image_pixels=16", "threads=1", "device=cpu", "epochs=1")
WITHOUT_DAGSTER = """
import sys
sys.modules["dagster"] = None
from vqa_pipeline.cli import main
main(sys.argv[1:])
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder of a pipeline in its store, with a dataset and a vocabulary."""
    write_source(tmp_path)
    pipeline = make_pipeline(tmp_path)
    Runner(pipeline).run(until="vocabulary")
    return pipeline.store_folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_DAGSTER, *arguments]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, timeout=180, check=False)


def name_settings(*pairs: str) -> list[str]:
    return [word for pair in ("backbone=tiny", *SMALL, *pairs) for word in ("--set", pair)]


def test_a_checkpoint_that_is_there_is_told_again_without_dagster_and_without_a_project(store, tmp_path):
    published = open_published(store, tmp_path / "scratch")
    settings = TrainingSettings.model_validate(dict(pair.split("=") for pair in ("backbone=tiny", *SMALL)))
    told = train_into(tmp_path / "model", published, settings, FakeWorker())
    ended = run(tmp_path, "train", "--dataset", str(store), "--output", "model", *name_settings())
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[:3] == ["", "model", f"  {'accuracy':<12}  {dict(list_facts(told))['accuracy']}"]


@pytest.mark.slow
def test_a_dataset_is_trained_on_and_predicted_without_dagster_and_without_a_project(store, tmp_path):
    place = tmp_path / "elsewhere"
    place.mkdir()
    trained = run(place, "train", "--dataset", str(store), "--output", "model", *name_settings())
    assert trained.returncode == 0, trained.stderr
    lines = {line[2:14].strip(): line[16:] for line in trained.stdout.splitlines()[2:]}
    assert trained.stdout.splitlines()[:2] == ["", "model"]
    assert lines["accuracy"].endswith("on 4 validation questions, in epoch 1 of 1")
    assert lines["computed"].startswith("on cpu in fp32, 1 threads")
    curves = place / lines["curves"].removeprefix("tensorboard --logdir ")
    assert list(curves.glob("events.*"))
    assert "epoch 1 done" in trained.stderr
    told = json.loads((place / "model" / "training.json").read_text())
    assert (place / "model" / "model.safetensors").is_file()
    again = run(place, "train", "--dataset", str(store), "--output", "model", *name_settings())
    assert (again.returncode, again.stdout, again.stderr) == (0, trained.stdout, ""), "what is there is told again"
    answers = ["--checkpoint", "model", "--dataset", str(store), "--output", "answers.parquet", "--split", "val"]
    predicted = run(place, "predict", *answers, "--set", "device=cpu", "--set", "threads=1")
    assert predicted.returncode == 0, predicted.stderr
    table = pq.read_table(place / "answers.parquet")
    assert table.num_rows == 4
    assert set(table["checkpoint"].to_pylist()) == {told["fingerprint"]}
    assert "predictions   4 of val" in predicted.stdout


def test_in_a_project_the_published_dataset_is_meant_and_a_folder_of_something_else_is_left_alone(call, project, store):
    home = project.root / "data" / "store"
    home.mkdir(parents=True)
    store.rename(home / "clinic")
    (project.root / "out").mkdir()
    (project.root / "out" / "thesis.txt").write_text("mine")
    ended = call("train", "--output", "out")
    assert ended.status == 1
    assert "out is there already and is no checkpoint" in ended.err


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["train", "--dataset", "data"], "--dataset"),
        (["predict", "--dataset", "data"], "--dataset"),
        (["predict", "--checkpoint", "model"], "--checkpoint"),
        (["predict", "--split", "val"], "--split"),
        (["predict", "--set", "batch_size=8"], "--set"),
    ],
)
def test_what_only_output_can_take_is_refused_without_it(call, project, arguments, option):
    ended = call(*arguments)
    assert ended.status == 1
    assert ended.err.startswith(f"error: `{option}`: only what goes to --output can be told so.")


def test_before_anything_is_published_it_says_what_to_make(call, project):
    ended = call("train", "--output", "model")
    assert ended.status == 1
    assert "dataset has no published version" in ended.err
    assert not (project.root / "model").exists()


def test_settings_are_checked_as_ever(call, project, store):
    ended = call("train", "--dataset", str(store), "--output", "model", "--set", "epoch=3")
    assert ended.status == 1
    assert "there is no training setting 'epoch'" in ended.err


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on_and_the_same_command_goes_on(store, tmp_path):
    arguments = ["train", "--dataset", str(store), "--output", "model", *name_settings("epochs=40", "batch_size=1")]
    command = [sys.executable, "-c", WITHOUT_DAGSTER, *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for line in process.stderr:
        if line.startswith("epoch 2 done"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (EXIT_CANCELLED, "")
    assert re.search(r"(?m)^stopped on request at step \d+; the next run resumes from ", err)
    assert not (tmp_path / "model").exists()
    again = run(tmp_path, *arguments)
    assert again.returncode == 0, again.stderr
    assert "going on from step" in again.stderr
    assert (tmp_path / "model" / "model.safetensors").is_file()

"""`predict IMAGE QUESTION`, `predict --questions FILE` and `vqa_pipeline.load`, with a small checkpoint that learned."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from modeling_world import never, png, train_job, write_world

import vqa_pipeline
from vqa_pipeline.deployment import Deployment
from vqa_pipeline.errors import ChampionDamaged, NoChampion, SettingsError
from vqa_pipeline.modeling.training.train import train
from vqa_pipeline.reporting.model_card import _USE
from vqa_pipeline.store import Draft, Store


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    world = write_world(folder)
    train(train_job(world, folder), lambda event: None, never)
    return folder / "checkpoint"


@pytest.fixture
def store(project, checkpoint: Path) -> Store:
    """The project's, with the checkpoint published."""
    store = Store(project.root / "data" / "store" / "clinic", project.root / "data" / "scratch" / "clinic")
    with store.candidate("checkpoint") as folder:
        shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
        store.publish("checkpoint", folder, Draft(data_version="c1", stage_number=3, settings={}, seconds=1))
    return store


@pytest.fixture
def champion(store: Store) -> Path:
    return Deployment(store).deploy(store.require("checkpoint"), "card", "pinned", "").folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photos" / "one.png"
    file.parent.mkdir()
    file.write_bytes(png((200, 30, 60)))
    return file


def test_the_champion_answers_with_probabilities(call, champion, photo):
    ended = call("predict", str(photo), "what colour is it?")
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].split() == ["probability", "answer"]
    assert re.match(r"\d\.\d{3} +\S", lines[1])
    told = json.loads(call("predict", str(photo), "what colour is it?", "--json").out)
    assert (told["image"], told["question"], told["error"]) == (str(photo), "what colour is it?", None)
    assert told["answer"] == told["top"][0]["answer"] == lines[1].split(maxsplit=1)[1]
    assert 0 <= told["probability"] <= 1


def test_without_a_champion_the_published_checkpoint_answers_and_that_is_said(call, store, photo):
    ended = call("predict", str(photo), "what?")
    assert ended.status == 0
    version = store.require("checkpoint").manifest.version
    assert ended.err == f"There is no champion yet; the published checkpoint {version} answers.\n"


def test_a_checkpoint_can_be_named(call, project, checkpoint, photo):
    assert call("predict", str(photo), "what?", "--checkpoint", str(checkpoint)).status == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere.png", "what?"], "error: `nowhere.png`: [Errno 2] No such file or directory"),
        (["PHOTO", " "], "the question is empty"),
        (["PHOTO"], "error: `QUESTION`: an image needs a question"),
        (["--questions", "rows.xlsx"], "error: `rows.xlsx`: its suffix is none of .csv, .jsonl, .ndjson, .tsv"),
        (["--questions", "rows.csv"], "error: `rows.csv`: cannot be read ("),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_line(call, champion, photo, arguments, told):
    ended = call("predict", *[str(photo) if one == "PHOTO" else one for one in arguments])
    assert ended.status == 1
    assert told in ended.err


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_a_file_is_answered_row_by_row_and_what_cannot_be_stays_with_its_reason(call, champion, photo, suffix):
    rows = [("one.png", "what colour?"), ("gone.png", "what?"), ("one.png", "is it, or not?")]
    file, output = photo.with_name(f"rows.{suffix}"), photo.with_name(f"answers.{suffix}")
    file.write_text(write(suffix, rows))
    ended = call("predict", "--questions", str(file), "--output", str(output))
    assert ended.status == 1
    assert ended.err.endswith("1 could not be answered; their rows say why.\n")
    told = read(suffix, output.read_text())
    assert [(row["image"], row["question"]) for row in told] == rows
    assert [bool(row["answer"]) for row in told] == [True, False, True]
    assert "No such file" in told[1]["error"]
    assert not told[0]["error"]


def write(suffix, rows):
    if suffix == "jsonl":
        return "".join(json.dumps({"image": image, "question": question}) + "\n" for image, question in rows)
    delimiter = {"csv": ",", "tsv": "\t"}[suffix]
    return "".join(f'{image}{delimiter}"{question}"\n' for image, question in [("image", "question"), *rows])


def read(suffix, text):
    if suffix == "jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return list(csv.DictReader(text.splitlines(), delimiter={"csv": ",", "tsv": "\t"}[suffix]))


def test_a_row_that_lacks_something_stays_with_its_reason(call, champion, photo):
    rows = [
        {"image": "one.png", "question": "what?"},
        {"image": "one.png"},
        {"image": "", "question": "what?"},
        {"image": None, "question": "what?"},
        {"image": "one.png", "question": 7},
    ]
    file = photo.with_name("rows.jsonl")
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended = call("predict", "--questions", str(file))
    assert ended.status == 1
    assert "4 could not be answered" in ended.err
    told = [json.loads(line) for line in ended.out.splitlines()]
    assert [row["error"] for row in told] == [
        None,
        "the row has no question",
        "the row has no image",
        "the row has no image",
        "`question` is 7, not a text",
    ]
    assert [(row["image"], row["question"]) for row in told] == [
        *(("one.png", "what?"), ("one.png", None), ("", "what?"), (None, "what?"), ("one.png", 7))
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("image,question\n", "no question is in it"),
        ("picture,question\none.png,what?\n", "has no column 'image'; its columns are 'picture', 'question'"),
        ("a;b\n1;2\n", "has no column 'image' and 'question'; its columns are 'a;b'"),
    ],
)
def test_a_file_of_which_no_row_could_be_answered_is_refused(call, champion, photo, text, told):
    file = photo.with_name("rows.csv")
    file.write_text(text)
    ended = call("predict", "--questions", str(file))
    assert ended.status == 1
    assert told in ended.err
    assert ended.out == ""


def test_what_would_act_on_a_terminal_is_written_out(call, champion, photo):
    file = photo.with_name("rows.jsonl")
    question = "what\u009b31m?\u2028é\U000e0001"
    file.write_text(json.dumps({"image": "one.png", "question": question}))
    ended = call("predict", "--questions", str(file))
    assert "what\\u009b31m?\\u2028é\\udb40\\udc01" in ended.out
    assert json.loads(ended.out)["question"] == question


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["PHOTO", "what?", "--output", "told.csv"], "--output"),
        (["PHOTO", "what?", "--split", "val"], "--split"),
        (["PHOTO", "what?", "--set", "device=cpu"], "--set"),
        (["PHOTO", "what?", "--dataset", "data"], "--dataset"),
        (["PHOTO", "what?", "--questions", "rows.csv"], "IMAGE"),
        (["--questions", "rows.csv", "--json"], "--json"),
        (["--questions", "rows.csv", "--split", "val"], "--split"),
        (["--json"], "--json"),
    ],
)
def test_an_option_that_would_say_nothing_is_refused(call, champion, photo, arguments, option):
    ended = call("predict", *[str(photo) if one == "PHOTO" else one for one in arguments])
    assert ended.status == 1
    assert f"error: `{option}`: it says nothing about" in ended.err


@pytest.mark.parametrize(("threshold", "is_told"), [(0.0, False), (1.0, True)])
def test_that_it_had_better_not_answer_is_told_where_it_is_so(call, checkpoint, photo, tmp_path, threshold, is_told):
    shutil.copytree(checkpoint, tmp_path / "other")
    file = tmp_path / "other" / "calibration.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | {"abstain_threshold": threshold}))
    ended = call("predict", str(photo), "what?", "--checkpoint", str(tmp_path / "other"))
    assert ("It is not sure enough of any of them" in ended.out) == is_told


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("csv", 'image,question\r\none.png,"two\nlines, or more?\u2028"\r\n'),
        ("jsonl", '{"image": "one.png", "question": "two\\nlines, or more?\u2028"}\r\n'),
    ],
)
def test_a_question_is_asked_as_it_was_written(call, champion, photo, suffix, text):
    file = photo.with_name(f"rows.{suffix}")
    file.write_bytes(text.encode())
    ended = call("predict", "--questions", str(file))
    assert ended.status == 0
    [row] = [json.loads(line) for line in ended.out.split("\n") if line]
    assert row["question"] == "two\nlines, or more?\u2028"


# ------------------------------------------------------------------------------------------------------------ in Python


def test_the_champion_is_loaded_by_its_name_from_below_the_project(project, champion, photo):
    answerer = vqa_pipeline.load("champion", project=project.root / "hospital" / "defs", device="cpu")
    assert answerer.folder == champion
    assert answerer.answer(photo, "what colour?") == vqa_pipeline.load(champion, device="cpu").answer(
        photo, "what colour?"
    )


@pytest.mark.parametrize("name", ["champoin", "dandelin/vilt-b32-mlm"])
def test_a_name_that_is_no_folder_is_refused_and_never_looked_up(project, champion, name):
    with pytest.raises(SettingsError, match=f"`{name}`: it is no folder. Name `champion`, or the folder of"):
        vqa_pipeline.load(name, project=project.root)


def test_without_one_or_with_a_damaged_one_it_says_so(project, store, checkpoint):
    with pytest.raises(NoChampion):
        vqa_pipeline.load(project=project.root)
    folder = Deployment(store).deploy(store.require("checkpoint"), "card", "pinned", "").folder
    (folder / "vocabulary.json").unlink()
    with pytest.raises(ChampionDamaged, match="vocabulary.json"):
        vqa_pipeline.load(project=project.root)


def test_importing_the_package_and_its_loader_loads_no_torch():
    code = "import sys, vqa_pipeline; vqa_pipeline.load; sys.exit('torch' in sys.modules or 'dagster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_the_model_cards_snippets_run_and_agree(champion, photo):
    """Ours, and the one with transformers alone."""
    ours, alone = re.findall(r"```python\n(.*?)```", _USE, re.DOTALL)
    told = []
    for code in (ours, alone):
        filled = code.replace("PATH OF THIS FOLDER", str(champion)).replace("photo.jpg", str(photo))
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", filled], check=True, capture_output=True, text=True
        )
        told.append(done.stdout.strip().splitlines()[-1])
    assert f"answer='{told[1]}'" in told[0]

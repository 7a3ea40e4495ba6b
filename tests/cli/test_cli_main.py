"""The command line as a whole: help, exit statuses, mistakes without stack traces, and a light start."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vqa_pipeline.pipeline import Pipeline

COMMANDS = {
    "Train": ["run", "train", "predict"],
    "Understand": ["status", "history", "why", "compare", "trace"],
    "Data": ["new", "inspect", "validate", "rejects"],
    "Keep house": ["champion", "prune", "export"],
}

COMMON = ["--pipeline", "--file"]
HELP = {
    "run": (
        "Everything from the raw files to report and champion; what has not changed is not computed again.",
        [*COMMON, "--until", "--set"],
    ),
    "train": (
        "The checkpoint, and what it needs; with --output, trained on what is published, without Dagster.",
        [*COMMON, "--set", "--output", "--dataset"],
    ),
    "predict": (
        "[IMAGE] [QUESTION] Ask the champion, or without IMAGE and --questions: predictions, metrics and verdict of the",
        [*COMMON, "--set", "--output", "--dataset", "--checkpoint", "--split", "--questions", "--json"],
    ),
    "status": (
        "What is published: version, time, numbers and folder of every asset; when the next training is due.",
        [*COMMON, "--json"],
    ),
    "history": (
        "Checkpoints, the newest first: when, trained on and with what, accuracy with its interval, verdict.",
        [*COMMON, "--limit", "--json"],
    ),
    "compare": (
        "[A] [B] Why the accuracy changed from A to B: policy, questions, answers or model; and which questions flipped.",
        [*COMMON, "--output", "--limit", "--json"],
    ),
    "trace": (
        "[QUESTION_ID] Where an answer came from: prediction, example, raw record, versions; or what became of a line.",
        ["--source", *COMMON, "--json"],
    ),
    "rejects": (
        "Rows that were not accepted: where, which rule, why, how to mend them, and the row itself.",
        [*COMMON, "--rule", "--source", "--limit", "--as-corrections", "--json"],
    ),
    "validate": (
        "Read, validate and join the sources, publish nothing: what becomes of every row. Fails where a gate would.",
        [*COMMON, "--json"],
    ),
    "inspect": (
        "PATH What a file or folder is: format, counts, first rows, images, problems to expect, the lines to declare it.",
        ["--json"],
    ),
    "new": (
        "NAME PATH A pipeline that reads a file or folder: its declaration, and a project around it where there is none.",
        ["--json"],
    ),
    "champion": (
        "[ACTION]:[show|list|pin|release|rollback] [VERSION] The checkpoint in use, its history, or another by your choice.",
        [*COMMON, "--reason", "--json"],
    ),
    "prune": (
        "What may go by the setting keep, and why; --yes deletes it. Never what is in use or what that was made from.",
        [*COMMON, "--yes", "--caches", "--json"],
    ),
    "export": (
        "ASSET:{dataset} OUT The current dataset as one folder: questions joined with the bytes of their images, and a card.",
        [*COMMON, "--format", "--json"],
    ),
}


def test_help_lists_the_commands_in_their_groups(call):
    ended = call("--help")
    assert ended.status == 0
    found: dict[str, list[str]] = {}
    for line in ended.out.splitlines():
        if title := re.match(r"╭─ (\w[\w ]*) ─", line):
            found[title[1]] = []
        elif command := re.match(r"│ (\w+)  +\w", line):
            list(found.values())[-1].append(command[1])
    assert {title: names for title, names in found.items() if title != "Options"} == COMMANDS


@pytest.mark.parametrize("command", HELP)
def test_a_command_explains_itself_and_each_of_its_options(call, command):
    ended = call(command, "--help")
    description, options = HELP[command]
    assert ended.status == 0
    words = " ".join(ended.out.split())
    assert words.startswith(f"Usage: vqa-pipeline {command} [OPTIONS] {description}")
    told = re.findall(r"^│ (--[\w-]+)\s+(.*?)\s*│$", ended.out, re.MULTILINE)
    assert [name for name, _ in told] == [*options, "--help"]
    assert all(re.search(r"[A-Z]\w*,?( [\w']+)+", text) for _, text in told)


def test_a_wrong_choice_names_the_right_ones(call, project):
    told = " ".join(call("run", "--until", "raw").err.replace("│", " ").split())
    assert "'raw' is not one of 'dataset', 'vocabulary', 'checkpoint', 'predictions', 'metrics'," in told


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nope",),
        ("nope",),
        ("status", "--nope"),
        ("rejects", "--limit", "0"),
        ("run", "--until", "raw"),
        ("status", "x"),
    ],
)
def test_a_wrong_command_line_is_status_2_with_the_usage(call, project, arguments):
    ended = call(*arguments)
    assert ended.status == 2
    assert "Usage:" in ended.err
    assert "Traceback" not in ended.err


def test_no_command_shows_the_help(call):
    ended = call()
    assert "Train" in ended.out + ended.err


@pytest.mark.parametrize("command", ["run", "train", "predict", "status", "history", "compare", "trace", "rejects"])
def test_outside_of_a_project_a_command_says_where_to_go(call, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    ended = call(command)
    assert ended.status == 1
    assert ended.out == ""
    assert ended.err.startswith("error: `project`: no project at or above")
    assert "Traceback" not in ended.err


def test_a_mistake_in_the_declaration_is_told_with_file_and_setting(call, project):
    project.declare("broken", "type: vqa_pipeline.VqaPipeline\nattributes: {{sources: [], trainig: 1}}\n")
    ended = call("status")
    assert ended.status == 1
    assert "defs.yaml" in ended.err
    assert "trainig" in ended.err
    assert ended.err.count("\n") == 1


def test_what_a_message_repeats_cannot_act_on_the_terminal(call, project):
    ended = call("status", "--pipeline", "\x1b[2Jx")
    assert ended.status == 1
    assert "there is no pipeline \\x1b[2Jx" in ended.err
    assert "\x1b" not in ended.err


def test_a_store_that_is_a_file_is_told_in_a_line(call, project):
    (project.root / "data").mkdir()
    (project.root / "data" / "store").write_text("a file")
    ended = call("status")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"error: {project.root}/data/store/clinic/raw/scans/current.json: Not a directory. ")
    assert ended.err.count("\n") == 1


def test_a_scratch_folder_that_cannot_be_made_is_told_in_a_line(call, project, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(project.root))
    (project.root / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (project.root / "data").write_text("a file")
    ended = call("predict")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"error: {project.root}/data")
    assert ". Move away what stands in its place" in ended.err
    assert ended.err.count("\n") == 1


def break_status(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(_file: Path | None) -> list[Pipeline]:
        raise error

    monkeypatch.setattr("vqa_pipeline.cli.understand.find_pipelines", broken)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", ".dagster"),
            ".dagster: Permission denied. Give this user the right to use it, or choose another folder.",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", ".dagster"),
            ".dagster: Read-only file system. Choose a folder that can be written.",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "{cwd}: No space left on device. Free space on its disk, then run again.",
        ),
    ],
)
def test_what_the_disk_refuses_is_told_in_a_line(call, project, monkeypatch, error, told):
    break_status(monkeypatch, error)
    ended = call("status")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == f"error: {told.format(cwd=project.root)}\n"


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file", "x"), OSError("no number"), ValueError("bug")])
def test_a_program_s_own_mistake_is_not_hidden(call, project, monkeypatch, error):
    break_status(monkeypatch, error)
    with pytest.raises(type(error)):
        call("status")


def test_the_module_is_the_command(project):
    command = [sys.executable, "-m", "vqa_pipeline.cli", "status", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=project.root)
    assert json.loads(ended.stdout)["assets"] == {}


@pytest.mark.parametrize("command", ["status", "history", "rejects"])
def test_commands_that_only_read_load_neither_dagster_nor_torch_nor_pandas(project, command):
    program = (
        f"import sys; from vqa_pipeline.cli import main\ntry: main(['{command}'])\nexcept SystemExit: pass\n"
        "print(sorted({'dagster', 'torch', 'transformers', 'pandas', 'polars', 'sklearn'} & set(sys.modules)))"
    )
    project.publish("dataset")
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=project.root
    )
    assert ended.stdout.splitlines()[-1] == "[]"

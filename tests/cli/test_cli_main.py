"""The command line as a whole: help, exit statuses, mistakes without stack traces, and a light start."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

COMMANDS = {
    "Train": ["run", "train", "predict"],
    "Understand": ["status"],
    "Data": ["rejects"],
}

COMMON = ["--pipeline", "--file"]
HELP = {
    "run": (
        "Everything from the raw files to the report; what has not changed is not computed again.",
        [*COMMON, "--until", "--set"],
    ),
    "train": ("The checkpoint, and what it needs.", [*COMMON, "--set"]),
    "predict": ("Predictions and metrics of the current checkpoint on the current dataset.", COMMON),
    "status": ("What is published: version, time, numbers and folder of every asset.", [*COMMON, "--json"]),
    "rejects": (
        "Rows that were not accepted: where, which rule, why, how to mend them, and the row itself.",
        [*COMMON, "--rule", "--source", "--limit", "--json"],
    ),
}


def test_help_lists_the_commands_in_their_groups(call):
    ended = call("--help")
    assert ended.status == 0
    found: dict[str, list[str]] = {}
    for line in ended.out.splitlines():
        if title := re.match(r"╭─ (\w+) ─", line):
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
    assert "'raw' is not one of 'dataset', 'vocabulary', 'checkpoint', 'predictions', 'metrics'." in told


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


@pytest.mark.parametrize("command", ["run", "train", "predict", "status", "rejects"])
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


def test_the_module_is_the_command(project):
    command = [sys.executable, "-m", "vqa_pipeline.cli", "status", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=project.root)
    assert ended.stdout == '{\n "assets": {}\n}\n'


@pytest.mark.parametrize("command", ["status", "rejects"])
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

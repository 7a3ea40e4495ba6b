"""Links to code: where it stands here, and in the repository that hosts it."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from vqa_pipeline.orchestration.code_links import find_repository, link_code, read_remote


def git(folder: Path, *arguments: str) -> str:
    told = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false"]
    return subprocess.run([*told, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a stage and a declaration, whose remote is not set."""
    folder = tmp_path / "checkout"
    (folder / "project" / "defs").mkdir(parents=True)
    (folder / "project" / "linked_stage.py").write_text('"""A stage."""\n\n\ndef build():\n    return 1\n')
    (folder / "project" / "defs" / "defs.yaml").write_text("type: vqa_pipeline.VqaPipeline\n")
    git(tmp_path, "init", "--quiet", str(folder))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "begin")
    return folder


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://github.com/ward/vqa.git", ("github.com", "https://github.com/ward/vqa")),
        ("https://github.com/ward/vqa", ("github.com", "https://github.com/ward/vqa")),
        ("git@github.com:ward/vqa.git", ("github.com", "https://github.com/ward/vqa")),
        (
            "ssh://git@gitlab.ward.org:2222/team/sub/vqa.git",
            ("gitlab.ward.org", "https://gitlab.ward.org/team/sub/vqa"),
        ),
        ("https://me:s3cret@gitlab.com/ward/vqa.git/", ("gitlab.com", "https://gitlab.com/ward/vqa")),
        ("/srv/git/vqa.git", None),
        ("../vqa", None),
        ("", None),
    ],
)
def test_a_remote_s_page_is_read_from_its_address_without_who_may_enter(address, expected):
    assert read_remote(address) == expected


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("git@github.com:ward/vqa.git", "https://github.com/ward/vqa/blob/{}/project/linked_stage.py#L4"),
        ("git@gitlab.com:ward/vqa.git", "https://gitlab.com/ward/vqa/-/blob/{}/project/linked_stage.py#L4"),
        ("git@bitbucket.org:ward/vqa.git", "https://bitbucket.org/ward/vqa/src/{}/project/linked_stage.py#lines-4"),
        ("git@codeberg.org:ward/vqa.git", "https://codeberg.org/ward/vqa/src/commit/{}/project/linked_stage.py#L4"),
    ],
)
def test_in_a_hosted_repository_function_and_declaration_are_linked_as_committed(
    checkout, monkeypatch, remote, expected
):
    git(checkout, "remote", "add", "origin", remote)
    monkeypatch.syspath_prepend(str(checkout / "project"))
    stage = import_module("linked_stage")
    try:
        links = link_code(stage.build, checkout / "project" / "defs" / "defs.yaml").code_references
    finally:
        del sys.modules["linked_stage"]
    local, code, declaration = links
    assert (local.file_path, local.line_number) == (str(checkout / "project" / "linked_stage.py"), 4)
    url = expected.format(git(checkout, "rev-parse", "HEAD"))
    assert (code.url, code.label) == (url, "build, as committed")
    assert declaration.url.partition("#")[0] == url.partition("#")[0].replace("linked_stage.py", "defs/defs.yaml")
    assert declaration.label == "the pipeline's declaration, as committed"


@pytest.mark.parametrize("remote", ["git@git.ward.org:ward/vqa.git", "/srv/git/vqa.git"])
def test_of_a_host_that_nothing_is_known_of_there_is_no_link(checkout, remote):
    git(checkout, "remote", "add", "origin", remote)
    assert find_repository(checkout) is None


def test_a_package_that_is_installed_inside_somebody_s_checkout_is_no_part_of_it(checkout, monkeypatch):
    git(checkout, "remote", "add", "origin", "git@github.com:ward/vqa.git")
    installed = checkout / ".venv" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "installed_stage.py").write_text("def build():\n    return 1\n")
    monkeypatch.syspath_prepend(str(installed))
    stage = import_module("installed_stage")
    try:
        local, declaration = link_code(stage.build, checkout / "project" / "defs" / "defs.yaml").code_references
    finally:
        del sys.modules["installed_stage"]
    assert local.file_path == str(installed / "installed_stage.py")
    assert declaration.url.endswith("/project/defs/defs.yaml#L1")


def test_a_declaration_that_is_a_link_out_of_the_checkout_is_not_linked(checkout, tmp_path):
    git(checkout, "remote", "add", "origin", "git@github.com:ward/vqa.git")
    (tmp_path / "elsewhere.yaml").write_text("type: vqa_pipeline.VqaPipeline\n")
    link = checkout / "project" / "linked.yaml"
    link.symlink_to(tmp_path / "elsewhere.yaml")
    assert all("elsewhere" not in getattr(one, "url", "") for one in link_code(git, link).code_references)


def test_without_a_repository_code_is_linked_on_this_machine_alone(tmp_path):
    assert find_repository(tmp_path) is None
    [local] = link_code(git, None).code_references
    assert local.file_path == str(Path(__file__).resolve())

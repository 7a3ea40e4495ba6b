"""Links from an asset to the code and the declaration that make it: on this machine, and where they are hosted.

git is asked once per folder and process; outside of a repository, or where its host is none of those known here, there
are links on this machine alone. Nothing of an address that could be a secret is shown.
"""

import inspect
import re
import subprocess
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import dagster as dg

_HOSTS = {
    "github": "{web}/blob/{commit}/{path}#L{line}",
    "gitlab": "{web}/-/blob/{commit}/{path}#L{line}",
    "bitbucket": "{web}/src/{commit}/{path}#lines-{line}",
    "codeberg": "{web}/src/commit/{commit}/{path}#L{line}",
}
"""Address of a line of a file, by what a host's name contains; as each of them documents its permanent links."""
_ADDRESS = re.compile(
    r"^(?:(?:https?|ssh|git)://)?(?:[^@/]*@)?(?P<host>[^:/]+)(?::\d+/|[:/])(?P<path>.+?)(?:\.git)?/?$"
)
"""Of a remote, as git takes it: `https://host/owner/name.git`, `git@host:owner/name.git`, `ssh://git@host:22/owner/name`."""


class Repository(NamedTuple):
    """A hosted repository at the commit that is checked out."""

    root: Path
    web: str
    """Its page, `https://…`, without user and password."""
    pattern: str
    """Of the address of a line."""
    commit: str

    def link(self, file: Path, line: int) -> str:
        """The address of a line of a file in it."""
        path = quote(file.relative_to(self.root).as_posix())
        return self.pattern.format(web=self.web, commit=self.commit, path=path, line=line)


def link_code(function: Callable[..., Any], declared_in: Path | None) -> dg.CodeReferencesMetadataValue:
    """Where the function stands that makes an asset, and the file that declares the pipeline.

    Args:
        function: The stage.
        declared_in: The YAML file, whose local link Dagster adds itself; None: the pipeline was built in Python.
    """
    warnings.filterwarnings("ignore", category=dg.BetaWarning)  # of these links, which nobody could do anything about
    code = inspect.unwrap(function).__code__
    file, line = Path(code.co_filename).resolve(), code.co_firstlineno
    name = function.__name__
    links: list[dg.LocalFileCodeReference | dg.UrlCodeReference]
    links = [dg.LocalFileCodeReference(file_path=str(file), line_number=line, label=file.name)]
    for place, number, label in ((file, line, name), (declared_in, 1, "the pipeline's declaration")):
        url = _find_url(place.resolve(), number) if place else None
        if url:
            links.append(dg.UrlCodeReference(url=url, label=f"{label}, as committed"))
    return dg.CodeReferencesMetadataValue(code_references=links)


@cache
def _find_url(file: Path, line: int) -> str | None:
    """None: its repository is not hosted, or does not hold it: an installed package may lie in somebody's checkout."""
    repository = find_repository(file.parent)
    is_held = repository is not None and _ask_git(file.parent, "ls-files", "--", file.name)
    return repository.link(file, line) if repository and is_held else None


@cache
def find_repository(folder: Path) -> Repository | None:
    """The hosted repository that a folder is in; None: it is in none, or nothing is known of its host."""
    checkout = _ask_git(folder, "rev-parse", "--show-toplevel", "HEAD").splitlines()
    remote = read_remote(_ask_git(folder, "remote", "get-url", "origin"))
    if len(checkout) != 2 or remote is None:  # noqa: PLR2004 - as many as were asked for
        return None
    host, web = remote
    pattern = next((pattern for name, pattern in _HOSTS.items() if name in host), None)
    return Repository(Path(checkout[0]).resolve(), web, pattern, checkout[1]) if pattern else None


def read_remote(address: str) -> tuple[str, str] | None:
    """Host and page of a remote repository, by its address; None: it is a folder or nothing."""
    found = _ADDRESS.match(address.strip())
    if found is None or "." not in found["host"].strip("."):
        return None
    return found["host"], f"https://{found['host']}/{found['path']}"


def _ask_git(folder: Path, *arguments: str) -> str:
    """What git says; empty where it refuses or is not installed."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""

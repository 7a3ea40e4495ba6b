"""With which software something is made: installed packages and the commit of this code. Decides nothing."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path

_PACKAGES = ("vqa-pipeline", "numpy", "pandas", "pillow", "polars", "pyarrow", "pydantic", "scikit-learn")


def read_package_versions() -> dict[str, str]:
    """Versions of the installed packages that results depend on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = package_version(name)
        except PackageNotFoundError:
            continue
    return found


def read_git_commit() -> str | None:
    """Commit of the source tree that this code runs from, `+` appended when it was changed; None outside of one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()  # noqa: S603

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None

"""Image references as people write them: what their text alone refuses or tidies, and the file behind a plain name.

`check_reference` looks at the text alone; which file of the image root it means is found in `image_index`.
`resolve_reference` looks at the file system and never leads out of the image root.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

from vqa_pipeline.schemas import Repair
from vqa_pipeline.sources.formats.format import MalformedRecord

MAX_LENGTH = 1024
"""Characters of a reference; the file systems in use allow 255 bytes per part and 4,096 in all."""

_NAME_IT = "Name the image's file."
_NO_SUCH_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
"""What says that a name leads to no file; any other error says something about the machine."""

_CLEAN = re.compile(r"[A-Za-z0-9_\-]+(?:[./][A-Za-z0-9_\-]+)*")
_SCHEME = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+:[/\\]{2}", re.IGNORECASE)  # one letter is a drive
_ANCHOR = re.compile(r"(?:file:)?/?(?:[A-Za-z]:)?", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RESERVED = re.compile(r"(?:^|/)((?:con|prn|aux|nul|com[1-9]|lpt[1-9])(?:\.[^/]*)?)(?=/|\Z)", re.IGNORECASE)


def check_reference(reference: str) -> tuple[str, list[Repair]]:
    """A tidy reference (`/` between parts, none of them empty, `.` or `..`) and the repairs that made it so.

    It may be absolute, begin with a drive or be a `file:` address: another machine's, of which only the end can be
    found in the image root.

    Raises:
        MalformedRecord: the reference is empty, leads upwards, is an address, holds a control character, is too long,
            or names a device.
    """
    if _CLEAN.fullmatch(reference) and len(reference) <= MAX_LENGTH and not _RESERVED.search(reference):
        return reference, []
    _refuse(reference)
    path = reference.replace("\\", "/")
    tidy = "/" * path.startswith("/") + "/".join(part for part in path.split("/") if part not in {"", "."})
    _refuse_parts(reference, tidy[_match_anchor(tidy) :])
    repairs: list[Repair] = []
    if path != reference:
        repairs.append(Repair(kind="backslash", before=reference, after=path))
    if tidy != path:
        repairs.append(Repair(kind="redundant_part", before=path, after=tidy))
    return tidy, repairs


def _match_anchor(tidy: str) -> int:
    """Where the parts of a path begin, behind `file:`, a drive and the first slash."""
    anchor = _ANCHOR.match(tidy)
    return anchor.end() if anchor else 0


def _refuse(reference: str) -> None:
    """What no reading makes right, whatever the separators mean."""
    if not reference.strip():
        raise MalformedRecord("image_path_empty", "the image reference is empty", _NAME_IT)
    if len(reference) > MAX_LENGTH:
        reason = f"the image reference has {len(reference)} characters, more than {MAX_LENGTH}"
        raise MalformedRecord("image_path_too_long", reason, "Name the image's file, relative to the image root.")
    if "\0" in reference:
        reason = f"the image reference {reference!r:.80} holds a NUL character"
        raise MalformedRecord("image_path_nul", reason, "Remove it; the name may have been cut there on purpose.")
    if _CONTROL.search(reference):
        reason = f"the image reference {reference!r:.80} holds a control character"
        raise MalformedRecord("image_path_control", reason, "Remove it.")
    if _SCHEME.match(reference):
        reason = f"the image reference {reference!r:.80} is an address"
        raise MalformedRecord("image_path_scheme", reason, "Download the image and name its file.")


def _refuse_parts(reference: str, path: str) -> None:
    """What the parts say, wherever they begin: `C:..` leads upwards too."""
    if ".." in (part.strip() for part in path.split("/")):
        reason = f"the image reference {reference!r:.80} leads upwards with `..`"
        raise MalformedRecord("image_path_parent", reason, "Set `image_root` to the folder that holds every image.")
    if not path.replace("/", " ").strip():
        raise MalformedRecord("image_path_empty", f"the image reference {reference!r:.80} names no file", _NAME_IT)
    reserved = _RESERVED.search(path)
    if reserved:
        reason = f"the image reference {reference!r:.80} names the device {reserved.group(1)!r}"
        raise MalformedRecord("image_path_reserved", reason, "Rename the file.")


def resolve_reference(root: Path, reference: str) -> Path:
    """The file that a clean reference names below `root`; links are followed and must end inside.

    Raises:
        MalformedRecord: there is no such regular file, or a link leads out of `root`.
        OSError: whether there is one cannot be told: the disk or the rights do not let it be looked for.
    """
    path = root / reference
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_SUCH_FILE:
            raise
        if isinstance(error, FileNotFoundError | NotADirectoryError) and not path.is_symlink():
            reason = f"there is no {reference} in the image root"
            raise MalformedRecord("image_missing", reason, "Bring the file, or correct the reference.") from error
        reason = f"{reference} cannot be opened ({type(error).__name__})"
        raise MalformedRecord("image_missing", reason, "Bring the file, or correct the link.") from error
    if not real.is_relative_to(root.resolve()):
        reason = f"{reference} is a link that leads out of the image root"
        raise MalformedRecord("image_outside_root", reason, "Copy the image into the image root.")
    if not real.is_file():
        raise MalformedRecord("image_missing", f"{reference} is not a file", "Name the image's file.")
    return real

"""Image references as people write them: checked, repaired where only one reading exists, resolved inside one folder.

`check_reference` looks at the text alone; `resolve_reference` looks at the file system. Neither ever leads out of the
image root.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

from vqa_pipeline.schemas import Repair
from vqa_pipeline.sources.formats.format import MalformedRecord

MAX_LENGTH = 1024
"""Characters of a reference; the file systems in use allow 255 bytes per part and 4,096 in all."""

_NO_SUCH_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
"""What says that a name leads to no file; any other error says something about the machine."""

_CLEAN = re.compile(r"[A-Za-z0-9_\-]+(?:[./][A-Za-z0-9_\-]+)*")
_DRIVE = re.compile(r"[A-Za-z]:")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[/\\]{2}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RESERVED = re.compile(r"(?:^|/)((?:con|prn|aux|nul|com[1-9]|lpt[1-9])(?:\.[^/]*)?)(?=/|\Z)", re.IGNORECASE)


def check_reference(reference: str) -> tuple[str, list[Repair]]:
    """A clean reference (`/` between parts, relative, without `.` and `..`) and the repairs that made it so.

    Raises:
        MalformedRecord: the reference is empty, absolute, leads upwards, names a drive or scheme, holds a control
            character, is too long, or is a device's name.
    """
    if _CLEAN.fullmatch(reference) and len(reference) <= MAX_LENGTH and not _RESERVED.search(reference):
        return reference, []
    _refuse(reference)
    path = reference.replace("\\", "/")
    clean = "/".join(part for part in path.split("/") if part not in {"", "."})
    _refuse_parts(reference, path, clean)
    repairs: list[Repair] = []
    if path != reference:
        repairs.append(Repair(kind="backslash", before=reference, after=path))
    if clean != path:
        repairs.append(Repair(kind="redundant_part", before=path, after=clean))
    return clean, repairs


def _refuse(reference: str) -> None:
    """What no reading makes right, whatever the separators mean."""
    if not reference.strip():
        raise MalformedRecord("image_path_empty", "the image reference is empty", "Name the image's file.")
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


def _refuse_parts(reference: str, path: str, clean: str) -> None:
    """What the parts say, also where only the clean form shows it: `./C:/x.png` names a drive."""
    if path.startswith("/") or clean.startswith("~"):
        reason = f"the image reference {reference!r:.80} is absolute"
        raise MalformedRecord("image_path_absolute", reason, "Make it relative to the source's `image_root`.")
    if _DRIVE.match(clean):
        reason = f"the image reference {reference!r:.80} names a drive"
        raise MalformedRecord("image_path_drive", reason, "Make it relative to the source's `image_root`.")
    if ".." in (part.strip() for part in clean.split("/")):
        reason = f"the image reference {reference!r:.80} leads upwards with `..`"
        raise MalformedRecord("image_path_parent", reason, "Set `image_root` to the folder that holds every image.")
    if not clean.strip():
        raise MalformedRecord("image_path_empty", "the image reference is empty", "Name the image's file.")
    reserved = _RESERVED.search(clean)
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

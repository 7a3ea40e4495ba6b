"""What people have under the names of images: told apart by their bytes, each with what to do about it.

A table and its look-up; decodes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Foreign(NamedTuple):
    """Why bytes are no image that can be used, in the words of a reject."""

    rule: str
    reason: str
    fix: str


HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""Second word of a HEIC or HEIF file, at its byte 8. Source: ISO/IEC 23008-12 and the registry at mp4ra.org."""

_REPLACE = "Replace it with the image, as JPEG or PNG."
_CONVERT = "Convert it to JPEG or PNG."
_FOREIGN: dict[Foreign, tuple[tuple[int, bytes], ...]] = {
    Foreign("image_unreadable", "an HTML page, not an image", _REPLACE): ((0, b"<!doctype html"), (0, b"<html")),
    Foreign("image_unreadable", "a git-LFS pointer, not an image", "Bring the image with `git lfs pull`."): (
        (0, b"version https://git-lfs"),
    ),
    Foreign("image_unreadable", "a macOS side file (AppleDouble), not an image", _REPLACE): ((0, b"\x00\x05\x16\x07"),),
    Foreign("image_unreadable", "a PNG whose header is damaged", _REPLACE): ((0, b"\x89png"),),
    Foreign("image_unreadable", "a JPEG whose header is damaged", _REPLACE): ((0, b"\xff\xd8"),),
    Foreign("image_unreadable", "a JPEG 2000 whose header is damaged", _REPLACE): (
        *((0, b"\xff\x4f\xff\x51".lower()), (0, b"\0\0\0\x0cjp  ")),
    ),
    Foreign("image_unreadable", "a GIF whose header is damaged", _REPLACE): ((0, b"gif8"),),
    Foreign("image_unreadable", "a TIFF whose header is damaged", _REPLACE): ((0, b"ii*\0"), (0, b"mm\0*")),
    Foreign("image_unreadable", "a WebP whose header is damaged", _REPLACE): ((8, b"webp"),),
    Foreign("image_unsupported", "an SVG drawing", _CONVERT): ((0, b"<svg"),),
    Foreign("image_unsupported", "a PDF document", _CONVERT): ((0, b"%pdf"),),
    Foreign("image_unsupported", "a PostScript program", _CONVERT): ((0, b"%!ps"),),
    Foreign("image_unsupported", "a Photoshop file", _CONVERT): ((0, b"8bps"),),
    Foreign("image_unsupported", "a DICOM file", _CONVERT): ((128, b"dicm"),),
}
"""By the place and (lower-case) bytes that tell it."""

_OPTIONAL = {
    "AVIF": (
        (b"avif", b"avis"),
        "AVIF, which this build of Pillow cannot decode",
        "Install Pillow with AVIF (its wheels have it), or convert the image to JPEG or PNG.",
    ),
    "HEIF": (
        HEIF_BRANDS,
        "HEIC or HEIF, which needs the package pillow-heif",
        "Install it (`pip install pillow-heif`), or convert the image to JPEG or PNG.",
    ),
}
"""Images that not every installation decodes: brands, reason and fix."""


def recognise_foreign(data: bytes, decodable: Collection[str]) -> Foreign:
    """What bytes are that no decoder took for an image.

    Args:
        data: The file.
        decodable: Which of AVIF and HEIF this installation decodes; a file of these is damaged.
    """
    for container, (brands, reason, fix) in _OPTIONAL.items():
        if data[4:8] == b"ftyp" and data[8:12] in brands:
            if container in decodable:
                return Foreign("image_unreadable", f"the file is {container} whose header is damaged", _REPLACE)
            return Foreign("image_unsupported", f"the file is {reason}", fix)
    start = data[:200].lower()
    if start[:1].isspace():
        start = start.lstrip()
    for foreign, signatures in _FOREIGN.items():
        if any(start.startswith(signature, place) for place, signature in signatures):
            return foreign._replace(reason=f"the file is {foreign.reason}")
    return Foreign("image_unreadable", "the file is not an image of a known format", _REPLACE)

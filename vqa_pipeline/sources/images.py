"""The one function from an image file's bytes to RGB, shared by validation, training, prediction and report.

Every surprise of Pillow is handled here: only formats that it decodes by itself are opened, sizes are limited before
decoding, the whole image is decoded (`verify()` accepts truncated files), orientation is applied exactly once, the
first frame of an animation is taken, and `rgb` does the rest. What was done is told. Reads no file and keeps no state.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError, features

from vqa_pipeline.sources.foreign_files import HEIF_BRANDS, recognise_foreign
from vqa_pipeline.sources.image_limits import exceed, find_excess, find_excess_of_scans
from vqa_pipeline.sources.rgb import convert_to_rgb, has_deep_colors

GRID = 8
"""Cells of the colour grid in each direction."""

CONTAINERS = (
    *("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000"),
    *("PCX", "PNG", "PPM", "QOI", "SGI", "TGA", "TIFF", "WEBP"),
)
"""What is opened; JPEG covers MPO. Others are left out: EPS is a program, which Pillow gives to Ghostscript."""

_PORTABLE = re.compile(rb"P[1-7Ffy]\s")
_LONGEST_HEADER = 1 << 14
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings an image upright, by the value of its orientation tag. Source: EXIF 2.3 (CIPA DC-008), tag 0x0112."""


class ImageError(ValueError):
    """An image file that cannot be used; curation turns this into a reject."""

    def __init__(self, rule: str, reason: str, fix: str) -> None:
        self.rule, self.reason, self.fix = rule, reason, fix
        super().__init__(reason)


class DecodedImage(NamedTuple):
    """An image as everybody sees it."""

    rgb: Image.Image
    """Mode RGB, orientation applied."""
    mode: str
    """Pillow's mode of the file."""
    format: str
    """Pillow's name of the container, from the content."""
    alterations: tuple[str, ...]
    """What was done on the way to RGB, in that order; short, stable words such as `orientation_applied`."""


class ImageFacts(NamedTuple):
    """What curation keeps of an image beside its bytes."""

    image_sha256: str
    width: int
    """Of the upright image, as `height`."""
    height: int
    mode: str
    format: str
    dhash: int
    """64-bit difference hash of the RGB pixels, as a signed integer."""
    alterations: tuple[str, ...]
    """As `DecodedImage.alterations`."""
    colours: bytes
    """Mean red, green and blue of the cells of an 8 x 8 grid, row by row."""


def decode_image(data: bytes) -> DecodedImage:
    """Decode an image file whole.

    Raises:
        ImageError: the bytes are not an image that can be used; rules image_empty, image_unreadable, image_unsupported,
            image_too_large, image_truncated.
        OSError: the machine fails, which says nothing about the image.
    """
    if not data:
        raise ImageError("image_empty", "the file has no bytes", "Copy or download the file again.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what is judged here
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # an icon is loaded when it is opened
        image = _open(data)
        mode, container = image.mode, image.format or "unknown"
        with _blaming("image_truncated", f"the {container} file breaks off or is damaged"):
            told, is_deep = _tell_choices(image), has_deep_colors(image)
            image.load()
            turn = _find_turn(image)
            rgb, altered = convert_to_rgb(image if turn is None else image.transpose(turn), is_deep=is_deep)
    told += ["orientation_applied"] if turn is not None else []
    return DecodedImage(rgb, mode, container, (*told, *altered))


@contextmanager
def _blaming(rule: str, reason: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an `ImageError` that keeps its text."""
    try:
        yield
    except (ImageError, MemoryError):  # a full machine says nothing about the image
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(*exceed(str(error))) from error
    except Exception as error:  # damaged bytes lead decoders to errors of any kind
        if isinstance(error, OSError) and error.errno is not None:  # the machine's, which decoders' own do not have
            raise
        raise ImageError(rule, f"{reason} ({error})", "Download the file again.") from error


def _open(data: bytes) -> ImageFile.ImageFile:
    """Read the header and refuse what is no image, or too large to decode."""
    with _blaming("image_unreadable", "the header is damaged"):
        try:
            if _PORTABLE.match(data):  # a comment in the header has no end, and Pillow reads it a byte at a time
                Image.open(io.BytesIO(data[:_LONGEST_HEADER]), formats=("PPM",)).close()
            image = Image.open(io.BytesIO(data), formats=(*CONTAINERS, *_find_plugins(data)))
        except UnidentifiedImageError as error:
            decodable = [*_find_plugins(data), *(["AVIF"] if features.check("avif") else [])]
            raise ImageError(*recognise_foreign(data, decodable)) from error
        excess = find_excess(image, len(data)) or find_excess_of_scans(image, data)
    if excess is not None:
        raise ImageError(*excess)
    return image


def _find_plugins(data: bytes) -> tuple[str, ...]:
    """Containers that Pillow reads with an optional package, which is loaded when a file needs it."""
    if data[4:8] != b"ftyp" or data[8:12] not in HEIF_BRANDS:
        return ()
    try:
        import pillow_heif
    except ImportError:
        return ()
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def _tell_choices(image: ImageFile.ImageFile) -> list[str]:
    """What an image loses when it is loaded: frames but the first, smaller icons, a TIFF's orientation."""
    told = []
    if _has_more_frames(image):
        told.append("first_frame")
    if image.format == "ICO" and len(image.info["sizes"]) > 1:
        told.append("largest_icon")
    if image.format == "TIFF" and _find_turn(image) is not None:  # Pillow applies it at load and removes the tag
        told.append("orientation_applied")
    return told


def _has_more_frames(image: Image.Image) -> bool:
    """Looks for a second frame only: counting them would take a file of many as long as its maker likes."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 - there is more after the first frame, and it is damaged
        return True


def _find_turn(image: Image.Image) -> Image.Transpose | None:
    """What brings an image upright."""
    try:
        return _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - EXIF is optional: damaged, it says nothing about orientation, and the pixels are whole
        return None


def inspect_image(data: bytes) -> ImageFacts:
    """Decode an image whole and tell what curation keeps of it.

    Raises:
        ImageError: as `decode_image`.
    """
    decoded = decode_image(data)
    digest = hashlib.sha256(data).hexdigest()
    rgb = decoded.rgb
    return ImageFacts(
        digest, *rgb.size, decoded.mode, decoded.format, compute_dhash(rgb), decoded.alterations, compute_colours(rgb)
    )


def compute_dhash(rgb: Image.Image) -> int:
    """64-bit difference hash: does each pixel of a 9 x 8 gray thumbnail get brighter towards the right? Signed.

    Source: N. Krawetz, "Kind of Like That", 2013 (hackerfactor.com).
    """
    gray = np.asarray(rgb.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = (gray[:, 1:] > gray[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big", signed=True)


def compute_colours(rgb: Image.Image) -> bytes:
    """Mean colours of an 8 x 8 grid: what a difference hash, made of brightness alone, does not tell; 192 bytes."""
    return rgb.resize((GRID, GRID), Image.Resampling.BOX).tobytes()

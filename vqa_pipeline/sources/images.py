"""The one function from an image file's bytes to RGB, shared by validation, training, prediction and report.

Every surprise of Pillow is handled here: only formats that it decodes by itself are opened, sizes are limited before
decoding, the whole image is decoded (`verify()` accepts truncated files), 16-bit and float pixels are scaled, not
clipped, transparency is composited on white, orientation is applied exactly once, and the first frame of an animation
is taken. Reads no file and keeps no state.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

MAX_PIXELS = 89_478_485
"""Images with more pixels are rejected before they are decoded; Pillow's own warning limit (Image.MAX_IMAGE_PIXELS)."""

BACKGROUND = (255, 255, 255)
"""Transparent pixels are composited on white."""

CONTAINERS = (
    *("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000"),
    *("PCX", "PNG", "PPM", "QOI", "SGI", "TGA", "TIFF", "WEBP"),
)
"""What is opened; JPEG covers MPO. Others are left out: EPS is a program, which Pillow gives to Ghostscript."""

_SIGNATURES: dict[tuple[str, str], tuple[tuple[int, bytes], ...]] = {
    ("image_unreadable", "an HTML page, not an image"): ((0, b"<!doctype html"), (0, b"<html")),
    ("image_unreadable", "a git-LFS pointer, not an image"): ((0, b"version https://git-lfs"),),
    ("image_unreadable", "a macOS side file (AppleDouble), not an image"): ((0, b"\x00\x05\x16\x07"),),
    ("image_unreadable", "a PNG whose header is damaged"): ((0, b"\x89png"),),
    ("image_unreadable", "a JPEG whose header is damaged"): ((0, b"\xff\xd8"),),
    ("image_unsupported", "HEIC or HEIF"): ((4, b"ftyphei"), (4, b"ftypmif1")),
    ("image_unsupported", "an SVG drawing"): ((0, b"<svg"),),
    ("image_unsupported", "a PDF document"): ((0, b"%pdf"),),
    ("image_unsupported", "a PostScript program"): ((0, b"%!ps"),),
    ("image_unsupported", "a Photoshop file"): ((0, b"8bps"),),
    ("image_unsupported", "a DICOM file"): ((128, b"dicm"),),
}
"""What people have under the names of images, by the place and (lower-case) bytes that tell it."""

_FIXES = {
    "image_unreadable": "Replace it with the image, as JPEG or PNG.",
    "image_unsupported": "Convert it to JPEG or PNG.",
}
_BITS_OF_DEPTH = (8, 10, 12, 14, 16)
_STRIP_PIXELS = 1 << 20
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
        image = _open(data)
        mode, container = image.mode, image.format or "unknown"
        with _blaming("image_truncated", f"the {container} file breaks off or is damaged"):
            image.load()
            rgb = _convert_to_rgb(_turn_upright(image))
    return DecodedImage(rgb, mode, container)


@contextmanager
def _blaming(rule: str, reason: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an `ImageError` that keeps its text."""
    try:
        yield
    except (ImageError, MemoryError):  # a full machine says nothing about the image
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(str(error)) from error
    except Exception as error:  # damaged bytes lead decoders to errors of any kind
        if isinstance(error, OSError) and error.errno is not None:  # the machine's, which decoders' own do not have
            raise
        raise ImageError(rule, f"{reason} ({error})", "Download the file again.") from error


def _too_large(reason: str) -> ImageError:
    return ImageError("image_too_large", reason, f"Scale it below {MAX_PIXELS:,} pixels.")


def _open(data: bytes) -> Image.Image:
    """Read the header and refuse what is no image, or too large to decode."""
    with _blaming("image_unreadable", "the header is damaged"):
        try:
            image = Image.open(io.BytesIO(data), formats=CONTAINERS)
        except UnidentifiedImageError as error:
            raise _describe_foreign(data) from error
    _check_size(image)  # an icon is loaded by now, and its picture may be larger than its header says
    return image


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if min(width, height) < 1:
        raise ImageError("image_unreadable", f"it has {width} x {height} pixels", "Replace it with an image file.")
    if width * height > MAX_PIXELS:
        raise _too_large(f"it has {width} x {height} pixels, more than {MAX_PIXELS:,}")


def _describe_foreign(data: bytes) -> ImageError:
    start = data[:200].lower()
    if start[:1].isspace():
        start = start.lstrip()
    for (rule, what), signatures in _SIGNATURES.items():
        if any(start.startswith(signature, place) for place, signature in signatures):
            return ImageError(rule, f"the file is {what}", _FIXES[rule])
    return ImageError("image_unreadable", "the file is not an image of a known format", _FIXES["image_unreadable"])


def _turn_upright(image: Image.Image) -> Image.Image:
    """Apply the orientation once: Pillow has applied a TIFF's at load and removed its tag, and no other container's."""
    try:
        turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - EXIF is optional: damaged, it says nothing about orientation, and the pixels are whole
        turn = None
    return image if turn is None else image.transpose(turn)


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_to_rgb(image)
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        transparent = image.convert("RGBA")
        rgb = Image.new("RGB", image.size, BACKGROUND)
        rgb.paste(transparent, mask=transparent)
        return rgb
    return image.convert("RGB")


def _scale_to_rgb(image: Image.Image) -> Image.Image:
    """Bring integers and floats of any range to 0…255; Pillow would clip them, and a 16-bit picture would be white."""
    pixels = np.asarray(image)
    extremes = [(float(strip.min()), float(strip.max())) for _, strip in _iterate_strips(pixels)]
    black, white = _choose_range(image.mode, min(low for low, _ in extremes), max(high for _, high in extremes))
    span = white - black if white > black else np.inf
    gray = np.empty(pixels.shape, dtype=np.uint8)
    for rows, strip in _iterate_strips(pixels):
        gray[rows] = np.rint((strip - black) * 255.0 / span)
    return Image.fromarray(gray).convert("RGB")


def _iterate_strips(pixels: NDArray[Any]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Some rows at a time as finite numbers; all at once would need many times the image's memory."""
    num_rows = max(1, _STRIP_PIXELS // pixels.shape[1])
    for begin in range(0, pixels.shape[0], num_rows):
        rows = slice(begin, begin + num_rows)
        yield rows, np.nan_to_num(pixels[rows].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _choose_range(mode: str, low: float, high: float) -> tuple[float, float]:
    """The values that become black and white.

    Fractions have 0…1. Other values have the narrowest usual depth that holds them: a 12-bit X-ray in a 16-bit file
    would be all but black if it were divided by 65,535. What has no usual depth goes from its minimum to its maximum.
    """
    if mode == "F" and low >= 0 and high <= 1:
        return 0, 1
    depths = [(1 << bits) - 1 for bits in _BITS_OF_DEPTH if high < 1 << bits]
    return (0, depths[0]) if low >= 0 and depths else (low, high)


def inspect_image(data: bytes) -> ImageFacts:
    """Decode an image whole and tell what curation keeps of it.

    Raises:
        ImageError: as `decode_image`.
    """
    decoded = decode_image(data)
    digest = hashlib.sha256(data).hexdigest()
    return ImageFacts(digest, *decoded.rgb.size, decoded.mode, decoded.format, compute_dhash(decoded.rgb))


def compute_dhash(rgb: Image.Image) -> int:
    """64-bit difference hash: does each pixel of a 9 x 8 gray thumbnail get brighter towards the right? Signed.

    Source: N. Krawetz, "Kind of Like That", 2013 (hackerfactor.com).
    """
    gray = np.asarray(rgb.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = (gray[:, 1:] > gray[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big", signed=True)

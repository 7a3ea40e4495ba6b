"""`shapes`: a generated world of coloured shapes, to try the pipeline on without any download.

Deterministic from a seed, byte for byte. Each picture shows one shape in one colour on dark noise and is asked four
questions; yes and no are balanced, so that the question alone gives about 0.4. A few rows and images are broken on
purpose, one of every kind that curation rejects. Recipe: a ViLT of two layers learns it in about a minute on a CPU.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from vqa_pipeline.schemas import RawRecord, Split
from vqa_pipeline.sources.formats.format import Parser, Sample
from vqa_pipeline.sources.formats.rows import Columns
from vqa_pipeline.sources.formats.table import TableFormat, TableSource
from vqa_pipeline.sources.settings import SourceSettings, SplitColumn, Splits

SHAPES = ("circle", "square", "triangle")
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (235, 50, 50),
    "green": (50, 215, 80),
    "blue": (70, 110, 250),
    "yellow": (240, 225, 60),
    "purple": (190, 70, 230),
    "white": (240, 240, 240),
}
PARAPHRASES: dict[str, tuple[str, ...]] = {
    "shape": ("what shape is in the image?", "what shape is this?", "what is the shape of the object?"),
    "color": ("what color is the shape?", "what is the color of the object?", "what colour is it?"),
    "is_shape": ("is there a {} in the image?", "is this a {}?", "does the image contain a {}?"),
    "is_color": ("is there a {} shape in the image?", "is anything {}?", "does the image have a {} shape?"),
}
_SPLIT_CYCLE: tuple[Split, ...] = ("train",) * 11 + ("val",) + ("test",) * 3
_OVERSAMPLING = 2

Row = dict[str, Any]


class ShapesSource(SourceSettings):
    """A generated world: pictures of one coloured shape, four questions each, a few rows broken on purpose."""

    format: Literal["shapes"] = Field(description="Kind of source: shapes.")
    images: int = Field(1500, ge=16, description="How many pictures to draw.")
    image_pixels: int = Field(64, ge=16, le=512, description="Side of a picture.")
    seed: int = Field(0, ge=0, description="Another seed, another world.")
    broken_rows: bool = Field(True, description="Add one broken row or image of every kind that is rejected.")
    splits: Splits = Field(
        "declared", description="declared (about 11 train : 1 val : 3 test, by picture), by_image, train, val or test."
    )


class ShapesFormat:
    """Reads what `generate` wrote: a JSON Lines file and a folder of pictures."""

    def find_files(self, settings: ShapesSource, root: Path) -> list[Path]:
        """The one file of rows."""
        return TableFormat().find_files(_as_table(settings), root)

    def find_image_root(self, settings: ShapesSource, root: Path) -> Path | None:
        """The folder of pictures."""
        return TableFormat().find_image_root(_as_table(settings), root)

    def read(self, settings: ShapesSource, root: Path, most: int | None = None) -> Iterator[RawRecord]:
        """One record per line."""
        return TableFormat().read(_as_table(settings), root, most)

    def build_parser(self, settings: ShapesSource, root: Path) -> Parser:
        """As the table that it is."""
        return TableFormat().build_parser(_as_table(settings), root)

    def recognize(self, sample: Sample) -> None:
        """Never: its files are generated, nobody brings them."""


def _as_table(settings: ShapesSource) -> TableSource:
    return TableSource(
        name=settings.name,
        format="table",
        files="questions.jsonl",
        image_root="images",
        columns=Columns(id="id", image="image", question="question", answers="answers", question_type="question_type"),
        splits=SplitColumn(column="split") if settings.splits == "declared" else settings.splits,
    )


def generate(settings: ShapesSource, folder: Path) -> None:
    """Write `questions.jsonl` and `images/` into an empty folder."""
    rng = random.Random(settings.seed)  # noqa: S311 - a picture, not a secret
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    lines: list[bytes] = []
    for number in range(settings.images):
        shape, color = SHAPES[number % 3], list(COLORS)[number // 3 % 6]
        name = f"{number:05d}.png"
        (images / name).write_bytes(_draw(rng, settings.image_pixels, shape, color))
        split = _SPLIT_CYCLE[rng.randrange(len(_SPLIT_CYCLE))] if number >= len(_SPLIT_CYCLE) else _SPLIT_CYCLE[number]
        lines += [_encode(row) for row in _ask(rng, number, name, split, shape, color)]
    if settings.broken_rows:
        lines += _break_rows(images, json.loads(lines[0]))
    (folder / "questions.jsonl").write_bytes(b"\n".join(lines) + b"\n")


def _encode(row: Row) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()


def _draw(rng: random.Random, pixels: int, shape: str, color: str) -> bytes:
    """One shape at a random place and size, anti-aliased, on dark noise; a PNG."""
    from PIL import Image, ImageChops, ImageDraw

    side = pixels * _OVERSAMPLING
    image = Image.new("RGB", (side, side), tuple(rng.randint(0, 14) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    radius = rng.uniform(0.16, 0.34) * side
    x, y = rng.uniform(radius, side - radius), rng.uniform(radius, side - radius)
    _DRAWERS[shape](draw, x, y, radius, COLORS[color])
    small = image.resize((pixels, pixels), Image.Resampling.BOX)
    noise = Image.frombytes("RGB", small.size, rng.randbytes(3 * pixels * pixels)).point(lambda value: value % 12)
    speckled = ImageChops.add(small, noise)
    file = io.BytesIO()
    speckled.save(file, "PNG", compress_level=6)
    return file.getvalue()


def _draw_circle(draw: Any, x: float, y: float, radius: float, fill: tuple[int, int, int]) -> None:
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)


def _draw_square(draw: Any, x: float, y: float, radius: float, fill: tuple[int, int, int]) -> None:
    half = 0.9 * radius
    draw.rectangle([x - half, y - half, x + half, y + half], fill=fill)


def _draw_triangle(draw: Any, x: float, y: float, radius: float, fill: tuple[int, int, int]) -> None:
    base = y + 0.85 * radius
    draw.polygon([(x, y - radius), (x - radius, base), (x + radius, base)], fill=fill)


_DRAWERS: dict[str, Callable[[Any, float, float, float, tuple[int, int, int]], None]] = {
    "circle": _draw_circle,
    "square": _draw_square,
    "triangle": _draw_triangle,
}


def _ask(rng: random.Random, number: int, image: str, split: Split, shape: str, color: str) -> Iterator[Row]:
    """Four questions about one picture: which shape, which colour, and one yes or no about each."""
    asked_shape = shape if rng.random() < 0.5 else rng.choice([other for other in SHAPES if other != shape])  # noqa: PLR2004
    asked_color = color if rng.random() < 0.5 else rng.choice([other for other in COLORS if other != color])  # noqa: PLR2004
    asked = {
        "shape": ("", shape),
        "color": ("", color),
        "is_shape": (asked_shape, "yes" if asked_shape == shape else "no"),
        "is_color": (asked_color, "yes" if asked_color == color else "no"),
    }
    for item, (question_type, (about, answer)) in enumerate(asked.items()):
        yield {
            "id": f"{number:05d}-{item}",
            "image": image,
            "question": rng.choice(PARAPHRASES[question_type]).format(about),
            "answers": [answer],
            "question_type": question_type,
            "split": split,
        }


def _break_rows(images: Path, row: Row) -> list[bytes]:
    """One row of every kind that curation rejects, repairs or drops, made from a good training row."""
    whole = (images / row["image"]).read_bytes()
    _break_images(images, whole)
    (images / "drawn").mkdir(exist_ok=True)
    (images / "drawn" / "by-hand.png").write_bytes(whole + b"\0")
    for twin in ("twin.png", "twin.jpg"):
        (images / "drawn" / twin).write_bytes(whole)
    changes: list[tuple[str, Row]] = [
        ("backslash", {"image": "drawn\\by-hand.png"}),  # repaired, not rejected
        ("absolute", {"image": "/data/shapes/lost.png"}),
        ("parent", {"image": "../images/00000.png"}),
        ("drive", {"image": "C:\\shapes\\lost.png"}),
        ("nul", {"image": "00000.png\0.txt"}),
        ("control", {"image": "00000\n.png"}),
        ("address", {"image": "https://example.org/00000.png"}),
        ("device", {"image": "aux.png"}),
        ("long", {"image": "drawn/" * 200 + "00000.png"}),
        ("no-image-path", {"image": ""}),
        ("missing", {"image": "lost.png"}),
        ("ambiguous", {"image": "drawn/twin"}),
        ("cut-off", {"image": "cut-off.png"}),
        ("web-page", {"image": "web-page.jpg"}),
        ("drawing", {"image": "drawing.svg"}),
        ("no-bytes", {"image": "no-bytes.png"}),
        ("bomb", {"image": "bomb.bmp"}),
        ("no-question", {"question": "  "}),
        ("no-answers", {"answers": []}),
        ("not-answered", {"answers": None}),
        ("number-as-question", {"question": 7}),
        ("unknown-split", {"split": "holdout"}),
        ("asked-again", {"question": row["question"].upper()}),  # a duplicate, not rejected
    ]
    broken = [{**row, "id": f"broken-{name}", **change} for name, change in changes]
    claimed_twice = [{**row, "id": "broken-twice", "question": f"is it {size}?"} for size in ("big", "small")]
    lines = [_encode(line) for line in [*broken, *claimed_twice, row]]  # the last one repeats the first row
    return [*lines, b'{"id": "broken-json", "image": "00000.png", "question": "what']


def _break_images(images: Path, whole: bytes) -> None:
    (images / "cut-off.png").write_bytes(whole[: len(whole) // 2])
    (images / "web-page.jpg").write_bytes(b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n")
    (images / "drawing.svg").write_bytes(b'<svg xmlns="http://www.w3.org/2000/svg"><circle r="9"/></svg>\n')
    (images / "no-bytes.png").write_bytes(b"")
    (images / "bomb.bmp").write_bytes(_make_bomb())


def _make_bomb() -> bytes:
    """A BMP of 57 bytes whose header declares 150 million pixels."""
    header = b"BM" + (57).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    info = (40).to_bytes(4, "little") + (15_000).to_bytes(4, "little") + (10_000).to_bytes(4, "little")
    return header + info + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24) + b"\xff\xff\xff"

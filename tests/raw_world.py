"""A folder of raw data as people have it: pictures of one colour each, and a table that asks for it."""

from __future__ import annotations

import csv
from pathlib import Path

from PIL import Image

COLOURS = ("red", "green", "blue", "yellow")
SPLITS = ("train", "train", "train", "val", "test")


def write_raw(folder: Path, rows: int = 20, change: dict[int, dict[str, str]] | None = None) -> Path:
    """`scans.csv` and `images/`; `change` alters cells of single rows."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "scans.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["image", "question", "answer", "split"])
        table.writeheader()
        for number in range(rows):
            colour = COLOURS[number % 4]
            Image.new("RGB", (16 + number, 16), colour).save(folder / "images" / f"{number}.png")
            row = {"image": f"{number}.png", "question": "what colour is it?", "answer": colour}
            table.writerow({**row, "split": SPLITS[number % 5], **(change or {}).get(number, {})})
    return folder

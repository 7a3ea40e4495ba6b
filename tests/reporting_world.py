"""A small account of data and training as stages hand it to reporting, and a reader of the HTML that comes out."""

from __future__ import annotations

from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vqa_pipeline.schemas import REJECTS

HOSTILE = '<script>alert(1)</script> | `x` ![a](b) \x1b[31m "quoted" \u202egnp'
"""What a record could say to harm a page, a table, a terminal or a reader."""

LEDGER = {
    "sources": {
        "shapes": {
            "num_question_records": 12,
            "num_annotation_records": 10,
            "num_joined_annotations": 9,
            "fates": {
                "accepted": {"": 8},
                "duplicate": {"duplicate_row": 1},
                "rejected": {"image_missing": 2, "question_empty": 1},
                "excluded": {"leakage": 1},
            },
        }
    }
}

FACTS: dict[str, Any] = {
    "name": "clinic",
    "num_rows": 13,
    "num_questions": 8,
    "num_images": 5,
    "num_rejected": 3,
    "num_leaking_images": 0,
    "num_leaking_groups": 0,
    "num_near_duplicates": 0,
    "num_pairs_not_compared": 0,
    "num_questions_by_split": {"train": 5, "val": 0, "test": 3},
    "num_annotated_by_split": {"train": 5, "val": 0, "test": 2},
    "carved": [],
    "leaks": [],
    "repairs_by_kind": {"backslash": 1},
    "alterations_by_kind": {"orientation_applied": 2},
    "unfit_corrections": [],
    "ledger": LEDGER,
    "image_packs": ["shared/aa.parquet", "shared/bb.parquet"],
    "licenses": {"shapes": "CC0-1.0"},
    "statistics": {
        "questions_by_source": {"shapes": {"train": 5, "test": 3}},
        "num_distinct_answers": 2,
        "top_answers": {"red": 6, "yes": 1},
        "question_types": {"color": 6},
        "answer_types": {},
        "answers_per_question": {"0": 1, "1": 7},
        "words_per_question": {"3": 8},
        "longest": 15,
    },
}

LEAK = {
    "image": "ab" * 32,
    "near": None,
    "distance": None,
    "splits": ["train", "test"],
    "question_ids": ["shapes/1", HOSTILE],
}
NEAR_LEAK = {**LEAK, "near": "cd" * 32, "distance": 2}


def make_slice(column: str, value: str, **numbers: Any) -> dict[str, Any]:
    return {
        "column": column,
        "value": value,
        "num_questions": 1,
        "num_images": 2,
        "vqa_accuracy": 1.0,
        "exact_match": 1.0,
        "interval": {"low": 0.25, "high": 1.0},
        "too_small": numbers.get("num_images", 2) < 30,
        **numbers,
    }


def make_difference(difference: float, low: float = -0.1, high: float = 0.1, **told: Any) -> dict[str, Any]:
    """A challenger's gain on a group of questions, as a comparison with the champion tells it."""
    return {
        "difference": difference,
        "interval": {"low": low, "high": high},
        "num_questions": 60,
        "num_images": 30,
        **told,
    }


METRICS: dict[str, Any] = {
    "metric": "normalized",
    "num_questions": 4,
    "num_scored": 4,
    "num_unanswered": 0,
    "vqa_accuracy": 0.75,
    "exact_match": 0.5,
    "coverage": 0.9,
    "ceiling": 0.95,
    "interval": {"low": 0.21, "high": 0.93},
    "num_images": 3,
    "slices": [
        make_slice("question_type", "shape", num_questions=3, vqa_accuracy=0.667, exact_match=0.333),
        make_slice("question_type", "color", num_images=40),
    ],
    "confusions": [
        {
            "most_common_answer": "blue",
            "answer": "red",
            "num_questions": 1,
            "fraction": 1.0,
            "question_ids": ["shapes/7"],
        }
    ],
    "consistency": None,
    "baseline_shuffled_image": None,
    "baseline_shuffled_image_interval": None,
    "baseline_majority": 0.25,
    "baseline_majority_interval": {"low": 0.05, "high": 0.6},
    "baseline_question_type": 0.375,
    "baseline_question_type_interval": {"low": 0.1, "high": 0.7},
    "baseline_question_only": 0.4,
    "baseline_question_only_interval": {"low": 0.1, "high": 0.8},
    "best_blind": "question_only",
    "image_reliance": 0.35,
    "image_reliance_interval": {"low": 0.1, "high": 0.6},
}

CONSISTENCY: dict[str, Any] = {
    "num_groups": 8,
    "num_questions": 17,
    "agreement": 0.75,
    "agreement_interval": {"low": 0.4, "high": 0.9},
    "consensus": {"1": 0.8, "2": 0.625},
    "disagreements": [
        {
            "question_ids": ["shapes/1", "shapes/2"],
            "questions": ["which colour?", "what colour is it?"],
            "answers": ["red", None],
        }
    ],
}

CALIBRATION: dict[str, Any] = {
    "ece_before": 0.2,
    "ece": 0.05,
    "bins_before": [
        {"num_questions": 1, "confidence": 0.5, "credit": 0.0},
        {"num_questions": 3, "confidence": 0.9, "credit": 0.75},
    ],
    "bins": [
        {"num_questions": 0, "confidence": 0.0, "credit": 0.0},
        {"num_questions": 4, "confidence": 0.8, "credit": 0.75},
    ],
    "coverage_at_risk": {"0.01": 0.25, "0.2": 1.0, "0.05": 0.5},
}
"""How far confidence is from being right, as metrics tell it."""

TRAINING: dict[str, Any] = {
    "backbone": "tiny",
    "fingerprint": "f00d",
    "num_train_questions": 5000,
    "num_val_questions": 40,
    "num_steps": 1260,
    "num_skipped_steps": 0,
    "num_returns": 0,
    "best_epoch": 2,
    "best_val_accuracy": 0.8,
    "best_val_by_answer_type": {"number": 0.6, "yes/no": 0.9},
    "seconds": 61.4,
    "questions_per_second": 244.3,
    "device": "cpu",
    "precision": "fp32",
    "threads": 2,
    "settings": {"strategy": "full", "processes": 1},
    "warm_start": None,
    "switches": {"compile": {"value": False, "reason": "on a CPU it takes minutes and gains little"}},
    "frozen_work": {"num_layers": 0, "num_questions": 0, "num_cached": 0},
    "micro_batch": 64,
    "host_memory_bytes": 1_250_000_000,
    "gpu_memory_bytes": None,
    "learnable": {
        "num_learnable": 341867,
        "num_parameters": 341900,
        "parts": [
            {"name": "vilt.encoder.layer.0-1", "num_tensors": 32, "num_learnable": 341867, "learning_rate": 2e-4}
        ],
    },
    "curve": [
        {"epoch": 1, "step": 10, "loss": 4.5, "learning_rate": 0.001, "val_accuracy": 0.3, "seconds": 20.0},
        {"epoch": 2, "step": 20, "loss": 1.2, "learning_rate": 0.0005, "val_accuracy": 0.8, "seconds": 40.0},
        {"epoch": 3, "step": 30, "loss": 0.9, "learning_rate": 0.0, "val_accuracy": 0.7, "seconds": 61.0},
    ],
}


def make_png(width: int = 8, height: int = 8, color: str = "red") -> bytes:
    """An image file of one colour."""
    file = BytesIO()
    Image.new("RGB", (width, height), color).save(file, "PNG")
    return file.getvalue()


def make_reject(rule: str = "image_missing", number: int = 0, **changes: Any) -> dict[str, Any]:
    """A row of `schemas.REJECTS`."""
    row = {
        "source": "shapes",
        "kind": "question",
        "question_id": f"shapes/{number}",
        "fate": "rejected",
        "rule": rule,
        "reason": f"there is no image {number}",
        "fix": "Bring the `file`.",
        "image": f"{number}.png",
        "locator": {"file": "questions.jsonl", "record": number, "item": None, "byte_offset": None, "line": number + 1},
        "raw": b'{"id": %d}' % number,
    }
    return {**row, **changes}


def write_rejects(folder: Path, *rows: dict[str, Any], name: str = "rejects-0.parquet") -> Path:
    """A dataset's folder of rejects."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), REJECTS), folder / name)
    return folder


BLOCKS = {"br", "p", "div", "dt", "dd", "small", "summary", "pre", "li", "h1", "h2", "h3", "a", "td", "th", "tr"}
"""Elements that begin on a line or in a place of their own."""


class Page(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, its text, and its tables' cells."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self._texts: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"br", "img", "meta"}:
            self._open.append(tag)
        if tag == "tr":
            self._rows.append([])
        if tag in {"td", "th"}:
            self._rows[-1].append("")
        if tag in BLOCKS:
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self._texts.append(data)
        if {"td", "th"} & set(self._open):
            self._rows[-1][-1] += data

    @property
    def source_text(self) -> str:
        """All text with its lines and blanks."""
        return "".join(self._texts)

    @property
    def text(self) -> str:
        """All text, blanks as in a browser."""
        return " ".join(self.source_text.split())

    @property
    def rows(self) -> list[list[str]]:
        """The cells of all tables, row by row."""
        return [[" ".join(cell.split()) for cell in row] for row in self._rows]

    @property
    def tags(self) -> set[str]:
        """Names of all elements."""
        return {tag for tag, _ in self.elements}

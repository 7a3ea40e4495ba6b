"""The split that a name says: of a file, a folder, or a data subset. Looks at names only."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from vqa_pipeline.schemas import Split

_WORD = re.compile(r"(?<![a-z])(train|val|dev|test)(?:ing|set|id|idate|idation|-?dev)?(?![a-z])")
_SPLITS: dict[str, Split] = {"train": "train", "val": "val", "dev": "val", "test": "test"}


def find_split_word(file: str) -> Split | None:
    """The split that a file's name says in a word (`vsr_dev.jsonl`), else a folder's (`train/1.json`).

    A name that says two splits says none (but `test-dev` and `testdev` are test); a folder's says one only if it is
    nothing else.
    """
    *folders, name = PurePosixPath(file.lower()).parts or ("",)
    said = {_SPLITS[word] for word in _WORD.findall(name)}
    if said:
        return said.pop() if len(said) == 1 else None
    return next((split for folder in reversed(folders) if (split := parse_split_word(folder))), None)


def parse_split_word(word: str) -> Split | None:
    """The split that a lower-case word is the name of, and nothing else."""
    found = _WORD.fullmatch(word)
    return _SPLITS[found.group(1)] if found else None

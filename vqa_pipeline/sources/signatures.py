"""Files that no rows are read from, by their first bytes, whatever they are called; above all those that carry code.

Reading a pickle runs whatever program it holds, so nothing is ever unpickled, nor is anything guessed from a suffix.

Source: https://docs.python.org/3/library/pickle.html (warning; opcodes in Lib/pickletools.py), NumPy's
`numpy.lib.format`, and the formats' own specifications.
"""

from __future__ import annotations

import re
from collections.abc import Collection


class UnreadableFile(ValueError):
    """A file that no rows are read from, as a whole."""

    def __init__(self, reason: str, fix: str) -> None:
        self.reason, self.fix = reason, fix
        super().__init__(reason)


_RUNS_CODE = "which runs whatever code it holds when it is loaded; it is not read"
_EXPORT = "Load it where it comes from, if you trust it, and export it as JSON, CSV or Parquet."

_PICKLE = rb"""
    \x80[\x02-\x05]                                                            # protocols 2 to 5, old PyTorch's too
    | [\]}(]q\x00                                                              # protocol 1: an empty list or dict
    | \([dl]p\d+\n                                                             # protocol 0: a list or dict
    | c(__builtin__|builtins|copy_reg|copyreg|collections|numpy|pandas|torch)[\w.]*\n\w+\n   # or an object
    | x[\x01\x9c\xda]                                                          # zlib, as joblib compresses them
"""

_SIGNATURES: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (re.compile(_PICKLE, re.VERBOSE), f"is a Python pickle, {_RUNS_CODE}", _EXPORT),
    (
        re.compile(rb"\x93NUMPY[^{]{2,6}\{[^}]*'descr': *'\|O"),
        f"is a NumPy array of Python objects, {_RUNS_CODE}",
        _EXPORT,
    ),
    (re.compile(rb"\x93NUMPY"), "is a NumPy array, not a file of records", _EXPORT),
    (re.compile(rb"\x89HDF\r\n\x1a\n"), "is HDF5, which may hold pickles; it is not read", _EXPORT),
    (
        re.compile(rb"version https://git-lfs"),
        "is a git-LFS pointer, not the file",
        "Run `git lfs pull`.",
    ),
    (re.compile(rb"(?i)\s*<(!doctype html|html)"), "is a web page, not the file", "Download the file itself."),
    (re.compile(rb"PK\x03\x04|PK\x05\x06|(?s:.){257}ustar"), "is an archive in an archive", "Unpack the outer one."),
    (re.compile(rb"%PDF|\{\\rtf|\xd0\xcf\x11\xe0"), "is a document, not a file of records", "Save its table as CSV."),
)
"""What is matched at a file's start, what it is, and what to do; the first match counts."""


def refuse_by_content(start: bytes) -> None:
    """Refuse what is never read.

    Args:
        start: A file's first bytes, decompressed; 512 tell all.

    Raises:
        UnreadableFile: it is one of those.
    """
    for pattern, reason, fix in _SIGNATURES:
        if pattern.match(start):
            raise UnreadableFile(reason, fix)


def refuse_by_members(names: Collection[str]) -> None:
    """Refuse an archive that is another kind of file, told by the names of its members.

    Raises:
        UnreadableFile: it is one of those.
    """
    lasts = {name.rpartition("/")[2] for name in names}
    if "data.pkl" in lasts:
        raise UnreadableFile(f"is a PyTorch file with a Python pickle in it, {_RUNS_CODE}", _EXPORT)
    if "[Content_Types].xml" in lasts:
        raise UnreadableFile("is an Office document, such as an Excel workbook", "Save its table as CSV.")
    if names and all(name.endswith(".npy") for name in names):
        raise UnreadableFile("holds NumPy arrays, not files of records", _EXPORT)

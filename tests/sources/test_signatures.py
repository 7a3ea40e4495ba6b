"""What carries code, or is no file of records at all, is told by its first bytes; rows never look like it."""

from __future__ import annotations

import io
import json
import pickle
import zlib
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.sources.signatures import UnreadableFile, refuse_by_content

ROWS = [{"question": "what?", "answer": "yes"}]


def save_array(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def tell(content: bytes) -> str:
    with pytest.raises(UnreadableFile) as refused:
        refuse_by_content(content[:256])
    return refused.value.reason


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", [ROWS, {"rows": ROWS}, OrderedDict(a=1), np.arange(3), json.JSONDecoder])
def test_pickles_of_every_protocol_are_refused_with_the_reason(protocol, value):
    told = {"is a Python pickle, which runs whatever code it holds when it is loaded; it is not read"}
    if protocol < 2 and value is json.JSONDecoder:
        return  # a bare name in another module is a text; reading it as one runs nothing
    assert {tell(pickle.dumps(value, protocol))} == told


def test_pickles_compressed_as_joblib_does_are_refused():
    assert "pickle" in tell(zlib.compress(pickle.dumps(ROWS)))


def test_arrays_of_objects_are_told_from_arrays_of_numbers():
    assert "of Python objects, which runs" in tell(save_array(np.array(ROWS, dtype=object)))
    assert tell(save_array(np.arange(3))) == "is a NumPy array, not a file of records"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89HDF\r\n\x1a\n\0\0", "HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "git-LFS pointer"),
        (b"\n<!DOCTYPE html>\n<html>", "web page"),
        (b"<HTML><body>404</body>", "web page"),
        (b"%PDF-1.7\n", "document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "document"),
    ],
)
def test_what_people_have_under_the_names_of_rows_is_told(content, reason):
    assert reason in tell(content)


@pytest.mark.parametrize(
    "content", [b"", b"(d", b"collections,answer\n1,2\n", b"caption\nanswer\n", b"x,y\n", b"[]", b"PK"]
)
def test_rows_are_not_refused(content):
    refuse_by_content(content)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_no_text_without_control_characters_and_markup_is_refused(text):
    if not text.lstrip().lower().startswith(("<", "version https://git-lfs", "%pdf", "{\\rtf")):
        refuse_by_content(text.encode()[:256])

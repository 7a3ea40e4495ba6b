"""Texts of every encoding come as UTF-8; what fits none costs its row, and doubt is never settled in silence."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.sources.encodings import SAMPLE, is_text, read_as_utf_8, tell_encoding

WESTERN = "Où est le café ? “ici” – 5 €\n"


class Trickle(io.BytesIO):
    """A stream that gives fewer bytes than it was asked for."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size, 3) if size and size > 3 else size)


def read(content: bytes) -> bytes:
    return read_as_utf_8(io.BytesIO(content)).read()


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"", "utf-8"),
        (b"plain", "utf-8"),
        ("漢字 café".encode(), "utf-8"),
        ("\ufeffcafé".encode(), "utf-8-sig"),
        ("\ufeffcafé".encode("utf-16-le"), "utf-16"),
        ("\ufeffcafé".encode("utf-16-be"), "utf-16"),
        ("\ufeffcafé".encode("utf-32-le"), "utf-32"),
        ("\ufeffcafé".encode("utf-32-be"), "utf-32"),
        (WESTERN.encode("cp1252"), "cp1252"),
        ("naïve façade".encode("latin-1"), "cp1252"),
    ],
)
def test_the_encoding_is_told_by_mark_or_bytes(content, encoding):
    assert tell_encoding(content) == encoding


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_marked_text_is_recoded_and_its_mark_is_no_part_of_it(encoding):
    assert read(("\ufeff" + WESTERN * 9).encode(encoding)) == (WESTERN * 9).encode()


def test_western_text_is_recoded():
    assert read(WESTERN.encode("cp1252")) == WESTERN.encode()


def test_utf_8_passes_with_its_mark_so_that_offsets_stay():
    assert read(b"\xef\xbb\xbf" + WESTERN.encode()) == b"\xef\xbb\xbf" + WESTERN.encode()


@given(st.binary(max_size=40))
def test_what_begins_as_utf_8_passes_byte_for_byte(rest):
    content = ("é漢" * 30).encode() + rest
    assert read(content) == content


@given(st.text(st.characters(codec="cp1252", exclude_categories=["Cc"]), max_size=40))
def test_every_western_text_comes_out_as_it_was_written(text):
    content = ("sans accent, é, " + text).encode("cp1252")
    if tell_encoding(content) == "cp1252":
        assert read(content).decode() == "sans accent, é, " + text
    else:
        with pytest.raises(UnicodeDecodeError):
            content.decode()


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40),
    st.sampled_from(["utf-16-le", "utf-16-be", "utf-32-le"]),
)
def test_a_marked_text_comes_out_as_it_was_written(text, encoding):
    assert read(("\ufeff" + text).encode(encoding)).decode() == text


@pytest.mark.parametrize("byte", [0x81, 0x8D, 0x8F, 0x90, 0x9D])
def test_a_byte_that_cp1252_does_not_have_stays_no_utf_8_in_its_own_row(byte):
    rows = read("café\n".encode("cp1252") + bytes([byte]) + "x\nthé\n".encode("cp1252")).splitlines()
    assert rows[0].decode() == "café"
    assert rows[1] == bytes([byte]) + b"x"
    assert rows[2].decode() == "thé"


def test_a_damaged_utf_8_file_stays_utf_8():
    assert tell_encoding("déjà vu, ".encode() + b"caf\xe9") == "utf-8"
    assert read("déjà vu, ".encode() + b"caf\xe9") == "déjà vu, ".encode() + b"caf\xe9"


def test_a_mixed_file_stays_utf_8_although_western_letters_are_more():
    mixed = ("é\n" * 50).encode("cp1252") + "é\n".encode()
    assert tell_encoding(mixed) == "utf-8"


def test_two_western_letters_that_look_like_utf_8_by_chance_change_nothing():
    western = "«CAFÉ»".encode("cp1252") + ("é " * 200).encode("cp1252")
    assert tell_encoding(western) == "cp1252"
    assert read(western).decode().startswith("«CAFÉ»")


@pytest.mark.parametrize("encoding", ["gbk", "shift_jis", "cp1251", "koi8-r", "big5"])
def test_other_scripts_are_not_taken_for_western_letters_and_cost_their_rows(encoding):
    text = {"cp1251": "что это", "koi8-r": "что это", "big5": "這是什麼顏色"}.get(encoding, "色是黒白")
    content = ("answer: " + text * 3).encode(encoding)
    assert tell_encoding(content) == "utf-8"
    with pytest.raises(UnicodeDecodeError):
        read(content).decode()


def test_half_a_character_at_the_end_of_utf_16_is_no_utf_8():
    content = "\ufeffab".encode("utf-16-le")[:-1]
    assert read(content) == b"a\xff"


def test_half_a_pair_in_utf_16_is_no_utf_8():
    content = b"\xff\xfe" + b"\x3d\xd8" + b"a\0"
    with pytest.raises(UnicodeDecodeError):
        read(content).decode()


def test_a_character_that_the_sample_cuts_in_two_is_no_stray_byte():
    content = b"a" * (SAMPLE - 1) + "é".encode()
    assert tell_encoding(content[:SAMPLE]) == "utf-8"
    assert read(content) == content


def test_what_comes_after_the_sample_is_read_as_the_sample_was():
    content = b"a" * SAMPLE + WESTERN.encode("cp1252")
    assert read(content) == content
    western = WESTERN.encode("cp1252") + b"a" * SAMPLE + b"\xe9"
    assert read(western).endswith("aé".encode())


def test_a_stream_that_gives_few_bytes_at_a_time_is_read_to_its_end():
    content = ("\ufeff" + WESTERN * 5).encode("utf-16-le")
    assert read_as_utf_8(Trickle(content)).read() == (WESTERN * 5).encode()


def test_lines_are_those_of_the_text():
    lines = read_as_utf_8(io.BytesIO("\ufeffa\u0a0a\nb\n".encode("utf-16-le")))
    assert list(lines) == ["a\u0a0a\n".encode(), b"b\n"]


def test_what_is_no_text_stays_as_it_is_and_can_be_sought_in():
    content = b"PAR1" + bytes(range(256)) * 3
    assert not is_text(content)
    stream = read_as_utf_8(io.BytesIO(content))
    assert stream.read() == content
    stream.seek(4)
    assert stream.read(2) == b"\0\1"

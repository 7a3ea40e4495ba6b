"""Text from data says what it says and does nothing else."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from reporting_world import HOSTILE, Page

from vqa_pipeline.reporting.escaping import escape_control, escape_markdown, shorten


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two words", "two words"),
        ("Grüße 你好 🙂", "Grüße 你好 🙂"),
        ("red\x1b[31m", "red\\x1b[31m"),
        ("a\nb\tc\x00", "a\\nb\\tc\\x00"),
        ("abc\u202egnp.exe", "abc\\u202egnp.exe"),
        ("zero\ufeffwidth", "zero\\ufeffwidth"),
        ("line\u2028end", "line\\u2028end"),
        ("lone \udc80", "lone \\udc80"),
        ("میخواهم\u200cبروم", "میخواهم\u200cبروم"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        (7, "7"),
    ],
)
def test_unseen_characters_are_written_out_and_all_others_stay(text, shown):
    assert escape_control(text) == shown


def test_characters_to_keep_are_kept():
    assert escape_control("a\n\tb\r\x07", keep="\n\t") == "a\n\tb\\r\\x07"


@given(st.text())
def test_nothing_that_acts_on_a_terminal_is_left(text):
    left = {unicodedata.category(character) for character in escape_control(text)} - {"Cn"}
    assert not left & {"Cc", "Cs", "Co", "Zl", "Zp"}
    assert not {"\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"} & set(
        escape_control(text)
    )


def show_markdown(markdown: str) -> Page:
    """As Dagster's pages show it: CommonMark with tables, and HTML let through."""
    return Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


def test_hostile_text_becomes_plain_text():
    page = show_markdown(escape_markdown(HOSTILE))
    assert page.tags == {"p"}
    assert page.text == '<script>alert(1)</script> | `x` ![a](b) \\x1b[31m "quoted" \\u202egnp'


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_markdown_shows_any_text_literally_on_one_line(text):
    escaped = escape_markdown(text)
    assert "\n" not in escaped
    page = show_markdown(f"start {escaped} end")
    assert page.tags == {"p"}
    assert page.text == " ".join(f"start {escape_control(' '.join(text.split()))} end".split())


@given(st.text("|\\`*_<>&[]()!#-~: ab\n\r\x0b\x85\u2028", min_size=1))
def test_a_table_keeps_its_shape_whatever_its_cell_says(text):
    page = show_markdown(f"| a | b |\n| --- | --- |\n| {escape_markdown(text)} | 1 |")
    assert [len(row) for row in page.rows] == [2, 2]
    assert page.rows[1][1] == "1"


@pytest.mark.parametrize("link", ["https://example.com", "www.example.com", "me@example.com"])
def test_an_address_does_not_become_a_link(link):
    page = Page(MarkdownIt("gfm-like", {"linkify": False}).render(escape_markdown(link)))
    assert page.text == link
    assert link not in escape_markdown(link)


@pytest.mark.parametrize(("text", "short"), [("abcd", "abcd"), ("abcde", "abc…"), ("", "")])
def test_a_long_text_ends_in_an_ellipsis(text, short):
    assert shorten(text, 4) == short

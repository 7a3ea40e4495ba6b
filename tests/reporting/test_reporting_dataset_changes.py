"""What changed in a dataset, as markdown: each number in its place, text escaped."""

from __future__ import annotations

from vqa_pipeline.reporting.dataset_changes import changes_markdown

CHANGES = {
    "since": "abc",
    "sources": {
        "clinic": {
            "num_before": 1000,
            "num_now": 1011,
            "num_added": 12,
            "num_removed": 1,
            "num_reanswered": 3,
            "num_reworded": 4,
            "num_images_replaced": 5,
            "num_moved": 6,
        }
    },
    "new_answer_fraction": 0.0123,
    "answer_shift": 0.0456,
    "fields": [
        {"source": "clinic", "field": "question.a|b", "before": "a text", "now": None},
        {"source": "clinic", "field": "question.id", "before": "a text", "now": "a number"},
    ],
}


def test_every_number_stands_under_its_name():
    page = changes_markdown(CHANGES)
    assert "**Since version abc**" in page
    assert (
        "| questions | before | now | added | removed | other answers | other text | other image | other split |"
        in page
    )
    assert "| clinic | 1,000 | 1,011 | 12 | 1 | 3 | 4 | 5 | 6 |" in page
    assert "1.2% of the questions have a most common answer that none had before" in page
    assert "shifted by 0.046" in page


def test_fields_are_named_and_escaped():
    page = changes_markdown(CHANGES)
    assert r"clinic: question\.a\|b was a text, is gone; clinic: question\.id was a text, is a number now" in page
    assert "Fields" not in changes_markdown({**CHANGES, "fields": []})


def test_the_first_version_has_nothing_to_be_compared_with():
    assert changes_markdown(None) == "**First version**: there is none to compare it with."

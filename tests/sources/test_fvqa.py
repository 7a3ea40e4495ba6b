"""`fvqa`: an object of questions that need a fact."""

from __future__ import annotations

import pytest
from source_reading import number_answers, read_fields, read_rows, sample_object, write_json

from vqa_pipeline.sources.formats.fvqa import FVQA

TRUMPET = {
    "fact_surface": "[[a trumpet]] is found in [[a jazz club]]",
    "ans_source": "image",
    "answer": "trumpet",
    "question": "Which object can be found in a jazz club",
    "img_file": "ILSVRC2012_test_00050748.JPEG",
    "visual_concept": "obj",
    "fact": ["conceptnet/e/f768"],
    "question_id": "270",
}


def test_a_question_is_a_member_with_its_id_as_key(tmp_path):
    write_json(tmp_path / "q.json", {"270": TRUMPET})
    assert read_fields(tmp_path, "fvqa", "q.json") == [
        {
            "native_id": "270",
            "image": "ILSVRC2012_test_00050748.JPEG",
            "question": "Which object can be found in a jazz club",
            "split": None,
            "question_type": "obj",
            "answer_type": "image",
            "answers": number_answers("trumpet"),
        }
    ]


@pytest.mark.parametrize("change", [{"img_file": None}, {"answer": ["trumpet"]}, {"question": 3}])
def test_a_question_that_is_not_one_costs_only_itself(tmp_path, change):
    write_json(tmp_path / "q.json", {"1": TRUMPET | change, "2": TRUMPET})
    bad, good = read_rows(tmp_path, "fvqa", "q.json")
    assert next(iter(change)) in str(bad.error)
    assert good.fields["native_id"] == "2"


def test_a_file_of_questions_by_id_is_recognised():
    assert FVQA.recognize(sample_object("q.json", {"270": TRUMPET}, [TRUMPET])) == (1.0, {"files": "q.json"})
    assert FVQA.recognize(sample_object("q.json", {"1": {"question": "a?"}}, [{"question": "a?"}])) is None

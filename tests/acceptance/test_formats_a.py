"""Each sample of the formats below is read once: how many rows, and the first of them, spelled out by hand.

Needs a folder with `formats/`, which is not part of the project: name it in VQA_ACCEPTANCE_DATA.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from source_reading import SOURCE, read_fields, read_rows

from vqa_pipeline.curation.records import validate_source
from vqa_pipeline.sources.recognition import list_tree_near, recognize_files

DATA = os.environ.get("VQA_ACCEPTANCE_DATA")
FORMATS = Path(DATA or ".").resolve() / "formats"

pytestmark = pytest.mark.skipif(not DATA, reason="VQA_ACCEPTANCE_DATA does not name a folder with real data")


def tell(fields: dict[str, Any]) -> tuple[Any, ...]:
    """What is worth spelling out of one question; its answers as texts."""
    answers = fields["answers"]
    texts = None if answers is None else [answer["answer"] for answer in answers]
    return fields["native_id"], fields["image"], fields["question"], fields["split"], texts


def test_gqa():
    hanging = ("202218649", "n578564.jpg", "What is hanging above the chalkboard?", None, ["picture"])
    wooden = ("20240871", "n166008.jpg", "Does the table below the water look wooden and round?", None, ["yes"])
    assert [tell(fields) for fields in read_fields(FORMATS, "gqa", "gqa/questions.json", splits="by_image")] == [
        hanging
    ]
    shards = read_fields(FORMATS, "gqa", "gqa/questions[0-9].json", splits="by_image")
    assert [tell(fields) for fields in shards] == [hanging, wooden]
    assert [fields["question_type"] for fields in shards] == ["query", "logical"]
    assert [fields["paraphrase_of"] for fields in shards] == [None, "20240870"]


def test_visual_genome():
    rows = read_rows(FORMATS, "visual_genome", "visual_genome_qa/question_answers.json")
    assert [row.raw.locator[1:3] for row in rows] == [(0, item) for item in range(5)] + [(1, item) for item in range(3)]
    assert tell(rows[4].fields) == (987285, "4.jpg", "What is on the couch?", None, ["A teddy bear."])
    assert tell(rows[5].fields) == (966490, "5.jpg", "Where was this photo taken?", None, ["In a home office."])


def test_clevr():
    [fields] = read_fields(FORMATS, "clevr", "clevr_quoted/test_one_record.json")
    question = "What number of objects are gray spheres or gray things on the right side of the small gray ball?"
    assert tell(fields) == ("test-149985", "CLEVR_test_014999.png", question, "test", None)


def test_textvqa():
    time, brand, number = read_fields(FORMATS, "textvqa", "textvqa_original/TextVQA_with_url_val.first3.json")
    assert tell(time) == (None, "train/666bf94242a15dda.jpg", "what time is it?", "val", ["11:28"] * 10)
    assert tell(brand)[2:] == ("what is the phone's brand?", "val", ["samsung"] * 8)
    assert tell(number)[1:3] == ("train/4466c0f60a434b36.jpg", "what number is this player?")
    assert tell(number)[4] == ["40"] * 7 + ["not a question"] + ["40"] * 8


def test_textvqa_in_the_form_of_vqa():
    folder = "textvqa_in_vqa_form"
    rows = read_rows(
        FORMATS,
        "vqa_v2",
        questions=f"{folder}/questions.first3.json",
        annotations=f"{folder}/annotations.first3.json",
        image_pattern="{image_id}.jpg",
    )
    assert [row.raw.kind for row in rows] == ["question"] * 3 + ["annotation"] * 3
    question = "what is the brand of this camera?"
    assert tell(rows[0].fields) == (34602, "003a8ae2ef43b901.jpg", question, "val", None)
    assert rows[3].fields["native_id"] == 34602
    assert rows[3].fields["question_type"] == "none of the above"
    assert rows[3].fields["answer_type"] is None
    assert rows[3].fields["answers"][1] == {"answer": "dakota", "answer_id": 2, "answer_confidence": "yes"}


def test_vizwiz_in_the_form_of_vqa():
    folder = "vizwiz_in_vqa_form"
    rows = read_rows(
        FORMATS,
        "vqa_v2",
        questions=f"{folder}/questions.first3.json",
        annotations=f"{folder}/annotations.first3.json",
    )
    assert [row.error for row in rows] == [None] * 6
    spoken = "Ok. There is another picture I hope it is a better one."
    assert tell(rows[0].fields) == (0, "VizWiz_val_00000000.jpg", spoken, "val", None)
    assert rows[2].fields["question"] == "What is the title of this book? "
    assert rows[3].fields["question_type"] == "unanswerable"
    assert rows[3].fields["answers"][0] == {
        "answer": "unanswerable",
        "answer_id": None,
        "answer_confidence": "yes",
    }
    assert [len(row.fields["answers"]) for row in rows[3:]] == [10, 10, 10]


def test_aokvqa():
    [fields] = read_fields(FORMATS, "aokvqa", "aokvqa_quoted/one_record.json")
    answers = ["ride", "ride", "bus", "taxi", "travelling", "traffic", "taxi", "cab", "cab", "his ride"]
    question = "What is the man by the bags awaiting?"
    assert tell(fields) == ("22MexNkBPpdZGX6sxbxVBH", "000000299207.jpg", question, "train", answers)


def test_docvqa():
    [fields] = read_fields(FORMATS, "docvqa", "docvqa_quoted/one_record.json")
    answers = ["Edward R. Shannon", "Edward Shannon"]
    assert tell(fields) == (52212, "documents/txpn0095_1.png", "Whose signature is given?", "train", answers)


def test_fvqa():
    [fields] = read_fields(FORMATS, "fvqa", "fvqa_quoted/one_record.json")
    question = "Which object can be found in a jazz club"
    assert tell(fields) == ("270", "ILSVRC2012_test_00050748.JPEG", question, None, ["trumpet"])


def test_vqa_med_2019():
    references = read_fields(FORMATS, "vqa_med_2019", "vqa_med_2019/test_w_ref.head5.txt")
    questions = read_fields(FORMATS, "vqa_med_2019", "vqa_med_2019/test_q.head3.txt")
    asked = (None, "synpic54082.jpg", "what modality is shown?", "test")
    assert [len(references), len(questions)] == [5, 3]
    assert tell(references[0]) == (*asked, ["cta - ct angiography"])
    assert tell(questions[0]) == (*asked, None)
    assert [fields["question_type"] for fields in references] == ["modality"] * 5


def test_daquar():
    beside, front, desk = read_fields(FORMATS, "daquar", "daquar/*.head9")
    question = "what is on the right side of the black telephone and on the left side of the red chair ?"
    assert tell(beside) == (None, "image3.png", question, "train", ["desk"])
    assert tell(front)[4] == ["telephone"]
    assert tell(desk) == (
        None,
        "image3.png",
        "what is on the desk ?",
        "train",
        ["book, scissor, papers, tape_dispenser"],
    )


def test_the_official_form_of_vqa():
    rows = read_rows(FORMATS, "vqa_v2", questions="vqa_v2/questions.json", annotations="vqa_v2/annotations.json")
    assert len(rows) == 6
    question = "What is this photo taken looking through?"
    assert tell(rows[0].fields) == (458752000, "COCO_train2014_000000458752.jpg", question, "train", None)
    answers = ["net", "net", "net", "netting", "net", "net", "mesh", "net", "pitcher", "orange"]
    assert tell(rows[3].fields | {"image": None, "question": None, "split": None})[4] == answers


@pytest.mark.parametrize("suffix", ["json", "gzip"])
def test_a_part_of_vqa_with_a_split_in_each_record(suffix):
    folder = "vqa_v2_subset_with_split"
    rows = read_rows(
        FORMATS,
        "vqa_v2",
        questions=f"{folder}/vqa_questions_test.first3.{suffix}",
        annotations=f"{folder}/vqa_annotatons_test.first3.{suffix}",
        data_subtype="train2014",
    )
    bell = "Is there a bell on the train?"
    assert [row.error for row in rows] == [None] * 6
    assert tell(rows[0].fields) == (540769000, "COCO_train2014_000000540769.jpg", bell, "test", None)
    assert rows[3].fields["answers"] == [
        {"answer": "yes", "answer_id": number, "answer_confidence": "yes"} for number in range(1, 11)
    ]


@pytest.mark.parametrize(
    ("kind", "files", "num_questions"),
    [
        ("aokvqa", "aokvqa_quoted/*.json", 1),
        ("clevr", "clevr_quoted/*.json", 1),
        ("daquar", "daquar/*", 3),
        ("docvqa", "docvqa_quoted/*.json", 1),
        ("fvqa", "fvqa_quoted/*.json", 1),
        ("gqa", "gqa/*.json", 3),
        ("textvqa", "textvqa_original/*.json", 3),
        ("visual_genome", "visual_genome_qa/*.json", 8),
        ("vqa_med_2019", "vqa_med_2019/test_*.txt", 8),
    ],
)
def test_curation_takes_every_row_of_a_sample(tmp_path, kind, files, num_questions):
    source = SOURCE.validate_python({"name": kind, "format": kind, "files": files, "splits": "by_image"})
    summary = validate_source(source, FORMATS, tmp_path)
    assert (summary.num_questions, summary.rejects_by_rule) == (num_questions, {})


@pytest.mark.parametrize(
    ("folder", "kind", "num_files"),
    [
        ("aokvqa_quoted", "aokvqa", 1),
        ("clevr_quoted", "clevr", 1),
        ("clevr_readme", None, 1),
        ("daquar", "daquar", 1),
        ("docvqa_quoted", "docvqa", 1),
        ("fvqa_quoted", "fvqa", 1),
        ("gqa", "gqa", 3),
        ("textvqa_in_vqa_form", "vqa_v2", 2),
        ("textvqa_original", "textvqa", 1),
        ("visual_genome_qa", "visual_genome", 1),
        ("vizwiz_in_vqa_form", "vqa_v2", 2),
        ("vqa_v2", "vqa_v2", 2),
        ("vqa_v2_subset_with_split", "vqa_v2", 4),
    ],
)
def test_a_sample_is_recognised_by_its_content(folder, kind, num_files):
    assert [one.format for one in recognize_files(list_tree_near(FORMATS / folder))[0]] == [kind] * num_files


def test_a_readme_beside_lines_of_questions_is_none():
    found, _ = recognize_files(list_tree_near(FORMATS / "vqa_med_2019"))
    assert {one.file.sample.name: one.format for one in found} == {
        "README-origin.txt": None,
        "test_q.head3.txt": "vqa_med_2019",
        "test_w_ref.head5.txt": "vqa_med_2019",
    }

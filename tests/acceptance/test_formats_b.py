"""Real records of SLAKE, VQA-RAD, POPE, VSR, SNLI-VE, NLVR2, OwlEval, dialogues, and published split lists.

Needs a folder with `formats/`, which is not part of the project: name it in VQA_ACCEPTANCE_DATA. Counts and values are
spelled out by hand from the files.
"""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from source_reading import SOURCE, read_fields, read_rows

from vqa_pipeline.curation.records import validate_source
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.formats.split_lists import SplitLists, is_split_list
from vqa_pipeline.sources.recognition import list_tree_near, recognize_files
from vqa_pipeline.sources.settings import SplitList

DATA = os.environ.get("VQA_ACCEPTANCE_DATA")

pytestmark = pytest.mark.skipif(not DATA, reason="VQA_ACCEPTANCE_DATA does not name a folder with real data")

SAMPLES = [
    (
        {"kind": "slake", "files": "slake/*.json"},
        6,
        (0, "xmlab1/source.jpg", "What modality is used to take this image?", "train", ["MRI"]),
    ),
    (
        {"kind": "slake", "files": "slake/train.zh2.json"},
        2,
        (4919, "xmlab0/source.jpg", "这张图片的成像方式是什么?", "train", ["MRI"]),
    ),
    (
        {"kind": "table", "files": "slake_csv/*.csv", "columns": {"image": "img_name", "answers": "answer"}},
        8,
        (None, "xmlab102/source.jpg", "Does the picture contain liver?", None, ["No"]),
    ),
    (
        {"kind": "vqa_rad", "files": "vqa_rad_quoted/*.json"},
        1,
        (1, "synpic54610.jpg", "Are regions of the brain infarcted?", None, ["Yes"]),
    ),
    (
        {"kind": "pope", "files": "pope_jsonl/*.json"},
        4,
        (
            "coco_pope_random.head4/1",
            "COCO_val2014_000000310196.jpg",
            "Is there a snowboard in the image?",
            None,
            ["yes"],
        ),  # fmt: skip
    ),
    (
        {"kind": "vsr", "files": "vsr_jsonl/*.jsonl"},
        2,
        (None, "000000372029.jpg", "The dog is on the surfboard.", "val", ["true"]),
    ),
    (
        {"kind": "snli_ve", "files": "snli_ve_jsonl/*.jsonl", "splits": "by_image"},
        5,
        ("2248275918.jpg#2r1c", "2248275918.jpg", "A toddler sleeps outside.", None, ["contradiction"]),
    ),
    (
        {"kind": "owleval", "files": "owleval_jsonl/*.jsonl"},
        3,
        (1, "1.jpg", "What is funny about this image? Describe it panel by panel.", None, []),
    ),
    (
        {"kind": "conversations", "files": "llava_conversation/qa90*"},
        4,
        (0, "000000441147.jpg", "What is the color of the two suitcases in the image?", None, []),
    ),
    (
        {"kind": "conversations", "files": "llama_factory_sharegpt/mllm_demo.json"},
        12,
        (None, "mllm_demo_data/1.jpg", "Who are they?", None, ["They're Kane and Gretzka from Bayern Munich."]),
    ),
    (
        {"kind": "conversations", "files": "med_llava_tr_quoted/*.json"},
        1,
        (None, "dataset/images/synpic29265.jpg", "Bu göğüs MR'ı mı?", None, ["Hayır."]),
    ),
    (
        {
            "kind": "table",
            "files": "jsonl_csv_imagefolder_constructed/metadata.jsonl",
            "image_root": "jsonl_csv_imagefolder_constructed",
            "columns": {"image": "file_name", "answers": "answer"},
        },
        3,
        (None, "0.png", "what is the blue shape?", None, ["rectangle"]),
    ),
]


REJECTED = [({"kind": "nlvr2", "files": "nlvr2_jsonl/*.json"}, {"images_several": 3})]


def formats() -> Path:
    return Path(str(DATA)).resolve() / "formats"


@pytest.mark.parametrize(("settings", "count", "first"), SAMPLES, ids=lambda value: str(value)[:60])
def test_every_row_of_a_sample_is_a_question_and_the_first_is_known(settings, count, first):
    rows = read_fields(formats(), **settings)
    assert len(rows) == count
    answers = [answer["answer"] for answer in rows[0]["answers"] or ()]
    assert (*(rows[0][name] for name in ("native_id", "image", "question", "split")), answers) == first


def test_long_replies_are_answers_and_the_ids_of_pictures_are_no_ids_of_questions():
    rows = read_fields(formats(), kind="conversations", files="llava_conversation/coco2014*")
    assert [(row["native_id"], row["question_type"]) for row in rows] == [(None, "conv"), (None, "detail"), (None, "complex")]  # fmt: skip
    panda = read_fields(formats(), kind="conversations", files="internlm_conversation/*.json")
    assert [row["question"] for row in panda] == [
        "Can you provide an extremely detailed description for this image?",
        "Can you write a story from the given image?",
    ]
    assert panda[0]["answers"][0]["answer"].startswith("No problem! The image features a close-up of a giant panda")
    assert {row["image"] for row in panda} == {"data/images/panda.jpeg"}


def test_turns_are_rows_and_marks_at_either_end_are_cut_out():
    source = {"kind": "conversations", "files": "llama_factory_sharegpt/mllm_demo.json"}
    rows = read_rows(formats(), **source)
    assert [row.fields["question"] for row in rows[:2]] == ["Who are they?", "What are they doing?"]
    assert [str(row.raw.locator) for row in rows[:3]] == [
        "mllm_demo.json[0].0",
        "mllm_demo.json[0].1",
        "mllm_demo.json[1].0",
    ]


def test_statements_about_two_pictures_are_rejected_with_that_reason():
    rows = read_rows(formats(), kind="nlvr2", files="nlvr2_jsonl/*.json")
    assert [row.error.reason for row in rows] == [
        f"it is a statement about two images, dev-896-{number}-img0.png and dev-896-{number}-img1.png"
        for number in range(3)
    ]


def test_easy_vqa_s_triples_are_read(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "questions.json").write_bytes((formats() / "easy_vqa" / "train.questions.first5.json").read_bytes())
    rows = read_fields(tmp_path, kind="easy_vqa", folder=str(tmp_path))
    assert [(row["question"], row["image"]) for row in rows][0::4] == [
        ("what is the blue shape?", "0.png"),
        ("is there a black shape?", "0.png"),
    ]


def test_karpathy_s_lists_are_read():
    val = SplitLists("coco", SplitList(list="karpathy_split_txt/*.txt"), formats())
    assert val.find("COCO_val2014_000000204311.jpg", None) == "val"
    with pytest.raises(MalformedRecord, match="in none of"):
        val.find("COCO_val2014_000000391895.jpg", None)
    coco = SplitLists("coco", SplitList(list="karpathy_quoted/*.json"), formats())
    assert coco.find("val2014/COCO_val2014_000000391895.jpg", 0) == "test"


def test_scienceqa_s_list_is_read(tmp_path):
    """The sample is the beginning of the file, so it is closed by hand."""
    start = (formats() / "scienceqa_pid_splits" / "pid_splits.head300chars.txt").read_text()
    (tmp_path / "pid_splits.json").write_text(start.rstrip().rstrip(",") + "]}")
    lists = SplitLists("scienceqa", SplitList(list="pid_splits.json"), tmp_path)
    assert [lists.find("image.png", number) for number in ("1", "54")] == ["train", "train"]


@pytest.mark.parametrize(("settings", "rejects"), [(told, {}) for told, _, _ in SAMPLES] + REJECTED)
def test_curation_finds_nothing_else_wrong_and_every_question_has_an_id_of_its_own(tmp_path, settings, rejects):
    named = {name: value for name, value in settings.items() if name != "kind"}
    source = SOURCE.validate_python({"name": "here", "format": settings["kind"], **named})
    assert validate_source(source, formats(), tmp_path).rejects_by_rule == rejects
    ids = [pq.read_table(path)["question_id"].to_pylist() for path in tmp_path.glob("questions-*")]
    asked = [(row.fields["image"], row.fields["question"]) for row in read_rows(formats(), **settings) if row.fields]
    assert len({one for some in ids for one in some}) == len(set(asked))


@pytest.mark.parametrize(
    ("folder", "known"),
    [
        ("slake", "slake"),
        ("slake_csv", "table"),
        ("vqa_rad_quoted", "vqa_rad"),
        ("pope_jsonl", "pope"),
        ("vsr_jsonl", "vsr"),
        ("snli_ve_jsonl", "snli_ve"),
        ("nlvr2_jsonl", "nlvr2"),
        ("owleval_jsonl", "owleval"),
        ("llava_conversation", "conversations"),
        ("internlm_conversation", "conversations"),
        ("llama_factory_sharegpt", "conversations"),
        ("med_llava_tr_quoted", "conversations"),
        ("jsonl_csv_imagefolder_constructed", "table"),
    ],
)
def test_samples_are_recognised(folder, known):
    found, _ = recognize_files(list_tree_near(formats() / folder))
    assert {one.format for one in found} == {known}


@pytest.mark.parametrize("folder", ["karpathy_split_txt", "karpathy_quoted", "scienceqa_pid_splits"])
def test_split_lists_are_no_sources_and_told_from_other_files(folder):
    [[found], _] = recognize_files(list_tree_near(formats() / folder))
    assert found.format is None
    assert is_split_list(found.file.sample)

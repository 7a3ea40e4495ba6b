"""The report: every number with its meaning, honest about failure, the same bytes for the same input."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from reporting_world import (
    CALIBRATION,
    CONSISTENCY,
    HOSTILE,
    LEDGER,
    METRICS,
    TRAINING,
    Page,
    make_difference,
    make_png,
    make_reject,
    make_slice,
    write_rejects,
)

from vqa_pipeline.reporting.changes import Change
from vqa_pipeline.reporting.escaping import escape_control
from vqa_pipeline.reporting.galleries import Galleries, Shot
from vqa_pipeline.reporting.images import make_thumbnail
from vqa_pipeline.reporting.report import ReportInput, render_report

SHOT = Shot(
    question_id="shapes/7",
    question="what colour is it?",
    answer="red",
    probability=0.97,
    references=["blue (×7)", "green"],
    place="questions.jsonl:8",
    picture=make_thumbnail(make_png()),
)


def arrange(**shots: list[Shot]) -> dict[str, list[Shot]]:
    return dict.fromkeys(Galleries._fields, []) | shots


def make_input(folder: Path, **changes) -> ReportInput:
    told = ReportInput(
        name="clinic",
        splits=("test",),
        metrics=METRICS,
        training=TRAINING,
        ledger=LEDGER,
        rejects=write_rejects(folder / "rejects", make_reject()),
        shots=arrange(right=[SHOT._replace(answer="blue")], confidently_wrong=[SHOT]),
        num_suspects=0,
        suspect_files=[],
        changes=[],
        provenance={"dataset": "version abc, data version def", "commit": "f00"},
    )
    return told._replace(**changes)


def show(folder: Path, **changes) -> Page:
    return Page(render_report(make_input(folder, **changes)))


def test_the_model_stands_beside_every_baseline_and_the_ceiling(tmp_path):
    assert [(row[0], row[2]) for row in show(tmp_path).rows[:9]] == [
        ("", "VQA accuracy"),
        ("Model the trained ViLT", "0.750"),
        ("Question only a linear model that reads the question's words", "0.400"),
        ("Most common answer per question type the most frequent training answer to that type", "0.375"),
        ("Most common answer always the most frequent training answer", "0.250"),
        ("Ceiling what the best choice from the answer vocabulary would score", "0.950"),
        ("", "Share of questions"),
        ("Exact match questions answered with the annotators' most common answer", "0.500"),
        ("Coverage questions with an annotator's answer in the answer vocabulary", "0.900"),
    ]


def test_a_dot_lies_at_its_share(tmp_path):
    places = [attributes["style"] for tag, attributes in show(tmp_path).elements if tag == "i"]
    assert places[:7] == [f"left:{share}%" for share in ("75.0", "40.0", "37.5", "25.0", "95.0", "50.0", "90.0")]


def test_the_headline_tells_accuracy_questions_and_the_best_guess(tmp_path):
    text = show(tmp_path).text
    assert "VQA accuracy 0.750 On 4 annotated test questions about 3 images; 1.000 is perfect." in text
    assert "With 95 % confidence it is between 0.210 and 0.930 on questions like these." in text
    assert "The best guess without the image reaches 0.400 (question only)." in text
    assert "It may be guessing" not in text
    assert "Image reliance +0.350 accuracy above the best without the image" in text


@pytest.mark.parametrize(("low", "is_said"), [(0.001, False), (0.0, True), (-0.3, True)])
def test_a_model_that_is_not_surely_above_every_baseline_is_called_what_it_is(tmp_path, low, is_said):
    metrics = {**METRICS, "image_reliance_interval": {"low": low, "high": 0.6}}
    assert ("It may be guessing." in show(tmp_path, metrics=metrics).text) == is_said


@pytest.mark.parametrize(
    ("metric", "words"), [("official", "three of ten annotators"), ("normalized", "min(1, m / (0.3 n))")]
)
def test_the_metric_is_named_and_explained(tmp_path, metric, words):
    text = show(tmp_path, metrics={**METRICS, "metric": metric}).text
    assert f"by the {metric} metric" in text
    assert words in text


def test_questions_without_prediction_or_annotation_are_told(tmp_path):
    text = show(tmp_path, metrics={**METRICS, "num_unanswered": 1, "num_questions": 9}).text
    assert "1 questions have no prediction and count as 0." in text
    assert "5 more questions were answered but have no annotation" in text


def test_slices_are_told_by_column_with_their_intervals(tmp_path):
    page = show(tmp_path)
    slices = [row for row in page.rows if row[0].startswith(("color", "shape "))]
    assert slices == [
        ["shape too few images to tell", "3", "2", "", "0.667", "0.250–1.000"],  # noqa: RUF001
        ["color", "1", "40", "", "1.000", "0.250–1.000"],  # noqa: RUF001
    ]
    assert "Question type" in page.text
    assert "Answer type" not in page.text


def test_an_interval_is_drawn_from_its_low_to_its_high_end(tmp_path):
    lines = [attributes["style"] for tag, attributes in show(tmp_path).elements if tag == "b" and attributes]
    blind = ["left:10.0%;width:70.0%", "left:10.0%;width:60.0%", "left:5.0%;width:55.0%"]
    assert lines == ["left:21.0%;width:72.0%", *blind, *["left:25.0%;width:75.0%"] * 2]


def test_the_accuracy_of_all_is_marked_beside_each_slice(tmp_path):
    assert [attributes["style"] for tag, attributes in show(tmp_path).elements if tag == "u"] == ["left:75.0%"] * 2


def test_many_slices_are_cut_and_counted(tmp_path):
    slices = [make_slice("source", f"source {number:02}") for number in range(40)]
    page = show(tmp_path, metrics={**METRICS, "slices": slices})
    assert len([row for row in page.rows if row[0].startswith("source ") and "too few" in row[0]]) == 25
    assert "The 25 most frequent of 40" in page.text


def test_that_nothing_parts_the_questions_is_told(tmp_path):
    assert "Nothing parts these questions" in show(tmp_path, metrics={**METRICS, "slices": []}).text


def test_what_is_taken_for_what_is_told(tmp_path):
    assert ["blue", "red", "1", "100 %", "shapes/7"] in show(tmp_path).rows
    assert "What it takes for what" not in show(tmp_path, metrics={**METRICS, "confusions": []}).text


def test_how_consistent_it_is_over_paraphrases_is_told(tmp_path):
    page = show(tmp_path, metrics={**METRICS, "consistency": CONSISTENCY})
    assert "8 groups of questions ask the same about one image. 75 % of them got one and the same answer" in page.text
    assert "with 95 % confidence, between 40 and 90 %" in page.text
    assert ["1 wording", "", "0.800"] in page.rows
    assert ["2 wordings", "", "0.625"] in page.rows
    assert ["which colour?", "red", "shapes/1"] in page.rows
    assert ["what colour is it?", "nothing", "shapes/2"] in page.rows
    assert "Asked in other words" not in show(tmp_path).text


def test_a_gallery_shows_question_answers_confidence_and_place(tmp_path):
    page = show(tmp_path)
    assert "what colour is it? model red 0.97 people blue (×7), green shapes/7 questions.jsonl:8" in page.text  # noqa: RUF001
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert [image["src"] for image in images] == [SHOT.picture] * 2
    assert images[0]["alt"] == "Image of question shapes/7"


def test_no_mistake_is_told_too(tmp_path):
    assert "None to show." in show(tmp_path, shots=arrange()).text


def test_suspects_are_shown_counted_and_said_how_to_correct(tmp_path):
    shown = arrange(suspect=[SHOT], confidently_wrong=[])
    text = show(tmp_path, shots=shown, num_suspects=3, suspect_files=["suspects/a.csv", "suspects/b.csv"]).text
    assert "All 3 are in suspects/a.csv, suspects/b.csv, beside this report" in text
    assert "what colour is it? model red 0.97" in text
    assert "None to show but the suspect ones." in text
    assert "None: no answer that the model is sure of contradicts all annotators." in show(tmp_path).text


def test_without_pictures_there_is_only_text(tmp_path):
    page = show(tmp_path, shots=arrange(right=[SHOT._replace(picture="")]), rejects=None)
    assert "img" not in page.tags
    assert "what colour is it?" in page.text
    assert ["shapes", "13", "8", "1", "3", "1", "0"] in page.rows
    assert "image_missing" not in page.text


def test_the_verdict_is_told_in_words_and_group_by_group(tmp_path):
    comparison = {
        "champion": "c0ffee",
        "champion_accuracy": 0.7,
        "total": make_difference(0.05),
        "slices": [make_difference(-0.02, column="answer_type", value="yes/no")],
    }
    verdict = {"outcome": "held", "reasons": ["+0.050: `x` fell"]}
    page = show(tmp_path, metrics={**METRICS, "comparison": comparison, "verdict": verdict})
    assert "Verdict: held The champion stays in use. +0.050: x fell" in page.text
    assert "(data version c0ffee), which reaches 0.700 on the same questions" in page.text
    assert ["all questions", "60", "", "+0.050", "-0.100 to +0.100"] in page.rows
    assert ["answer type: yes/no", "60", "", "-0.020", "-0.100 to +0.100"] in page.rows
    assert "Verdict" not in show(tmp_path).text


def test_confidence_is_drawn_and_told_where_it_was_measured(tmp_path):
    page = show(tmp_path, metrics={**METRICS, "calibration": CALIBRATION})
    assert len([tag for tag, _ in page.elements if tag == "svg"]) == 4
    assert ["at most 5%", "", "0.500"] in page.rows
    assert "Can its confidence be trusted?" not in show(tmp_path).text


def test_what_changed_stands_before_the_scores(tmp_path):
    changes = [Change("images", "3", "5", "+2"), Change("training.epochs", "1", "2", "")]
    page = show(tmp_path, changes=changes)
    assert page.rows[1:3] == [["images", "3", "5", "+2"], ["training.epochs", "1", "2", ""]]
    assert "What changed" not in show(tmp_path).text


def test_the_learning_curve_is_drawn_told_and_listed(tmp_path):
    page = show(tmp_path)
    assert len([tag for tag, _ in page.elements if tag == "svg"]) == 2
    assert "5,000 questions in 1,260 steps, 61 seconds on cpu in fp32" in page.text
    assert "epoch 2 did best and was kept" in page.text
    assert ["2", "20", "1.2000", "0.800", "5.00e-04", "40"] in page.rows


def test_rates_that_were_tried_are_told_with_their_curves(tmp_path):
    tried = {"learning_rate": 0.003, "weight_decay": 0.01, "val_accuracies": [0.0, 0.5, 1.0], "is_finite": True}
    page = show(tmp_path, training={**TRAINING, "rate_search": {"tried": [tried]}})
    assert ["0.003", "0.01", "▁▅█", "1.000"] in page.rows
    assert "Rates that were tried" not in show(tmp_path).text


def test_the_data_behind_it_is_accounted_for(tmp_path):
    page = show(tmp_path)
    assert ["shapes", "13", "8", "1", "3", "1", "0"] in page.rows
    assert "image_missing · 1 row rejected" in page.text
    assert ["dataset", "version abc, data version def"] in page.rows


def test_hostile_text_is_shown_and_does_nothing(tmp_path):
    shot = SHOT._replace(question=HOSTILE, answer=HOSTILE, references=[HOSTILE], question_id=HOSTILE, place=HOSTILE)
    slices = [make_slice(HOSTILE, HOSTILE)]
    html = render_report(
        make_input(
            tmp_path,
            shots=dict.fromkeys(Galleries._fields, [shot]),
            num_suspects=1,
            suspect_files=[HOSTILE],
            changes=[Change(HOSTILE, HOSTILE, HOSTILE, "")],
            metrics={
                **METRICS,
                "slices": slices,
                "confusions": [METRICS["confusions"][0] | dict.fromkeys(("most_common_answer", "answer"), HOSTILE)],
                "consistency": {
                    **CONSISTENCY,
                    "disagreements": [
                        {"question_ids": [HOSTILE], "questions": [HOSTILE], "answers": [HOSTILE]},
                    ],
                },
                "verdict": {"outcome": "held", "reasons": [HOSTILE]},
                "comparison": {
                    "champion": HOSTILE,
                    "champion_accuracy": 0.5,
                    "total": make_difference(0.1),
                    "slices": [make_difference(0.1, column=HOSTILE, value=HOSTILE)],
                },
            },
            provenance={HOSTILE: HOSTILE},
            rejects=write_rejects(tmp_path / "hostile", make_reject(HOSTILE, reason=HOSTILE, raw=HOSTILE.encode())),
        )
    )
    page = Page(html)
    assert "script" not in page.tags
    places = {"gallery": 20, "file": 1, "change": 3, "slice": 3, "origin": 2, "reject": 4, "verdict": 5, "confusion": 2}
    places["paraphrase"] = 3
    assert page.text.count("<script>alert(1)</script>") == sum(places.values())
    assert not {"\x1b", "\u202e"} & set(html)


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_leaves_the_structure_of_the_report_as_it_is(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("report")
    shot = SHOT._replace(question=text, answer=text, references=[text])
    plain, page = (show(folder, shots=dict.fromkeys(Galleries._fields, [one])) for one in (SHOT, shot))
    assert [tag for tag, _ in page.elements if tag != "bdi"] == [tag for tag, _ in plain.elements if tag != "bdi"]
    assert " ".join(escape_control(text, keep="\n\t").split()) in page.text


def test_the_report_loads_nothing(tmp_path):
    page = show(tmp_path)
    assert not page.tags & {"script", "link", "iframe", "object", "embed"}
    for _, attributes in page.elements:
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")


def test_links_of_the_page_lead_somewhere(tmp_path):
    page = show(tmp_path)
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    targets = {attributes["href"][1:] for tag, attributes in page.elements if tag == "a"}
    assert targets
    assert targets <= ids


def test_a_report_with_two_hundred_images_is_less_than_five_megabytes(tmp_path):
    file = BytesIO()
    Image.effect_noise((224, 224), 200).convert("RGB").save(file, "PNG")  # nothing is harder to press
    shot = SHOT._replace(picture=make_thumbnail(file.getvalue()))
    html = render_report(make_input(tmp_path, shots=dict.fromkeys(Galleries._fields, [shot] * 50), num_suspects=50))
    assert html.count("<img") == 200
    assert len(html.encode()) < 5_000_000


def test_the_same_input_gives_the_same_bytes(tmp_path):
    assert render_report(make_input(tmp_path)) == render_report(make_input(tmp_path))


def test_importing_the_room_loads_nothing_heavy():
    program = (
        "import sys, vqa_pipeline.reporting; print(sorted({'pandas', 'numpy', 'PIL', 'jinja2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"

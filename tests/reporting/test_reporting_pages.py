"""The page of a dataset: complete, self-contained, and harmless whatever a record says."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from reporting_world import FACTS, HOSTILE, LEAK, LEDGER, NEAR_LEAK, Page, make_png, make_reject, write_rejects

from vqa_pipeline.curation.settings import DatasetSettings
from vqa_pipeline.reporting.escaping import escape_control
from vqa_pipeline.reporting.images import make_thumbnail
from vqa_pipeline.reporting.pages import _mark_code, render_dataset_page
from vqa_pipeline.reporting.rejects import group_rejects

TOO_MANY = "3 of 13 rows (23%) are rejected, more than `dataset.max_reject_fraction: 0.01` allows"
LEAKAGE = "1 images are in more than one split. Choose a policy: `dataset: {leakage: drop_from_train}`"


def show_nothing(source: str, reference: str) -> str:
    return ""


def render(tmp_path, facts=FACTS, rows=(), failures=(), pictures=None, show=show_nothing) -> Page:
    folder = write_rejects(tmp_path / "rejects", *rows)
    return Page(render_dataset_page(facts, group_rejects(folder, show), failures, pictures))


def find_advice(page: Page) -> dict:
    """The YAML that the page suggests."""
    _, _, rest = page.source_text.partition("in the pipeline's YAML:")
    return yaml.safe_load(rest.partition("Ledger")[0])


def test_the_ledger_has_a_row_per_source_that_adds_up(tmp_path):
    page = render(tmp_path)
    assert ["source", "rows read", "accepted", "duplicate", "rejected", "excluded", "without a fate"] in page.rows
    assert ["shapes", "13", "8", "1", "3", "1", "0"] in page.rows


def test_the_splits_are_told_and_what_was_carved(tmp_path):
    page = render(tmp_path, {**FACTS, "carved": ["val", "test"]})
    assert ["test", "3", "2"] in page.rows
    assert "No question declares val or test: carved from train, by image." in page.text


def test_a_published_version_speaks_of_no_failure(tmp_path):
    page = render(tmp_path)
    assert "Not published" not in page.text
    assert "How to go on" not in page.text


def test_rejected_rows_are_told_with_reason_fix_place_and_payload(tmp_path):
    page = render(tmp_path, rows=[make_reject(number=6)])
    assert "image_missing · 1 row rejected · Bring the file." in page.text
    assert "there is no image 6 shapes: questions.jsonl:7 · question shapes/6" in page.text
    assert '{"id": 6}' in page.text


def test_a_row_whose_id_is_not_known_is_told_by_its_place(tmp_path):
    page = render(tmp_path, rows=[make_reject(number=6, question_id=None)])
    assert "questions.jsonl:7" in page.text
    assert "· question" not in page.text


def test_a_fix_that_differs_from_the_rule_s_first_is_told_beside_its_row(tmp_path):
    page = render(tmp_path, rows=[make_reject(), make_reject(number=1, fix="Mend `b`.")])
    assert page.text.count("Bring the file.") == 1
    assert "there is no image 1 · Mend b." in page.text


def test_a_row_s_image_is_shown_beside_it_where_there_is_one(tmp_path):
    pictures = {("shapes", "3.png"): make_thumbnail(make_png())}
    rows = [make_reject(image="3.png"), make_reject(number=1, image="gone.png"), make_reject(number=2, image=None)]
    page = render(tmp_path, rows=rows, show=lambda source, reference: pictures.get((source, reference), ""))
    assert [attributes["src"] for tag, attributes in page.elements if tag == "img"] == list(pictures.values())


def test_the_commands_that_help_name_the_pipeline(tmp_path):
    page = render(tmp_path, rows=[make_reject()])
    assert "vqa-pipeline rejects --pipeline clinic --as-corrections FILE" in page.text
    assert "vqa-pipeline rejects --pipeline clinic --rule image_missing" in page.text
    assert "--as-corrections" not in render(tmp_path / "clean").text


def test_of_several_sources_one_is_corrected_at_a_time(tmp_path):
    account = LEDGER["sources"]["shapes"]
    page = render(tmp_path, {**FACTS, "ledger": {"sources": {"shapes": account, "scans": account}}}, [make_reject()])
    assert "vqa-pipeline rejects --pipeline clinic --source NAME --as-corrections FILE" in page.text


def test_corrections_mends_and_alterations_are_counted_apart(tmp_path):
    repairs = {"accepted_by_correction": 1, "backslash": 4, "corrected_answers": 1200}
    page = render(tmp_path, {**FACTS, "repairs_by_kind": repairs})
    at = page.rows.index(["corrected by people", "questions"])
    assert page.rows[at : at + 7] == [
        ["corrected by people", "questions"],
        ["accepted_by_correction", "1"],
        ["corrected_answers", "1,200"],
        ["mended on the way", "times"],
        ["backslash", "4"],
        ["done to show images as RGB", "images"],
        ["orientation_applied", "2"],
    ]


def test_corrections_that_fit_no_row_are_named(tmp_path):
    unfit = [f"scans/{number} (no row has this key)" for number in range(21)]
    page = render(tmp_path, {**FACTS, "unfit_corrections": unfit})
    assert "21 corrections not applied. Correct the corrections file" in page.text
    assert "scans/19 (no row has this key), …" in page.text
    assert "1 correction not applied." in render(tmp_path, {**FACTS, "unfit_corrections": unfit[:1]}).text


def test_a_dataset_in_which_nothing_was_changed_has_no_such_section(tmp_path):
    page = render(tmp_path, {**FACTS, "repairs_by_kind": {}, "alterations_by_kind": {}})
    assert "Corrected and mended" not in page.text
    assert "Corrected and mended" in render(tmp_path).text


def test_sources_are_told_with_licence_and_splits(tmp_path):
    page = render(tmp_path)
    assert ["source", "licence", "train", "val", "test"] in page.rows
    assert ["shapes", "CC0-1.0", "5", "0", "3"] in page.rows


def test_questions_and_answers_are_counted_with_bars(tmp_path):
    page = render(tmp_path)
    assert ["most common answer (2 distinct)", "questions"] in page.rows
    assert ["red", "", "6"] in page.rows
    widths = [attributes["style"] for tag, attributes in page.elements if tag == "i"]
    assert widths[:2] == ["width:75.0%", "width:12.5%"]


def test_every_link_of_the_page_leads_to_a_section(tmp_path):
    facts = {**FACTS, "leaks": [LEAK], "num_leaking_images": 1}
    page = render(tmp_path, facts, [make_reject()], [LEAKAGE])
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    sections = [f"#{attributes['id']}" for tag, attributes in page.elements if tag == "h2" and "id" in attributes]
    assert links == sections == ["#on", "#ledger", "#rules", "#changes", "#leaks", "#splits", "#statistics"]


def test_more_rows_than_examples_are_pointed_to(tmp_path):
    page = render(tmp_path, rows=[make_reject(number=number) for number in range(5)])
    assert "… and 2 more: vqa-pipeline rejects --pipeline clinic --rule image_missing" in page.text


def test_a_candidate_with_too_many_rejects_says_which_share_would_pass(tmp_path):
    page = render(tmp_path, failures=[TOO_MANY])
    assert "Not published. The last good version stays in use." in page.text
    assert TOO_MANY.replace("`", "") in page.text
    advice = find_advice(page)
    assert advice == {"dataset": {"max_reject_fraction": 0.242}}
    assert DatasetSettings(**advice["dataset"]).max_reject_fraction > 3 / 13


def test_a_leaking_candidate_shows_the_pairs_and_the_policies(tmp_path):
    facts = {**FACTS, "leaks": [LEAK], "num_leaking_images": 1}
    page = render(tmp_path, facts, failures=[LEAKAGE])
    assert ["ab" * 12, "train, test", f"shapes/1, {escape_control(HOSTILE)}"] in page.rows
    assert find_advice(page) == {"dataset": {"leakage": "drop_from_train"}}
    assert "leakage: report" in page.text
    DatasetSettings(**find_advice(page)["dataset"])


def test_leaking_images_are_shown_when_their_pictures_are_given(tmp_path):
    picture = make_thumbnail(make_png())
    facts = {**FACTS, "leaks": [LEAK, {**LEAK, "image": "unknown"}], "num_leaking_images": 2}
    page = render(tmp_path, facts, failures=[LEAKAGE], pictures={LEAK["image"]: picture})
    assert [attributes["src"] for tag, attributes in page.elements if tag == "img"] == [picture]


def test_near_duplicates_in_two_splits_are_shown_side_by_side_with_their_distance(tmp_path):
    first, second = make_thumbnail(make_png()), make_thumbnail(make_png(color="blue"))
    facts = {**FACTS, "leaks": [NEAR_LEAK], "num_leaking_groups": 1, "num_near_duplicates": 3}
    page = render(tmp_path, facts, pictures={NEAR_LEAK["image"]: first, NEAR_LEAK["near"]: second})
    assert [attributes["src"] for tag, attributes in page.elements if tag == "img"] == [first, second]
    assert f"{'ab' * 12} and {'cd' * 12} 2 of 64 bits apart" in page.text
    assert "1 in all; 1 of them is a group of images that are nearly the same" in page.text
    assert "3 pairs of images are nearly the same" in page.text


def test_what_was_done_to_images_is_counted(tmp_path):
    told = {"first_frame": 1, "orientation_applied": 1200}
    page = render(tmp_path, {**FACTS, "alterations_by_kind": told})
    assert ["first_frame", "1"] in page.rows
    assert ["orientation_applied", "1,200"] in page.rows
    assert "done to show images" not in render(tmp_path, {**FACTS, "alterations_by_kind": {}}).text


def test_images_that_were_not_compared_are_told(tmp_path):
    page = render(tmp_path, {**FACTS, "num_pairs_not_compared": 49_905})
    assert "Up to 49,905 pairs of images were not compared: too many images look alike." in page.text
    assert "were not compared" not in render(tmp_path, FACTS).text


def test_a_failure_that_no_setting_can_settle_gives_no_yaml(tmp_path):
    page = render(tmp_path, failures=["source shapes: 13 rows were read, but 12 have a fate (1 lost)"])
    assert "How to go on" in page.text
    assert "pre" not in page.tags


def test_many_leaks_are_cut_and_counted(tmp_path):
    leaks = [{**LEAK, "image": f"{number:064}"} for number in range(60)]
    page = render(tmp_path, {**FACTS, "leaks": leaks, "num_leaking_images": 700})
    assert "700 in all, the first 50 here" in page.text
    assert len([row for row in page.rows if row[1:2] == ["train, test"]]) == 50


def test_hostile_text_is_shown_and_does_nothing(tmp_path):
    row = make_reject(HOSTILE, reason=HOSTILE, fix=HOSTILE, raw=HOSTILE.encode(), source=HOSTILE, question_id=HOSTILE)
    counts = {
        "questions_by_source": {HOSTILE: {"train": 1}},
        "top_answers": {HOSTILE: 6},
        "question_types": {HOSTILE: 1},
    }
    facts = {
        **FACTS,
        "repairs_by_kind": {HOSTILE: 1},
        "unfit_corrections": [HOSTILE],
        "licenses": {HOSTILE: HOSTILE},
        "leaks": [{**NEAR_LEAK, "image": HOSTILE, "near": HOSTILE}],
        "statistics": {**FACTS["statistics"], **counts},
    }
    picture = make_thumbnail(make_png())
    html = render_dataset_page(facts, group_rejects(write_rejects(tmp_path, row)), [HOSTILE], {HOSTILE: picture})
    page = Page(html)
    assert "script" not in page.tags
    assert not {name for _, attributes in page.elements for name in attributes if name.startswith("on")}
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "<script>alert(1)</script>" in page.text


def test_the_page_loads_nothing(tmp_path):
    page = render(tmp_path, rows=[make_reject()], failures=[TOO_MANY, LEAKAGE])
    assert not page.tags & {"script", "link", "iframe", "object", "embed"}
    assert all("src" not in attributes or attributes["src"].startswith("data:") for _, attributes in page.elements)
    policy = next(attributes["content"] for _, attributes in page.elements if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("message", "markup"),
    [
        ("plain", "plain"),
        ("set `a: 1` or `b`", "set <code>a: 1</code> or <code>b</code>"),
        ("`<b>` & <i>", "<code>&lt;b&gt;</code> &amp; &lt;i&gt;"),
        ("{0} {x} % `{}`", "{0} {x} % <code>{}</code>"),
    ],
)
def test_code_in_messages_is_marked_and_all_else_escaped(message, markup):
    assert str(_mark_code(message)) == markup


@given(st.text())
def test_marking_code_adds_no_element_but_code(text):
    assert Page(str(_mark_code(text))).tags <= {"code"}

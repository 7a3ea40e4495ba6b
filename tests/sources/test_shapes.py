"""The generated world: the same from the same seed, balanced, without leaks, with one row for every rule."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from world import NUM_BROKEN, WORLD_FATES, build_world

from vqa_pipeline.files import list_tree
from vqa_pipeline.sources.formats import get_format
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.formats.shapes import COLORS, SHAPES, ShapesSource, generate
from vqa_pipeline.sources.images import ImageError, inspect_image


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The rows and pictures of a world as large as the demo's, with pictures small enough for a test."""
    folder = tmp_path_factory.mktemp("demo")
    generate(make_source(images=1500, image_pixels=16, broken_rows=False), folder)
    return folder, read_rows(folder)


def make_source(**settings) -> ShapesSource:
    return ShapesSource(**{"name": "shapes", "format": "shapes", "images": 24, **settings})


def read_rows(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "questions.jsonl").read_bytes().splitlines()]


def read_bytes(folder) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in list_tree(folder)}


# ----------------------------------------------------------------------------------------------------- deterministic


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_world(tmp_path):
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        generate(make_source(seed=seed), tmp_path / name)
    assert read_bytes(tmp_path / "one") == read_bytes(tmp_path / "again")
    one, other = read_bytes(tmp_path / "one"), read_bytes(tmp_path / "other")
    assert one["questions.jsonl"] != other["questions.jsonl"]
    assert one["images/00000.png"] != other["images/00000.png"]


def test_the_world_of_seed_zero_stays_what_it_is(tmp_path):
    """Golden: when this fails on purpose, raise the stage number of `raw`."""
    generate(make_source(), tmp_path)
    rows = (tmp_path / "questions.jsonl").read_bytes()
    pixels = np.asarray(Image.open(tmp_path / "images" / "00000.png")).tobytes()
    assert hashlib.sha256(rows).hexdigest()[:16] == "ad2d262d37d0c766"
    assert hashlib.sha256(pixels).hexdigest()[:16] == "f46c54a69539a83b"


# ------------------------------------------------------------------------------------------------------------ balanced


def test_every_picture_is_asked_four_different_questions(demo):
    _, rows = demo
    asked = defaultdict(list)
    for row in rows:
        asked[row["image"]].append((row["question"], row["question_type"]))
    assert len(asked) == 1500
    for questions in asked.values():
        assert len({text for text, _ in questions}) == 4
        assert [kind for _, kind in questions] == ["shape", "color", "is_shape", "is_color"]


def test_answers_are_true_of_the_picture(demo):
    """The colour of the brightest pixels and the asked-for names agree with the answers."""
    folder, rows = demo
    for start in range(0, 400, 4):
        shape, color, is_shape, is_color = rows[start : start + 4]
        pixels = np.asarray(Image.open(folder / "images" / shape["image"]), int).reshape(-1, 3)
        shown = pixels[pixels.sum(axis=1).argmax()]
        nearest = min(COLORS, key=lambda name: np.abs(shown - COLORS[name]).sum())
        assert nearest == color["answers"][0]
        assert (is_shape["answers"][0] == "yes") == (shape["answers"][0] in is_shape["question"])
        assert (is_color["answers"][0] == "yes") == (color["answers"][0] in is_color["question"])
        assert shape["answers"][0] in SHAPES


def test_the_question_alone_gives_about_four_in_ten(demo):
    """The best that can be known without looking: the most frequent answer of each question in training."""
    _, rows = demo
    seen = defaultdict(Counter)
    for row in rows:
        if row["split"] == "train":
            seen[row["question"]][row["answers"][0]] += 1
    test = [row for row in rows if row["split"] == "test"]
    right = sum(seen[row["question"]].most_common(1)[0][0] == row["answers"][0] for row in test)
    assert 0.33 <= right / len(test) <= 0.43


def test_yes_and_no_are_balanced_and_no_answer_is_rare(demo):
    _, rows = demo
    answers = Counter(row["answers"][0] for row in rows)
    assert 0.9 <= answers["yes"] / answers["no"] <= 1.1
    assert set(answers) == {"yes", "no", *SHAPES, *COLORS}
    assert min(answers.values()) == 249  # 1500 pictures of 18 kinds


def test_questions_are_paraphrased(demo):
    _, rows = demo
    assert len({row["question"] for row in rows}) == 3 + 3 + 3 * 3 + 3 * 6


# -------------------------------------------------------------------------------------------------------------- splits


def test_about_eleven_one_and_three_parts_are_train_val_and_test(demo):
    _, rows = demo
    images = Counter(split for _, split in {(row["image"], row["split"]) for row in rows})
    assert images.total() == 1500
    assert 1050 <= images["train"] <= 1150
    assert 75 <= images["val"] <= 130
    assert 260 <= images["test"] <= 340


def test_even_the_smallest_world_has_every_split(tmp_path):
    generate(make_source(images=16, broken_rows=False), tmp_path)
    assert {row["split"] for row in read_rows(tmp_path)} == {"train", "val", "test"}


def test_no_picture_is_in_two_splits_or_there_twice(demo):
    folder, rows = demo
    splits = defaultdict(set)
    for row in rows:
        splits[row["image"]].add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    digests = {hashlib.sha256(path.read_bytes()).digest() for path in (folder / "images").iterdir()}
    assert len(digests) == 1500


# --------------------------------------------------------------------------------------------------------- broken rows


def test_broken_rows_are_a_small_share_of_the_demo_s(tmp_path):
    assert NUM_BROKEN / (1500 * 4 + NUM_BROKEN) < 0.01


def test_broken_rows_come_after_the_same_good_ones(tmp_path):
    generate(make_source(broken_rows=False), tmp_path / "good")
    generate(make_source(), tmp_path / "both")
    good, both = read_bytes(tmp_path / "good"), read_bytes(tmp_path / "both")
    assert both["questions.jsonl"].startswith(good.pop("questions.jsonl"))
    assert good.items() <= both.items()
    assert len(both["questions.jsonl"].splitlines()) == 24 * 4 + NUM_BROKEN


def test_the_list_of_fates_names_every_broken_row_but_the_repaired_one():
    assert [told.row for told in WORLD_FATES] == list(range(1, NUM_BROKEN))


def test_broken_images_break_the_rule_that_the_list_says(tmp_path):
    world = build_world(tmp_path)
    rows = (tmp_path / "questions.jsonl").read_bytes().splitlines()
    told = {
        json.loads(rows[number])["image"]: rule
        for number, (_, rule) in world.fates.items()
        if rule.startswith("image_") and not rule.startswith(("image_path", "image_missing", "image_ambiguous"))
    }
    found = {}
    for name in told:
        with pytest.raises(ImageError) as caught:
            inspect_image((tmp_path / "images" / name).read_bytes())
        found[name] = caught.value.rule
    assert found == told
    assert set(found.values()) == {
        "image_truncated",
        "image_unreadable",
        "image_unsupported",
        "image_empty",
        "image_too_large",
    }


def test_every_picture_that_is_not_broken_decodes(tmp_path):
    build_world(tmp_path)
    broken = {"bomb.bmp", "cut-off.png", "drawing.svg", "no-bytes.png", "web-page.jpg"}
    names = [name for name in list_tree(tmp_path / "images") if name not in broken]
    assert len(names) == 27
    assert all(inspect_image((tmp_path / "images" / name).read_bytes()).width == 32 for name in names)


# ------------------------------------------------------------------------------------------------------------- reading


def test_rows_are_read_with_their_lines_and_parsed(tmp_path):
    world = build_world(tmp_path)
    chosen = get_format(world.source)
    records = list(chosen.read(world.source, tmp_path))
    assert len(records) == world.num_rows
    assert str(records[5].locator) == "questions.jsonl:6"
    fields = chosen.build_parser(world.source, tmp_path)(records[0])
    assert fields["native_id"] == "00000-0"
    assert fields["image"] == "00000.png"
    assert fields["split"] == "train"
    assert fields["question_type"] == "shape"
    assert fields["answers"] == [{"answer": "circle", "answer_id": 1, "answer_confidence": None}]


def test_rows_that_are_not_of_the_format_are_told_by_the_parser(tmp_path):
    world = build_world(tmp_path)
    parse = get_format(world.source).build_parser(world.source, tmp_path)
    rules = {}
    for record in get_format(world.source).read(world.source, tmp_path):
        try:
            parse(record)
        except MalformedRecord as error:
            rules[record.locator.record] = error.rule
    expected = {n: rule for n, (_, rule) in world.fates.items() if rule in {"record_malformed", "record_truncated"}}
    assert rules == expected


@pytest.mark.parametrize("splits", ["by_image", "train"])
def test_other_splits_leave_the_declared_one_aside(tmp_path, splits):
    source = make_source(splits=splits)
    generate(source, tmp_path)
    record = next(iter(get_format(source).read(source, tmp_path)))
    assert get_format(source).build_parser(source, tmp_path)(record)["split"] is None


@pytest.mark.parametrize("wrong", [{"images": 15}, {"image_pixels": 8}, {"seed": -1}, {"colors": 3}])
def test_settings_that_make_no_world_are_refused(wrong):
    with pytest.raises(ValidationError):
        make_source(**wrong)


def test_pictures_are_small_pngs_of_the_wanted_size(tmp_path):
    generate(make_source(image_pixels=48, images=16), tmp_path)
    data = (tmp_path / "images" / "00003.png").read_bytes()
    assert Image.open(io.BytesIO(data)).size == (48, 48)
    assert Image.open(io.BytesIO(data)).mode == "RGB"

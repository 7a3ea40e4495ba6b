"""One image and one question: answered as the predictions file has it."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from modeling_world import World, never, png, predict_job
from PIL import Image

from vqa_pipeline.errors import BackboneError
from vqa_pipeline.modeling.answering import Answerer
from vqa_pipeline.modeling.prediction import predict
from vqa_pipeline.sources.images import ImageError


@pytest.fixture(scope="module")
def answerer(trained: Path) -> Answerer:
    return Answerer(trained / "checkpoint", "cpu")


@pytest.fixture(scope="module")
def images(world: World) -> dict[str, bytes]:
    rows = [row for pack in world.packs for row in pq.read_table(pack).to_pylist()]
    return {row["image_sha256"]: row["image"]["bytes"] for row in rows}


def test_answers_are_those_of_the_predictions_file(
    world: World, trained: Path, answerer: Answerer, images: dict[str, bytes], tmp_path: Path
) -> None:
    predict(predict_job(world, tmp_path, trained / "checkpoint"), lambda event: None, never)
    asked = {row["question_id"]: row for row in pq.read_table(world.questions("test")).to_pylist()}
    rows = [row for row in pq.read_table(tmp_path / "predictions.parquet").to_pylist() if row["split"] == "test"]
    assert rows
    for row in rows:
        question = asked[row["question_id"]]
        told = answerer.answer(images[question["image_sha256"]], question["question"])
        assert told.answer == row["answer"]
        assert told.probability == pytest.approx(row["probability"], abs=1e-5)
        assert [one.answer for one in told.top] == [each["answer"] for each in row["top_answers"]]
        assert [one.score for one in told.top] == pytest.approx(
            [each["score"] for each in row["top_answers"]], abs=1e-5
        )


def test_a_path_its_bytes_and_an_open_image_are_the_same(answerer: Answerer, tmp_path: Path) -> None:
    data = png((200, 30, 60), 40, 24)
    (tmp_path / "photo.png").write_bytes(data)
    told = [
        answerer.answer(image, "what colour?")
        for image in (tmp_path / "photo.png", str(tmp_path / "photo.png"), data, Image.open(io.BytesIO(data)))
    ]
    assert told[0] == told[1] == told[2] == told[3]


def test_it_abstains_below_its_threshold(answerer: Answerer) -> None:
    told = answerer.answer(png((1, 2, 3)), "what is it?", top=2)
    assert len(told.top) == 2
    assert told.probability == told.top[0].probability >= told.top[1].probability
    threshold = answerer._checkpoint.calibration.abstain_threshold
    assert told.abstains == (told.probability < threshold)
    for bound, abstains in ((0.0, False), (1.0, True)):
        calibration = answerer._checkpoint.calibration.model_copy(update={"abstain_threshold": bound})
        other = Answerer(answerer.folder, "cpu")
        other._checkpoint = other._checkpoint._replace(calibration=calibration)
        assert other.answer(png((1, 2, 3)), "what is it?").abstains == abstains


def test_as_sure_as_the_threshold_is_sure_enough(answerer: Answerer) -> None:
    sure = answerer.answer(png((1, 2, 3)), "what is it?").probability
    calibration = answerer._checkpoint.calibration.model_copy(update={"abstain_threshold": sure})
    other = Answerer(answerer.folder, "cpu")
    other._checkpoint = other._checkpoint._replace(calibration=calibration)
    assert not other.answer(png((1, 2, 3)), "what is it?").abstains


def test_an_open_image_is_turned_upright_as_its_file_is(answerer: Answerer) -> None:
    picture = Image.new("RGB", (40, 24), (200, 30, 60))
    picture.paste((0, 0, 250), (0, 0, 20, 24))
    turned = io.BytesIO()
    tags = Image.Exif()
    tags[0x0112] = 6
    picture.save(turned, "PNG", exif=tags)
    seen = [answerer._prepare(image, "what?") for image in (turned.getvalue(), Image.open(turned), picture)]
    assert seen[0].pixel_values.shape == seen[1].pixel_values.shape
    assert bool((seen[0].pixel_values == seen[1].pixel_values).all())
    assert seen[0].pixel_values.shape != seen[2].pixel_values.shape


def test_an_open_image_may_have_as_many_pixels_as_a_file(answerer: Answerer) -> None:
    with pytest.raises(ImageError, match="it has 100000 x 1000 pixels, more than 89,478,485"):
        answerer.answer(Image.new("1", (100_000, 1000)), "what?")


@pytest.mark.parametrize("top", [0, -1])
def test_at_least_one_answer_is_told(answerer: Answerer, top: int) -> None:
    with pytest.raises(ValueError, match=f"top is {top}, but at least 1"):
        answerer.answer(png((1, 2, 3)), "what?", top=top)


def test_a_question_longer_than_the_model_reads_loses_its_end(answerer: Answerer) -> None:
    long = "what is it " * 100
    assert answerer.answer(png((9, 9, 9)), long) == answerer.answer(png((9, 9, 9)), long + "and what not")


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(answerer: Answerer, question: str) -> None:
    with pytest.raises(ValueError, match="the question is empty"):
        answerer.answer(png((1, 2, 3)), question)


def test_what_is_no_image_is_refused_with_its_reason(answerer: Answerer, tmp_path: Path) -> None:
    with pytest.raises(ImageError):
        answerer.answer(b"<html>", "what?")
    with pytest.raises(FileNotFoundError):
        answerer.answer(tmp_path / "nowhere.png", "what?")


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="it is not a checkpoint"):
        Answerer(tmp_path, "cpu")
    with pytest.raises(BackboneError, match="there is no such folder"):
        Answerer(Path("dandelin/vilt-b32-mlm"), "cpu")

from __future__ import annotations

import shutil
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from modeling_world import VOCABULARY, Events, World, never, predict_job, question_row, write_questions
from PIL import Image
from safetensors.torch import load_file, save_file

from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.errors import TrainingCancelled, VocabularyMismatch
from vqa_pipeline.modeling.checkpoint import load_checkpoint
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.prediction import Answering, predict
from vqa_pipeline.modeling.questions import read_asked
from vqa_pipeline.schemas import PREDICTIONS


@pytest.fixture(scope="module")
def rows(world: World, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    folder = tmp_path_factory.mktemp("predicted")
    predict(predict_job(world, folder, trained / "checkpoint"), lambda event: None, never)
    table = pq.read_table(folder / "predictions.parquet")
    assert table.schema.equals(PREDICTIONS)
    return table.to_pylist()


def test_every_question_with_image_is_answered_once_in_order(world: World, rows: list[dict[str, object]]) -> None:
    asked = [row for split in ("train", "test") for row in pq.read_table(world.questions(split)).to_pylist()]
    expected = sorted(row["question_id"] for row in asked if row["image_sha256"])
    assert [row["question_id"] for row in rows] == expected
    assert "w/no-image" not in expected
    assert "w/unannotated" in expected


def test_rows_say_where_they_come_from(rows: list[dict[str, object]]) -> None:
    assert {row["split"] for row in rows} == {"train", "test"}
    assert {row["variant"] for row in rows} == {"model"}
    assert {row["checkpoint"] for row in rows} == {"v1"}


def test_the_best_of_five_answers_is_the_answer(rows: list[dict[str, object]]) -> None:
    for row in rows:
        top = row["top_answers"]
        assert sorted(each["answer"] for each in top) == sorted(VOCABULARY.answers)
        assert (row["answer"], row["score"]) == (top[0]["answer"], top[0]["score"])
        assert [each["score"] for each in top] == sorted((each["score"] for each in top), reverse=True)
        assert all(0 <= each["score"] <= 1 for each in top)


def test_scores_are_those_of_the_stock_classes(world: World, trained: Path, rows: list[dict[str, object]]) -> None:
    from vqa_pipeline.modeling.stock import ViltForQuestionAnswering, ViltProcessor

    model = ViltForQuestionAnswering.from_pretrained(trained / "checkpoint").eval()
    processor = ViltProcessor.from_pretrained(trained / "checkpoint")
    packed = {
        row["image_sha256"]: row["image"]["bytes"] for pack in world.packs for row in pq.read_table(pack).to_pylist()
    }
    asked = {row["question_id"]: row for row in pq.read_table(world.questions("test")).to_pylist()}
    for row in (row for row in rows if row["split"] == "test"):
        question = asked[row["question_id"]]
        picture = Image.open(BytesIO(packed[question["image_sha256"]]))
        with torch.no_grad():
            scores = model(**processor(picture, question["question"], return_tensors="pt")).logits.sigmoid()[0]
        for each in row["top_answers"]:
            assert each["score"] == pytest.approx(float(scores[VOCABULARY.index_of(each["answer"])]), abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_who_else_is_in_the_batch_does_not_matter(
    world: World, trained: Path, tmp_path: Path, rows: list[dict[str, object]], batch_size: int
) -> None:
    job = predict_job(world, tmp_path, trained / "checkpoint").model_copy(update={"batch_size": batch_size})
    predict(job, lambda event: None, never)
    for row, reference in zip(pq.read_table(job.output_file).to_pylist(), rows, strict=True):
        scores, expected = ({each["answer"]: each["score"] for each in one["top_answers"]} for one in (row, reference))
        assert scores == pytest.approx(expected, abs=1e-6)


def test_the_same_job_gives_the_same_bytes(world: World, trained: Path, tmp_path: Path) -> None:
    written = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        predict(predict_job(world, tmp_path / name, trained / "checkpoint"), lambda event: None, never)
        written.append((tmp_path / name / "predictions.parquet").read_bytes())
        assert [path.name for path in (tmp_path / name).iterdir()] == ["predictions.parquet"]
    assert written[0] == written[1]


def test_the_end_is_reported(world: World, trained: Path, tmp_path: Path) -> None:
    events = Events()
    predict(predict_job(world, tmp_path, trained / "checkpoint"), events, never)
    assert events.named("finished")[0]["num_predictions"] == 37 + 6


def test_no_question_at_all_is_an_empty_file(world: World, trained: Path, tmp_path: Path) -> None:
    file = write_questions(tmp_path / "q.parquet", [question_row("w/1", "what?", None, None, "test")])
    job = predict_job(world, tmp_path, trained / "checkpoint").model_copy(update={"questions": (("test", str(file)),)})
    predict(job, lambda event: None, never)
    assert pq.read_table(tmp_path / "predictions.parquet").num_rows == 0


def test_questions_in_another_script_are_answered_and_mentioned(world: World, trained: Path, tmp_path: Path) -> None:
    sha256 = pq.read_table(world.questions("test"))["image_sha256"][0].as_py()
    asked = [question_row(f"w/{number}", "какой это цвет", None, sha256, "test") for number in range(8)]
    file = write_questions(tmp_path / "q.parquet", asked)
    events = Events()
    job = predict_job(world, tmp_path, trained / "checkpoint").model_copy(update={"questions": (("test", str(file)),)})
    predict(job, events, never)
    assert pq.read_table(tmp_path / "predictions.parquet").num_rows == 8
    assert [event["message"] for event in events.named("log")] == [
        "The tokenizer does not know 24 of 24 words of the test questions; the model cannot tell these words apart."
    ]


def test_rows_are_in_order_whatever_the_order_of_files_and_ids(world: World, trained: Path, tmp_path: Path) -> None:
    sha256 = pq.read_table(world.questions("test"))["image_sha256"][0].as_py()
    ids = ["w/b", "w/\U0001f600", "w/é", "w/B", "w/10", "w/9", "w/\uff01"]
    files = [
        write_questions(
            tmp_path / f"{split}.parquet", [question_row(each, "what?", None, sha256, split) for each in some]
        )
        for split, some in (("val", ids[:4]), ("test", ids[4:]))
    ]
    job = predict_job(world, tmp_path, trained / "checkpoint")
    job = job.model_copy(update={"questions": (("val", str(files[0])), ("test", str(files[1])))})
    predict(job, lambda event: None, never)
    rows = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert [row["question_id"] for row in rows] == ["w/10", "w/9", "w/B", "w/b", "w/é", "w/\uff01", "w/\U0001f600"]
    assert [row["split"] for row in rows] == ["test", "test", "val", "val", "val", "test", "val"]


def test_answers_to_many_questions_are_small_in_memory(world: World, trained: Path) -> None:
    from vqa_pipeline.modeling.checkpoint import load_checkpoint
    from vqa_pipeline.modeling.image_packs import ImagePacks
    from vqa_pipeline.modeling.questions import read_asked

    asked = read_asked([world.questions("test")])
    placement = Placement(torch.device("cpu"), "fp32")
    answering = Answering(
        load_checkpoint(trained / "checkpoint"), placement, 1, 4, world.folder / "cache", lambda event: None
    )
    answered = answering.answer("test", asked, ImagePacks(world.packs, asked.shas), never)
    assert answered.question_ids is asked.question_ids
    assert answered.indexes.nbytes + answered.scores.nbytes == 40 * len(asked)


def test_a_prediction_that_runs_out_of_memory_goes_on_with_fewer_questions_at_once(
    world: World, trained: Path, tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    checkpoint, events, asked_for = load_checkpoint(trained / "checkpoint"), Events(), []

    def limit(_module: object, _arguments: object, inputs: dict[str, torch.Tensor]) -> None:
        asked_for.append(len(inputs["input_ids"]))
        if asked_for[-1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    checkpoint.model.register_forward_pre_hook(limit, with_kwargs=True)
    asked = read_asked([world.questions("train")])
    answering = Answering(checkpoint, Placement(torch.device("cpu"), "fp32"), 1, 8, tmp_path, events)
    answered = answering.answer("train", asked, ImagePacks(world.packs, asked.shas), never)
    assert (asked_for[:3], max(asked_for[3:])) == ([8, 4, 2], 2)
    assert len(events.named("log")) == 2
    plenty = {row["question_id"]: row["score"] for row in rows}
    for question_id, scores in zip(answered.question_ids, answered.scores, strict=True):
        assert scores[0] == pytest.approx(plenty[question_id], rel=1e-5)


def test_ties_are_in_the_order_of_the_vocabulary(world: World, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    weights = load_file(tmp_path / "checkpoint" / "model.safetensors")
    weights["classifier.3.weight"].zero_()
    weights["classifier.3.bias"].copy_(torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0]))
    save_file(weights, tmp_path / "checkpoint" / "model.safetensors", {"format": "pt"})
    predict(predict_job(world, tmp_path), lambda event: None, never)
    for row in pq.read_table(tmp_path / "predictions.parquet").to_pylist():
        assert [each["answer"] for each in row["top_answers"]] == ["no", "green", "yes", "blue", "red"]


def test_a_checkpoint_with_another_vocabulary_is_refused(world: World, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    other = AnswerVocabulary(answers=VOCABULARY.answers[::-1], counts=VOCABULARY.counts)
    (tmp_path / "checkpoint" / "vocabulary.json").write_text(other.to_json())
    with pytest.raises(VocabularyMismatch):
        predict(predict_job(world, tmp_path), lambda event: None, never)


def test_a_stop_writes_nothing(world: World, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingCancelled):
        predict(predict_job(world, tmp_path, trained / "checkpoint"), lambda event: None, lambda: True)
    assert list(tmp_path.iterdir()) == []


def test_questions_are_asked_again_of_other_images_where_that_is_wanted(
    world: World, trained: Path, rows: list[dict[str, object]], tmp_path: Path
) -> None:
    job = predict_job(world, tmp_path, trained / "checkpoint").model_copy(update={"shuffled_splits": ("test",)})
    predict(job, lambda event: None, never)
    told = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert [row for row in told if row["variant"] == "model"] == rows
    shuffled = [row for row in told if row["variant"] == "shuffled_image"]
    assert [row["question_id"] for row in shuffled] == [row["question_id"] for row in rows if row["split"] == "test"]
    seen = {row["question_id"]: row["score"] for row in rows}
    assert any(row["score"] != seen[row["question_id"]] for row in shuffled)
    assert told == sorted(told, key=lambda row: (row["variant"], row["question_id"]))

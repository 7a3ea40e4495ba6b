from __future__ import annotations

import shutil
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from modeling_world import VOCABULARY, Events, World, never, predict_job, question_row, write_questions
from PIL import Image

from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.errors import TrainingCancelled, VocabularyMismatch
from vqa_pipeline.modeling.prediction import predict
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

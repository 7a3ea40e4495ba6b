"""The demo's model really looks: what its settings reach on worlds and with seeds it was not tuned on."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from modeling_world import never, question_row, write_pack, write_questions

import vqa_pipeline
from vqa_pipeline.answers.settings import VocabularySettings
from vqa_pipeline.answers.vocabulary import build_vocabulary, count_answers
from vqa_pipeline.modeling.jobs import PredictJob, TrainJob
from vqa_pipeline.modeling.prediction import predict
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.modeling.training.train import train
from vqa_pipeline.sources.formats.shapes import ShapesSource, generate

DEMO = yaml.safe_load((Path(vqa_pipeline.__file__).parent / "defs" / "demo" / "defs.yaml").read_text())["attributes"]


def write_shapes(folder: Path, seed: int) -> None:
    """Generated pictures and questions as files of a dataset."""
    images = DEMO["sources"][0]["images"]
    generate(ShapesSource(name="shapes", format="shapes", images=images, seed=seed, broken_rows=False), folder)
    asked = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    names = sorted(path.name for path in (folder / "images").iterdir())
    shas = write_pack(folder / "images.parquet", [(folder / "images" / name).read_bytes() for name in names], 100)
    sha256 = dict(zip(names, shas, strict=True))
    for split in ("train", "val", "test"):
        rows = [
            question_row(f"s/{row['id']}", row["question"], row["answers"], sha256[row["image"]], split)
            for row in asked
            if row["split"] == split
        ]
        write_questions(folder / f"{split}.parquet", rows)
    references = [[{"answer": row["answers"][0]}] for row in asked if row["split"] == "train"]
    vocabulary = build_vocabulary(count_answers(references), VocabularySettings())
    (folder / "vocabulary.json").write_text(vocabulary.to_json())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_demo_s_model_answers_nine_of_ten_held_out_questions(tmp_path: Path, seed: int) -> None:
    """The question alone gives about 0.4, and seeing colours but no shapes about 0.6."""
    write_shapes(tmp_path, seed)
    settings = TrainingSettings.model_validate(DEMO["training"] | {"seed": seed, "device": "cpu"})
    job = TrainJob(
        fingerprint="f",
        settings=settings,
        metric="normalized",
        train_questions=(str(tmp_path / "train.parquet"),),
        val_questions=(str(tmp_path / "val.parquet"),),
        image_packs=(str(tmp_path / "images.parquet"),),
        vocabulary=str(tmp_path / "vocabulary.json"),
        cache_folder=str(tmp_path / "cache"),
        progress_folder=str(tmp_path / "progress"),
        output_folder=str(tmp_path / "checkpoint"),
    )
    train(job, lambda event: None, never)
    asking = PredictJob(
        checkpoint=job.output_folder,
        checkpoint_version="v1",
        questions=(("test", str(tmp_path / "test.parquet")),),
        image_packs=job.image_packs,
        cache_folder=job.cache_folder,
        device="cpu",
        output_file=str(tmp_path / "predictions.parquet"),
    )
    predict(asking, lambda event: None, never)
    right = {
        row["question_id"]: row["most_common_answer"] for row in pq.read_table(tmp_path / "test.parquet").to_pylist()
    }
    given = pq.read_table(asking.output_file).to_pylist()
    accuracy = sum(row["answer"] == right[row["question_id"]] for row in given) / len(right)
    assert len(given) == len(right) > 1000
    assert accuracy >= 0.90

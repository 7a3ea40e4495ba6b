"""Training and predicting by themselves: published data in, a folder or file of one's own out, nothing published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from colours_world import Runner, make_pipeline, write_source
from fake_worker import FakeWorker

from vqa_pipeline.errors import DamagedVersion, GateFailed, NotPublished, SettingsError, StoreBusy
from vqa_pipeline.modeling.jobs import PredictJob, TrainJob
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.stages.standalone import Published, find_published, open_published, predict_into, train_into
from vqa_pipeline.store import Store

TINY = TrainingSettings(backbone="tiny")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a published dataset and vocabulary."""
    write_source(tmp_path)
    Runner(make_pipeline(tmp_path)).run(until="vocabulary")
    return tmp_path


def train(
    folder: Path, published: Published, worker: FakeWorker, training: TrainingSettings = TINY
) -> dict[str, object]:
    return train_into(folder, published, training, worker)


def test_it_trains_the_checkpoint_that_the_pipeline_would_and_publishes_nothing(project):
    pipeline, worker = make_pipeline(project), FakeWorker()
    told = train(project / "out", find_published(pipeline), worker)
    assert told == json.loads((project / "out" / "training.json").read_bytes())
    assert Store(pipeline.store_folder, pipeline.scratch_folder).current("checkpoint") is None
    published = Runner(pipeline).run()["checkpoint"].version.manifest.data_version
    assert told["fingerprint"] == published
    [job] = worker.jobs
    assert isinstance(job, TrainJob)
    assert job.progress_folder == str(pipeline.scratch_folder / "training"), "either goes on where the other stopped"


def test_a_checkpoint_that_is_there_is_not_trained_again_and_one_of_other_settings_is_replaced(project):
    published, worker = find_published(make_pipeline(project)), FakeWorker()
    first = train(project / "out", published, worker)
    assert train(project / "out", published, worker) == first
    assert worker.num_trainings == 1
    other = train(project / "out", published, worker, TrainingSettings(backbone="tiny", epochs=3))
    assert worker.num_trainings == 2
    assert other["fingerprint"] != first["fingerprint"]


def test_a_checkpoint_that_does_not_answer_as_its_model_is_told_and_trained_again(project):
    published, worker = find_published(make_pipeline(project)), FakeWorker()
    worker.reloaded["problem"] = "scores differ by up to 0.200. Run it again"
    with pytest.raises(GateFailed, match=r"scores differ by up to 0\.200\. Run it again"):
        train(project / "out", published, worker)
    worker.reloaded["problem"] = None
    assert train(project / "out", published, worker)["reloaded"]["problem"] is None
    assert worker.num_trainings == 2


@pytest.mark.parametrize("name", ["thesis.txt", "training.json"])
def test_a_folder_that_holds_something_else_is_left_alone(project, name):
    (project / "out").mkdir()
    (project / "out" / name).write_text("my work")
    with pytest.raises(SettingsError, match="`--output`: .*out is there already and is no checkpoint"):
        train(project / "out", find_published(make_pipeline(project)), FakeWorker())
    assert [path.name for path in (project / "out").iterdir()] == [name]


def test_a_file_in_the_place_of_the_folder_is_left_alone(project):
    (project / "out").write_text("my work")
    with pytest.raises(SettingsError, match="--output"):
        train(project / "out", find_published(make_pipeline(project)), FakeWorker())


def test_an_empty_folder_may_be_named(project):
    (project / "out").mkdir()
    assert train(project / "out", find_published(make_pipeline(project)), FakeWorker())["best_epoch"] == 1


def test_while_another_run_trains_it_is_told_to_wait(project):
    published, worker = find_published(make_pipeline(project)), FakeWorker()
    with published.store.lock("checkpoint"), pytest.raises(StoreBusy):
        train(project / "out", published, worker)
    assert worker.jobs == []


def test_without_a_vocabulary_of_the_dataset_it_says_what_to_make(project):
    write_source(project, change={0: {"answer": "crimson"}})
    Runner(make_pipeline(project)).run(until="dataset")
    with pytest.raises(NotPublished, match="vocabulary has no published version"):
        train(project / "out", find_published(make_pipeline(project)), FakeWorker())


def test_an_earlier_version_of_the_dataset_is_trained_on_with_its_own_vocabulary(project):
    store = find_published(make_pipeline(project)).store
    dataset, vocabulary = store.require("dataset"), store.require("vocabulary")
    write_source(project, change={0: {"answer": "crimson"}})
    Runner(make_pipeline(project)).run(until="vocabulary")
    worker = FakeWorker()
    train(project / "out", open_published(dataset.path, project / "scratch"), worker)
    assert worker.jobs[0].vocabulary == str(vocabulary.path / "vocabulary.json")
    assert worker.jobs[0].train_questions[0].startswith(str(dataset.path))


def test_a_store_that_was_carried_elsewhere_is_all_that_is_needed(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(make_pipeline(project).store_folder, elsewhere / "clinic")
    shutil.rmtree(project / "raw")
    worker = FakeWorker()
    train(elsewhere / "out", open_published(elsewhere / "clinic", elsewhere / "out.scratch"), worker)
    [job] = worker.jobs
    for path in (*job.train_questions, *job.val_questions, *job.image_packs, job.vocabulary):
        assert Path(path).is_relative_to(elsewhere)
        assert Path(path).is_file()
    assert job.progress_folder == str(elsewhere / "out.scratch" / "training")


@pytest.mark.parametrize("folder", [".", "raw", "data/store/clinic/vocabulary", "nowhere"])
def test_a_folder_without_a_dataset_is_refused_with_examples(project, folder):
    with pytest.raises(SettingsError, match=r"`--dataset`: .* holds no published dataset. Name a folder such as"):
        open_published(project / folder, project / "scratch")


def test_a_damaged_version_is_named(project):
    dataset = find_published(make_pipeline(project)).dataset
    next((dataset.path / "questions").glob("train-*")).write_bytes(b"")
    for folder in (dataset.path, make_pipeline(project).store_folder):
        with pytest.raises(DamagedVersion, match="has 0 bytes"):
            open_published(folder, project / "scratch")


# ------------------------------------------------------------------------------------------------------ prediction


def test_it_predicts_with_a_checkpoint_in_a_folder(project):
    published, worker = find_published(make_pipeline(project)), FakeWorker()
    told = train(project / "out", published, worker)
    file = project / "new" / "answers.parquet"
    asked = published._replace(splits=("val", "test"))
    assert predict_into(file, project / "out", asked, TINY, worker) == 8
    table = pq.read_table(file)
    assert table.num_rows == 8
    assert set(table["checkpoint"].to_pylist()) == {told["fingerprint"]}
    assert sorted(set(table["split"].to_pylist())) == ["test", "val"]


def test_without_one_it_predicts_with_the_published_checkpoint(project):
    pipeline, worker = make_pipeline(project), FakeWorker()
    with pytest.raises(NotPublished, match="checkpoint"):
        predict_into(project / "a.parquet", None, find_published(pipeline), TINY, worker)
    version = Runner(pipeline).run(until="checkpoint")["checkpoint"].version
    settings = TrainingSettings(backbone="tiny", batch_size=3, device="cpu", threads=2)
    predict_into(project / "a.parquet", None, find_published(pipeline), settings, worker)
    [job] = worker.jobs
    assert isinstance(job, PredictJob)
    assert (job.checkpoint, job.checkpoint_version) == (str(version.path), version.manifest.data_version)
    assert (job.batch_size, job.device, job.threads) == (3, "cpu", 2)


@pytest.mark.parametrize(("folder", "words"), [("raw", "is no checkpoint"), ("nowhere", "holds no checkpoint")])
def test_what_is_no_checkpoint_is_refused(project, folder, words):
    published = find_published(make_pipeline(project))
    with pytest.raises(SettingsError, match=f"`--checkpoint`: .*{words}"):
        predict_into(project / "a.parquet", project / folder, published, TINY, FakeWorker())

"""Doing a train job: from files to a checkpoint folder."""

from __future__ import annotations

import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.errors import SettingsError, TrainingCancelled
from vqa_pipeline.modeling.backbones import Backbone, Materials, build_backbone, put_into_words
from vqa_pipeline.modeling.batches import BatchSource
from vqa_pipeline.modeling.checkpoint import Checkpoint, save_checkpoint
from vqa_pipeline.modeling.devices import Placement, choose_device, describe_device, use_threads
from vqa_pipeline.modeling.events import Report, Reporter, Shown, log
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.inputs import Examples
from vqa_pipeline.modeling.jobs import TrainJob, locate_curves
from vqa_pipeline.modeling.memory import measure_memory
from vqa_pipeline.modeling.pixel_cache import PixelCache
from vqa_pipeline.modeling.pixels import read_pixel_rules
from vqa_pipeline.modeling.questions import (
    Asked,
    check_known,
    describe_losses,
    read_training,
    read_validation,
    tokenize,
)
from vqa_pipeline.modeling.ragged import Credits
from vqa_pipeline.modeling.strategies import STRATEGIES, Learnable, choose_learnable, finish_learning
from vqa_pipeline.modeling.switches import Checkpointing, Switches, choose_switches, compile_forward
from vqa_pipeline.modeling.tensor_files import digest_tensors
from vqa_pipeline.modeling.training.calibrating import BestAnswers, answer_best
from vqa_pipeline.modeling.training.frozen_work import FrozenWork
from vqa_pipeline.modeling.training.known_sizes import KnownSizes
from vqa_pipeline.modeling.training.loop import Setup, ShouldStop, Training
from vqa_pipeline.modeling.training.processes import Processes, join_processes
from vqa_pipeline.modeling.training.rate_search import RATES_FILE, RateSearch, find_rates, search_rates
from vqa_pipeline.modeling.training.reloading import Reading, Reloaded, compare_reloaded
from vqa_pipeline.modeling.training.saved_progress import SavedProgress
from vqa_pipeline.modeling.training.state import TrainingState
from vqa_pipeline.modeling.training.tensorboard import TensorBoard
from vqa_pipeline.progress import show_on
from vqa_pipeline.schemas import Split

_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "pillow", "numpy")


def train(job: TrainJob, report: Report, should_stop: ShouldStop) -> None:
    """Train, resuming what an earlier run of the same fingerprint left, and write the checkpoint folder.

    Raises:
        TrainingError: it did not end well; its subclasses say how.
        SettingsError: the settings cannot be used with this data or machine.
        VocabularyMismatch: the vocabulary file is damaged.
        DiskError: progress cannot be saved.
    """
    processes = join_processes(choose_device(job.settings.device), job.settings.processes)
    progress = SavedProgress(Path(job.progress_folder), job.fingerprint)
    listeners = (Shown(show_on(sys.stderr)), TensorBoard(locate_curves(Path(job.progress_folder), job.fingerprint)))
    reporter = Reporter(report, listeners if processes.is_main else ())
    try:
        run = _Run(job, processes, reporter, should_stop)
        state = run.train(progress)
        if processes.is_main:
            run.finish(progress, state)
        processes.leave()
    finally:
        reporter.close()


class _Run:
    """One run of a train job: all it needs, in the order in which it is had; then the training, then its checkpoint."""

    def __init__(self, job: TrainJob, processes: Processes, report: Report, should_stop: ShouldStop) -> None:
        self._job, self._processes, self._report, self._should_stop = job, processes, report, should_stop
        use_threads(job.settings.threads, processes.count)
        self._vocabulary = AnswerVocabulary.from_json(Path(job.vocabulary).read_text(encoding="utf-8"))
        self._leave_if_asked()
        train = read_training(_to_paths(job.train_questions), self._vocabulary, job.metric)
        val = read_validation(_to_paths(job.val_questions), self._vocabulary, job.metric)
        self._num_train, self._num_val = len(train[0]), len(val[0])
        _check_not_empty(train=self._num_train, val=self._num_val)
        self._leave_if_asked()
        shas = sorted({*train[0].shas, *val[0].shas})
        self._packs = packs = ImagePacks(_to_paths(job.image_packs), shas)
        self._asked = val[0]
        self._backbone = self._build_backbone(train[0], packs)
        self._checkpointing = Checkpointing(self._backbone.model, job.settings.gradient_checkpointing)
        self._switches = self._choose_switches()
        self._placement = Placement(choose_device(job.settings.device), self._switches.precision.value)
        self._learnable = choose_learnable(
            self._backbone.model,
            job.settings,
            self._backbone.fresh,
            self._backbone.head_rate_factor,
            self._backbone.learning_rate,
        )
        self._rates: RateSearch | None = None
        self._train, self._val = self._prepare(train, val, packs, shas)
        self._leave_if_asked()

    def _build_backbone(self, asked: Asked, packs: ImagePacks) -> Backbone:
        materials = Materials(self._vocabulary, asked.questions, packs, sorted(set(asked.shas)))
        backbone = build_backbone(self._job.settings, materials)
        if backbone.inheritance is not None:
            log(self._report, f"Going on from {backbone.name}: {put_into_words(backbone.inheritance)}.")
        return backbone

    def _choose_switches(self) -> Switches:
        settings, model = self._job.settings, self._backbone.model
        device, choice = choose_device(settings.device), self._checkpointing.choice
        switches = choose_switches(settings, device, model.config.hidden_size, choice)
        if switches.compile.value:
            compile_forward(model)
        return switches

    def _prepare(
        self, train: tuple[Asked, Credits], val: tuple[Asked, Credits], packs: ImagePacks, shas: list[str]
    ) -> tuple[Examples, Examples]:
        """Questions ready for training and for validation, with all that is done once for all epochs."""
        settings, cache, model = self._job.settings, Path(self._job.cache_folder), self._backbone.model
        rules = read_pixel_rules(self._backbone.processor.image_processor)
        pixels = PixelCache(cache / "pixels", packs, shas, rules, self._switches.threads.value)
        frozen = FrozenWork(model.to(self._placement.device), settings, rules, self._placement, cache, self._report)
        examples = (
            self._make_examples("train", *train, pixels, frozen),
            self._make_examples("val", *val, pixels, frozen),
        )
        self._frozen = frozen
        frozen.prepare(pixels, self._processes, self._should_stop)
        return examples

    def _make_examples(
        self, split: Split, asked: Asked, answers: Credits, pixels: PixelCache, frozen: FrozenWork
    ) -> Examples:
        backbone = self._backbone
        max_tokens = backbone.model.config.max_position_embeddings
        tokenized = tokenize(asked.questions, backbone.processor.tokenizer, max_tokens)
        if split == "train":
            check_known(tokenized, backbone.name)
        for message in describe_losses(tokenized, max_tokens, split):
            log(self._report, message)
        batches = BatchSource(asked, tokenized, pixels, self._placement.device)
        return Examples(batches, frozen.make_inputs(batches), answers, asked.answer_types)

    def _leave_if_asked(self) -> None:
        if self._should_stop():
            raise TrainingCancelled(0, None)

    def train(self, progress: SavedProgress) -> TrainingState:
        """Train to the end, from where saved progress stands."""
        settings, model = self._job.settings, self._backbone.model
        frozen = digest_tensors({name: weight for name, weight in model.named_parameters() if not weight.requires_grad})
        if settings.learning_rate == "auto":
            self._adopt_best_rate(progress, frozen)
        setup = Setup(
            model,
            self._learnable,
            settings,
            self._placement,
            self._processes,
            settings.patience if self._backbone.may_stop_early and not self._rates else 0,
            self._checkpointing.begin,
        )
        state = TrainingState(fingerprint=self._job.fingerprint, frozen=frozen)
        training = Training(setup, self._train, self._val, progress, state, self._report)
        self._resume(training, progress, frozen)
        log(self._report, f"What learns: {self._learnable.list_in_words()}.")
        self._fit_memory(training, progress)
        return training.run(self._should_stop)

    def _adopt_best_rate(self, progress: SavedProgress, frozen: str) -> None:
        """Find rate and decay for what learns, unless an interrupted run of this training already did."""
        model, settings, examples = self._backbone.model, self._job.settings, (self._train, self._val)
        search = partial(search_rates, model, self._learnable, settings, examples, self._report, self._should_stop)
        with self._processes.main_first():
            self._rates = find_rates(progress.folder / RATES_FILE, frozen, search)
        best = self._rates.best
        self._learnable = self._learnable.adopt(best.learning_rate, best.weight_decay)
        log(self._report, self._rates.put_into_words())

    def _fit_memory(self, training: Training, progress: SavedProgress) -> None:
        """Rehearse on a GPU, which says when it is full; a host does not."""
        if self._placement.device.type == "cpu":
            return
        config, learnable = self._backbone.model.config.to_json_string(), str(self._learnable.num_learnable)
        hardware = describe_device(self._placement.device)
        known = KnownSizes(progress.folder.parent / "micro_batches.json")
        settings = self._job.settings
        work = (config, settings.strategy, settings.cache, learnable, self._placement.precision)
        training.fit_memory(known, hardware, *work)

    def _resume(self, training: Training, progress: SavedProgress, frozen: str) -> None:
        with self._processes.main_first():  # it removes what is damaged
            saved = progress.load(frozen)
        for reason in progress.skipped:
            log(self._report, f"Saved progress is passed over: {reason}.")
        self._processes.any(False)  # all have read it before the main one writes
        if saved is not None:
            training.restore(saved)
        self._report(
            {
                "event": "started",
                "num_parameters": self._learnable.num_parameters,
                "num_learnable": self._learnable.num_learnable,
                "num_steps": training.num_steps,
                "device": self._placement.device.type,
                "precision": self._placement.precision,
                "resumed_from_step": saved.state.step if saved else None,
            }
        )
        self._switches.tell(self._report)

    def finish(self, progress: SavedProgress, state: TrainingState) -> None:
        """Calibrate, write the checkpoint, and see that its files answer as the model does.

        Raises:
            TrainingCancelled: somebody asked it to stop meanwhile; the next run comes here again.
        """
        model, settings = self._backbone.model, self._job.settings
        best = answer_best(model, self._val, settings.batch_size, partial(log, self._report), self._should_stop)
        if best is None:
            raise TrainingCancelled(state.step, progress.folder / state.name)
        calibration = best.fit_calibration()
        finish_learning(model, settings)
        checkpoint = Checkpoint(model.cpu(), self._backbone.processor, self._vocabulary, calibration)
        told = _describe(self._job, self._backbone, self._learnable, state, self._vocabulary)
        told |= {
            "num_train_questions": self._num_train,
            "num_val_questions": self._num_val,
            "device": self._placement.device.type,
            "hardware": describe_device(self._placement.device),
            "precision": self._placement.precision,
            "threads": self._switches.threads.value,
            "switches": self._switches._replace(gradient_checkpointing=self._checkpointing.choice).describe(),
            "questions_per_second": round(self._num_train * len(state.curve) / max(state.seconds, 1e-9), 1),
            "frozen_work": self._frozen.describe(),
            "rate_search": self._rates.describe() if self._rates else None,
            "calibration": calibration.model_dump(mode="json"),
            **measure_memory(self._placement.device),
        }

        def describe(folder: Path) -> dict[str, Any]:
            try:
                return told | {"reloaded": self._reload(folder, best)._asdict()}
            except TrainingCancelled:
                raise TrainingCancelled(state.step, progress.folder / state.name) from None

        save_checkpoint(checkpoint, describe, Path(self._job.output_folder))
        progress.prune(kept=1)  # enough to write the checkpoint again, should it get lost before it is published
        finished = ("num_steps", "best_epoch", "best_val_accuracy", "seconds")
        self._report({"event": "finished", **{name: told[name] for name in finished}})

    def _reload(self, folder: Path, best: BestAnswers) -> Reloaded:
        settings, threads = self._job.settings, self._switches.threads.value
        reading = Reading(self._placement, threads, settings.batch_size, self._packs)
        found = compare_reloaded(folder, self._vocabulary, self._asked, best, reading, self._should_stop)
        if found.problem:
            log(self._report, f"The checkpoint is not the model that was trained: {found.problem}.")
        return found


def _to_paths(files: tuple[str, ...]) -> list[Path]:
    return [Path(file) for file in files]


def _check_not_empty(**num_questions: int) -> None:
    for split, count in num_questions.items():
        if not count:
            raise SettingsError(
                "dataset.split_fractions",
                f"no {split} question has both an image and answers",
                f"Give the {split} split a share, or add images.",
            )


def _describe(
    job: TrainJob, backbone: Backbone, learnable: Learnable, state: TrainingState, vocabulary: AnswerVocabulary
) -> dict[str, Any]:
    """What `training.json` tells of a finished training; no absolute path is among it."""
    settings = job.settings.model_dump(mode="json")
    settings["backbone" if backbone.inheritance is None else "warm_start"] = backbone.name
    return {
        "fingerprint": job.fingerprint,
        "curve": [point.model_dump(mode="json") for point in state.curve],
        "learnable": learnable.describe(),
        "best_epoch": state.best.epoch if state.best else None,
        "best_val_accuracy": state.best.val_accuracy if state.best else None,
        "best_val_by_answer_type": state.curve[state.best.epoch - 1].val_by_answer_type if state.best else {},
        "num_steps": state.step,
        "num_skipped_steps": state.skips.num_steps,
        "suspects": state.skips.suspects,
        "num_returns": state.num_returns,
        "micro_batch": state.micro_batch,
        "seconds": round(state.seconds, 3),
        "backbone": backbone.name,
        "warm_start": backbone.inheritance,
        "settings": settings,
        "metric": job.metric,
        "vocabulary_fingerprint": vocabulary.fingerprint,
        "packages": {name: version(name) for name in (*_PACKAGES, *STRATEGIES[job.settings.strategy].packages)},
    }

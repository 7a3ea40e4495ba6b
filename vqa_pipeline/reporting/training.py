"""What there is to know of a finished training, in a few lines: for a terminal, and for the asset's page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from vqa_pipeline.progress import format_bytes, format_seconds

_BLOCKS = "▁▂▃▄▅▆▇█"


def list_facts(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and text of each fact, the most important first.

    Args:
        told: What a `training.json` tells, and in `curves`, if it is known, the folder of TensorBoard's files.
    """
    return [
        ("accuracy", _tell_accuracy(told)),
        *((f"  {kind}", f"{accuracy:.3f}") for kind, accuracy in told["best_val_by_answer_type"].items()),
        *_list_inheritance(told["warm_start"]),
        ("learned", _tell_learnable(told)),
        ("took", _tell_time(told)),
        ("computed", _tell_computing(told)),
        *_list_frozen_work(told["frozen_work"]),
        ("memory", _tell_memory(told)),
        *_list_trouble(told),
        ("fingerprint", str(told["fingerprint"])),
        *_list_curves(told),
    ]


def _tell_accuracy(told: Mapping[str, Any]) -> str:
    epochs = f"in epoch {told['best_epoch']} of {len(told['curve'])}"
    return f"{told['best_val_accuracy']:.3f} on {told['num_val_questions']:,} validation questions, {epochs}"


def _list_inheritance(answers: Mapping[str, int] | None) -> list[tuple[str, str]]:
    if answers is None:
        return []
    kept, new, dropped = (answers[name] for name in ("num_copied", "num_new", "num_dropped"))
    return [("warm start", f"{kept:,} answers known before, {new:,} new, {dropped:,} dropped")]


def _tell_learnable(told: Mapping[str, Any]) -> str:
    learnable = told["learnable"]
    learned, total = learnable["num_learnable"], learnable["num_parameters"]
    strategy = told["settings"]["strategy"]
    return f"{learned:,} of {total:,} parameters ({learned / total:.0%}) of {told['backbone']}, strategy {strategy}"


def _tell_time(told: Mapping[str, Any]) -> str:
    steps = f"{told['num_steps']:,} steps on {told['num_train_questions']:,} questions"
    return f"{format_seconds(told['seconds'])}: {steps}, {told['questions_per_second']:,.0f} questions/s"


def _tell_computing(told: Mapping[str, Any]) -> str:
    count = told["settings"]["processes"]
    processes = f"{count} processes of " if count > 1 else ""
    switched_on = [name.replace("_", " ") for name, switch in told["switches"].items() if switch["value"] is True]
    with_switches = f"; {', '.join(switched_on)}" if switched_on else ""
    return f"on {told['device']} in {told['precision']}, {processes}{told['threads']} threads{with_switches}"


def _list_frozen_work(work: Mapping[str, int]) -> list[tuple[str, str]]:
    if not work["num_layers"]:
        return []
    kept, total = work["num_cached"], work["num_questions"]
    questions = (
        f"all {total:,} questions" if kept == total else f"{kept:,} of {total:,} questions; the rest in every epoch"
    )
    return [("done once", f"the embeddings and {work['num_layers']} layers, for {questions}")]


def _tell_memory(told: Mapping[str, Any]) -> str:
    gpu = f", {format_bytes(told['gpu_memory_bytes'])} on the GPU" if told["gpu_memory_bytes"] else ""
    return (
        f"at most {format_bytes(told['host_memory_bytes'])} on the host{gpu}; {told['micro_batch']} questions at once"
    )


def _list_trouble(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What went wrong and was overcome; empty where nothing did."""
    if not told["num_skipped_steps"]:
        return []
    returns = f", {told['num_returns']} returns to earlier weights" if told["num_returns"] else ""
    return [
        (
            "skipped",
            f"{told['num_skipped_steps']:,} steps that were not finite{returns}; see `suspects` in training.json",
        )
    ]


def _list_curves(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    folder = told.get("curves")
    return [("curves", f"tensorboard --logdir {shlex.quote(folder)}")] if folder else []


def list_rates(told: Mapping[str, Any]) -> list[tuple[str, str, str, float]]:
    """Of every rate and decay that was tried: validation accuracy by epoch, drawn as a line, and the best of it."""
    searched = told.get("rate_search")
    if not searched:
        return []
    return [
        (
            f"{tried['learning_rate']:.2g}",
            f"{tried['weight_decay']:g}",
            draw_line(tried["val_accuracies"]) if tried["is_finite"] else "not finite",
            max(tried["val_accuracies"]),
        )
        for tried in sorted(searched["tried"], key=lambda tried: (tried["weight_decay"], tried["learning_rate"]))
    ]


def draw_line(shares: Sequence[float]) -> str:
    """Shares in [0, 1] as a line of blocks, one each: text, so that it has the page's colour."""
    return "".join(_BLOCKS[min(int(share * len(_BLOCKS)), len(_BLOCKS) - 1)] for share in shares)

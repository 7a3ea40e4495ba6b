"""The lines that sum up a training."""

from __future__ import annotations

from reporting_world import TRAINING

from vqa_pipeline.reporting.training import draw_line, list_facts, list_rates


def test_a_training_on_a_cpu_is_told_in_a_few_lines():
    assert list_facts(TRAINING) == [
        ("accuracy", "0.800 on 40 validation questions, in epoch 2 of 3"),
        ("  number", "0.600"),
        ("  yes/no", "0.900"),
        ("learned", "341,867 of 341,900 parameters (100%) of tiny, strategy full"),
        ("took", "1 min 01 s: 1,260 steps on 5,000 questions, 244 questions/s"),
        ("computed", "on cpu in fp32, 2 threads"),
        ("memory", "at most 1.2 GB on the host; 64 questions at once"),
        ("fingerprint", "f00d"),
    ]


def test_the_memory_of_a_gpu_is_told_where_there_is_one():
    told = dict(list_facts({**TRAINING, "gpu_memory_bytes": 41_000_000_000}))
    assert told["memory"] == "at most 1.2 GB on the host, 41 GB on the GPU; 64 questions at once"


def test_what_went_wrong_and_was_overcome_is_told():
    told = dict(list_facts({**TRAINING, "num_skipped_steps": 12}))
    assert told["skipped"] == "12 steps that were not finite; see `suspects` in training.json"
    told = dict(list_facts({**TRAINING, "num_skipped_steps": 12, "num_returns": 2}))
    assert told["skipped"] == (
        "12 steps that were not finite, 2 returns to earlier weights; see `suspects` in training.json"
    )


def test_without_types_of_answers_there_is_one_score():
    labels = [label for label, _ in list_facts({**TRAINING, "best_val_by_answer_type": {}})]
    assert labels[:2] == ["accuracy", "learned"]


def test_where_the_curves_are_is_told_as_a_command_to_copy():
    told = dict(list_facts({**TRAINING, "curves": "my data/scratch/training/f00d/tensorboard"}))
    assert told["curves"] == "tensorboard --logdir 'my data/scratch/training/f00d/tensorboard'"


def test_rates_that_were_tried_are_listed_in_order_of_decay_and_rate():
    tried = [
        {"learning_rate": 1e-3, "weight_decay": 0.01, "val_accuracies": [0.5, 0.75], "is_finite": True},
        {"learning_rate": 1e-4, "weight_decay": 0.1, "val_accuracies": [0.25, 0.0], "is_finite": True},
        {"learning_rate": 1e-4, "weight_decay": 0.01, "val_accuracies": [0.125, 0.125], "is_finite": False},
    ]
    assert list_rates({**TRAINING, "rate_search": {"tried": tried}}) == [
        ("0.0001", "0.01", "not finite", 0.125),
        ("0.001", "0.01", "▅▇", 0.75),
        ("0.0001", "0.1", "▃▁", 0.25),
    ]


def test_where_no_rate_was_searched_none_is_listed():
    assert list_rates(TRAINING) == []
    assert list_rates({**TRAINING, "rate_search": None}) == []


def test_a_line_reaches_from_nothing_to_everything():
    assert draw_line([0.0, 0.4999, 0.5, 1.0]) == "▁▄▅█"


def test_what_a_training_was_computed_with_is_told():
    switches = {
        "compile": {"value": True, "reason": "asked for"},
        "gradient_checkpointing": {"value": True, "reason": "asked for"},
        "threads": {"value": 2, "reason": "asked for"},
    }
    settings = {"strategy": "lora", "processes": 4}
    told = dict(list_facts({**TRAINING, "settings": settings, "switches": switches}))
    assert told["computed"] == "on cpu in fp32, 4 processes of 2 threads; compile, gradient checkpointing"
    assert told["learned"].endswith(", strategy lora")


def test_frozen_work_that_was_done_once_is_told_with_what_had_no_room():
    work = {"num_layers": 10, "num_questions": 5_040, "num_cached": 4_000}
    told = dict(list_facts({**TRAINING, "frozen_work": work}))
    assert told["done once"] == "the embeddings and 10 layers, for 4,000 of 5,040 questions; the rest in every epoch"
    told = dict(list_facts({**TRAINING, "frozen_work": {**work, "num_cached": 5_040}}))
    assert told["done once"] == "the embeddings and 10 layers, for all 5,040 questions"


def test_a_warm_start_is_told_with_the_answers_that_it_kept():
    answers = {"num_copied": 3_000, "num_new": 2, "num_dropped": 129}
    told = list_facts({**TRAINING, "warm_start": answers})
    assert ("warm start", "3,000 answers known before, 2 new, 129 dropped") in told

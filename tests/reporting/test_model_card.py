"""The card of a champion: read by Hugging Face's own reader, and true to what was measured."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from huggingface_hub import ModelCard
from reporting_world import HOSTILE, make_slice

from vqa_pipeline.reporting.model_card import render_model_card
from vqa_pipeline.schemas import Manifest

INTERVAL = {"low": 0.7, "high": 0.8}
METRICS = {
    "metric": "normalized",
    "vqa_accuracy": 0.75,
    "interval": INTERVAL,
    "num_scored": 1200,
    "num_images": 300,
    "baseline_shuffled_image": None,
    "baseline_question_only": 0.5,
    "baseline_question_only_interval": {"low": 0.45, "high": 0.55},
    "baseline_question_type": 0.4,
    "baseline_majority": 0.3,
    "ceiling": 0.95,
    "image_reliance": 0.25,
    "image_reliance_interval": {"low": 0.2, "high": 0.3},
    "slices": [],
    "calibration": {
        "ece": 0.02,
        "ece_before": 0.2,
        "abstain_threshold": 0.4,
        "abstained_fraction": 0.25,
        "coverage_at_risk": {"0.01": 0.3, "0.2": 0.9},
    },
}
TRAINING = {
    "backbone": "dandelin/vilt-b32-mlm@0123456789ab",
    "num_train_questions": 5000,
    "num_val_questions": 500,
    "num_steps": 800,
    "best_epoch": 4,
}


def make_manifest(asset, **details):
    return Manifest(
        asset=asset,
        version=f"{asset}-1",
        data_version="d",
        stage_number=1,
        settings={},
        inputs={},
        numbers={},
        details=details,
        files={},
        seconds=1,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        packages={},
        git_commit=None,
    )


def make_card(metrics=METRICS, licenses=None, source="scans", overridden=None, verdict="+0.250 above the best"):
    checkpoint = make_manifest("checkpoint", training=TRAINING, overridden=overridden or {})
    statistics = {"questions_by_source": {source: {"train": 5000, "val": 500, "test": 1200}}}
    dataset = make_manifest("dataset", licenses=licenses or {}, statistics=statistics)
    return render_model_card("clinic", checkpoint, dataset, metrics, verdict)


def test_hugging_face_reads_it():
    card = ModelCard(make_card(licenses={"scans": "CC-BY-4.0"}))
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "visual-question-answering"
    assert card.data.base_model == "dandelin/vilt-b32-mlm"
    assert card.data.to_dict()["data_licenses"] == ["CC-BY-4.0"]
    [result] = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.75)


@pytest.mark.parametrize(
    "told",
    [
        "+0.250 above the best",
        "Scored on 1,200 test questions about 300 images by the metric policy `normalized`",
        "| Model | 0.750 | 0.700 to 0.800 |",
        "| Question only | 0.500 | 0.450 to 0.550 |",
        "without the image: +0.250 (+0.200 to +0.300).",
        "would score 0.950",
        "Its probabilities are 0.020 off on average (expected calibration error; 0.200 before calibration).",
        "Below 0.400 it abstains: 25% of these questions.",
        "at a given share of lost credit: 30% at 1%, 90% at 20%.",
        "| scans | 5,000 | 500 | 1,200 | not stated |",
        "5,000 questions in 800 steps; epoch 4 did best",
        "Checkpoint version checkpoint-1",
    ],
)
def test_it_tells(told):
    assert told in make_card().replace("\\", "")


def test_the_weakest_groups_with_enough_images_are_named():
    slices = [
        make_slice("answer_type", value, vqa_accuracy=share, too_small=small)
        for value, share, small in (("yes/no", 0.9, False), ("number", 0.4, False), ("other", 0.1, True))
    ]
    card = make_card(metrics=METRICS | {"slices": slices})
    assert card.index("number") < card.index("yes/no")
    assert "| answer type | other" not in card


def test_what_was_not_scored_has_no_scores():
    card = make_card(metrics=None)
    assert "It was not scored" in card
    assert ModelCard(card).data.eval_results is None


def test_other_settings_than_the_declared_ones_are_told():
    assert "other settings than the declared ones: epochs, seed" in make_card(overridden={"seed": 1, "epochs": 2})


def test_text_from_data_stays_text():
    card = make_card(source=HOSTILE, licenses={HOSTILE: HOSTILE})
    assert "<script>" not in card.partition("\n---\n")[2]
    assert "\x1b" not in card
    assert ModelCard(card).data.library_name == "transformers"

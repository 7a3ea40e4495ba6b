"""The model card of a champion: what people who deploy it must know, in Hugging Face's format.

Sources: the metadata of model cards, huggingface.co/docs/hub/model-cards; its sections follow Mitchell et al., Model
Cards for Model Reporting, 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from vqa_pipeline.reporting.escaping import escape_markdown
from vqa_pipeline.reporting.scores import list_scores
from vqa_pipeline.schemas import SPLITS, Manifest

_WORST_SLICES = 5
_USE = """\
```python
import vqa_pipeline

model = vqa_pipeline.load("PATH OF THIS FOLDER")
print(model.answer("photo.jpg", "What colour is the car?"))
```

or with transformers alone:

```python
import torch
from PIL import Image
from transformers import ViltForQuestionAnswering, ViltImageProcessor, BertTokenizerFast

folder = "PATH OF THIS FOLDER"
model = ViltForQuestionAnswering.from_pretrained(folder)
pixels = ViltImageProcessor.from_pretrained(folder)(Image.open("photo.jpg").convert("RGB"), return_tensors="pt")
text = BertTokenizerFast.from_pretrained(folder)("What colour is the car?", return_tensors="pt")
with torch.no_grad():
    logits = model(**text, **pixels).logits
print(model.config.id2label[logits.argmax(-1).item()])
```"""


def render_model_card(
    name: str, checkpoint: Manifest, dataset: Manifest, metrics: Mapping[str, Any] | None, verdict: str
) -> str:
    """The card as Markdown with front matter; text from data is escaped.

    Args:
        name: The pipeline's.
        checkpoint: Manifest of the checkpoint.
        dataset: Manifest of the dataset that it was scored on.
        metrics: `evaluation.metrics.Metrics` as JSON; None: it was not scored.
        verdict: Why it is in use, in words.
    """
    parts = [
        f"# {escape_markdown(name)}",
        f"A ViLT that answers questions about images, fine-tuned by vqa_pipeline. {escape_markdown(verdict)}",
        *_section("How good it is", _tell_scores(metrics)),
        *_section("Where it fails", _tell_limits(metrics)),
        *_section("Data", _tell_data(dataset)),
        *_section("Training", _tell_training(checkpoint)),
        *_section("Use", [_USE]),
    ]
    return f"---\n{_write_front_matter(name, checkpoint, dataset, metrics)}---\n\n" + "\n\n".join(parts) + "\n"


def _section(title: str, paragraphs: Sequence[str]) -> list[str]:
    return [f"## {title}", *paragraphs] if paragraphs else []


def _write_front_matter(name: str, checkpoint: Manifest, dataset: Manifest, metrics: Mapping[str, Any] | None) -> str:
    told: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "visual-question-answering",
        "tags": ["vilt", "vqa_pipeline"],
    }
    licenses = sorted(set(dataset.details.get("licenses", {}).values()))
    if licenses:
        told["data_licenses"] = licenses
    base = checkpoint.details["training"]["backbone"]
    if "/" in base:
        told["base_model"] = base.partition("@")[0]
    if metrics is not None:
        values = [{"type": "accuracy", "name": "VQA accuracy", "value": round(metrics["vqa_accuracy"], 4)}]
        result = {
            "task": {"type": "visual-question-answering"},
            "dataset": {"type": name, "name": f"{name}, test split"},
            "metrics": values,
        }
        told["model-index"] = [{"name": name, "results": [result]}]
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True)


def _tell_scores(metrics: Mapping[str, Any] | None) -> list[str]:
    if metrics is None:
        return ["It was not scored: the test split has no answers."]
    rows = [
        (score.label, f"{score.share:.3f}", _tell_interval(score.interval), score.text)
        for score in list_scores(metrics)
    ]
    size = f"{metrics['num_scored']:,} test questions about {metrics['num_images']:,} images"
    low, high = metrics["image_reliance_interval"]["low"], metrics["image_reliance_interval"]["high"]
    reliance = f"{metrics['image_reliance']:+.3f} ({low:+.3f} to {high:+.3f})"
    return [
        f"Scored on {size} by the metric policy `{metrics['metric']}`; intervals hold 95 %.",
        _draw_table(("", "accuracy", "interval", "what it is"), rows),
        f"Image reliance, its accuracy minus the best that was reached without the image: {reliance}.",
        *_tell_calibration(metrics["calibration"]),
    ]


def _tell_calibration(told: Mapping[str, Any] | None) -> list[str]:
    if told is None:
        return []
    coverage = ", ".join(f"{share:.0%} at {float(risk):.0%}" for risk, share in told["coverage_at_risk"].items())
    error = f"expected calibration error; {told['ece_before']:.3f} before calibration"
    share = f"{told['abstained_fraction']:.0%} of these questions"
    return [
        f"Its probabilities are {told['ece']:.3f} off on average ({error}).",
        f"Below {told['abstain_threshold']:.3f} it abstains: {share}.",
        f"Share of questions that it can answer at a given share of lost credit: {coverage}.",
    ]


def _tell_limits(metrics: Mapping[str, Any] | None) -> list[str]:
    told = [
        "It can only give the answers of its vocabulary (`vocabulary.json`), in the language of its training questions."
    ]
    if metrics is None:
        return told
    told.append(f"The best choice from that vocabulary would score {metrics['ceiling']:.3f} on the same questions.")
    known = [one for one in metrics["slices"] if not one["too_small"]]
    worst = sorted(known, key=lambda one: one["vqa_accuracy"])[:_WORST_SLICES]
    rows = [
        (
            one["column"].replace("_", " "),
            escape_markdown(one["value"]),
            f"{one['vqa_accuracy']:.3f}",
            _tell_interval(one["interval"]),
            f"{one['num_questions']:,}",
        )
        for one in worst
    ]
    if rows:
        told += ["Its weakest groups of questions:", _draw_table(("by", "", "accuracy", "interval", "questions"), rows)]
    return told


def _tell_data(dataset: Manifest) -> list[str]:
    licenses = dataset.details.get("licenses", {})
    by_source = dataset.details["statistics"]["questions_by_source"]
    rows = [
        (
            escape_markdown(source),
            *(f"{counts.get(split, 0):,}" for split in SPLITS),
            escape_markdown(licenses.get(source, "not stated")),
        )
        for source, counts in by_source.items()
    ]
    return [
        _draw_table(("source", *SPLITS, "licence"), rows),
        f"Questions by split; dataset version {dataset.version}.",
    ]


def _tell_training(checkpoint: Manifest) -> list[str]:
    told = checkpoint.details["training"]
    text = (
        f"From {escape_markdown(told['backbone'])}: {told['num_train_questions']:,} questions in {told['num_steps']:,} "
        f"steps; epoch {told['best_epoch']} did best on {told['num_val_questions']:,} validation questions. Checkpoint "
        f"version {checkpoint.version}; settings in `manifest.json` and `training.json`."
    )
    overridden = checkpoint.details.get("overridden", {})
    if overridden:
        text += (
            f" Trained with other settings than the declared ones: {escape_markdown(', '.join(sorted(overridden)))}."
        )
    return [text]


def _tell_interval(interval: Mapping[str, float] | None) -> str:
    return f"{interval['low']:.3f} to {interval['high']:.3f}" if interval else ""


def _draw_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

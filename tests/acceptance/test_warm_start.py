"""A warm start from a model with the 3,129 answers that public ViLTs have, in random weights.

Needs a folder with `vocab/`, which is not part of the project: name it in VQA_ACCEPTANCE_DATA.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from modeling_world import World, settings, write_world

from vqa_pipeline.answers.normalization import normalize
from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.modeling.backbones import Materials, build_backbone
from vqa_pipeline.modeling.batches import Batch
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.questions import read_asked

DATA = os.environ.get("VQA_ACCEPTANCE_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="VQA_ACCEPTANCE_DATA does not name the folder of real data")


def build(world: World, vocabulary: AnswerVocabulary, **changes):
    shas = sorted({sha256 for sha256 in read_asked([world.questions("train")]).shas})
    materials = Materials(vocabulary, ["is it red?"] * 4000, ImagePacks(world.packs, shas), shas)
    return build_backbone(settings(**changes), materials)


def test_a_thousand_of_its_answers_are_answered_as_before(tmp_path: Path) -> None:
    listed = json.loads((Path(str(DATA)) / "vocab" / "lxmert_trainval_label2ans_3129.json").read_bytes())
    known = [*dict.fromkeys(normalize(answer) for answer in listed)]
    known = [answer for answer in known if answer]
    world = write_world(tmp_path / "world")
    parent = build(world, AnswerVocabulary(answers=tuple(known), counts=(1,) * len(known)))
    parent.model.config.id2label = dict(enumerate(known))
    parent.model.save_pretrained(tmp_path / "parent")
    parent.processor.save_pretrained(tmp_path / "parent")
    kept = known[5:3005:3]
    vocabulary = AnswerVocabulary(answers=("quite new", *reversed(kept)), counts=(3, *(1,) * len(kept)))
    child = build(world, vocabulary, warm_start=str(tmp_path / "parent"))
    assert child.inheritance == {"num_copied": 1000, "num_new": 1, "num_dropped": len(known) - 1000}
    tokens = child.processor.tokenizer("is it red?", return_tensors="pt")["input_ids"].repeat(4, 1)
    batch = Batch(tokens, None, torch.rand(4, 3, 16, 16), None)
    with torch.inference_mode():
        before, after = (one.model.eval().answer(one.model.encode(batch, 0), 0) for one in (parent, child))
    old = [known.index(answer) for answer in vocabulary.answers[1:]]
    torch.testing.assert_close(after[:, 1:], before[:, old], rtol=0, atol=1e-5)
    assert torch.equal(after.argmax(dim=1) - 1, before[:, old].argmax(dim=1))

"""What transformers does that our code works around; a failure here says that a detour may no longer be needed."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import torch

from vqa_pipeline.modeling.stock import BertTokenizer, ViltForQuestionAnswering


def test_a_tokenizer_without_its_file_is_silently_empty(trained: Path, tmp_path: Path) -> None:
    """So `load_checkpoint` looks into the file itself."""
    folder = shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    (folder / "tokenizer.json").unlink()
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("what color") == ["[UNK]", "[UNK]"]


def test_missing_weights_are_silently_random(trained: Path, tmp_path: Path) -> None:
    """So `load_checkpoint` asks for the loading info."""
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.3.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert ViltForQuestionAnswering.from_pretrained(folder).classifier[3].weight.std() > 0


def test_the_stock_embedding_draws_random_numbers_in_evaluation(trained: Path) -> None:
    """So `fast_vilt` exists; it also spares the loops over images."""
    model = ViltForQuestionAnswering.from_pretrained(trained / "checkpoint").eval()
    before = torch.get_rng_state()
    model(input_ids=torch.ones(1, 3, dtype=torch.long), pixel_values=torch.ones(1, 3, 16, 16))
    assert not torch.equal(torch.get_rng_state(), before)
    assert "multinomial" in inspect.getsource(type(model.vilt.embeddings).visual_embed)

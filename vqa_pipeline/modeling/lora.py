"""Low-rank adapters beside a trunk's linear layers: y = W x + (alpha / rank) B A x, of which only A and B learn.

peft makes and merges them. They are put into the model itself, which is called as before; its other parameters keep
their names, those of an adapted layer with `base_layer` in between. A checkpoint never has adapters: they are merged
before it is saved, so that plain transformers loads it. Imports peft only where adapters are made.

Source: Hu et al. 2021, LoRA (arXiv 2106.09685): B starts at zero, so that training starts from the trunk as it is.
"""

from __future__ import annotations

from typing import Any

import torch

from vqa_pipeline.modeling.settings import TrainingSettings

_PROJECTIONS = {
    "query_value": ("attention.attention.query", "attention.attention.value"),
    "attention": (
        "attention.attention.query",
        "attention.attention.key",
        "attention.attention.value",
        "attention.output.dense",
    ),
}
_LINEARS = {**_PROJECTIONS, "all": (*_PROJECTIONS["attention"], "intermediate.dense", "output.dense")}


def add_adapters(model: Any, settings: TrainingSettings) -> None:
    """Put adapters into every encoder layer of a ViLT, drawn from `seed`; the model answers as before."""
    from peft import LoraConfig, inject_adapter_in_model

    names = "|".join(name.replace(".", r"\.") for name in _LINEARS[settings.lora_targets])
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=rf"vilt\.encoder\.layer\.\d+\.({names})",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        inject_adapter_in_model(config, model)


def merge_adapters(model: Any) -> None:
    """Add every adapter to the weights beside it, and leave plain linear layers: W + (alpha / rank) B A."""
    from peft.tuners.lora import LoraLayer

    adapted = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, module in adapted:
        parent, _, child = name.rpartition(".")
        module.merge()
        setattr(model.get_submodule(parent), child, module.get_base_layer())

"""Settings of training. Loads without torch; flat, so that Dagster's launchpad can show every field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from vqa_pipeline.schemas import Frozen

TINY = "tiny"
"""Name of the backbone that is no file but made from scratch."""

NO_PARENT = "none"
"""What `warm_start` says where a training starts from a backbone."""
CHAMPION_PARENT = "champion"
"""What `warm_start` says where a training goes on from the checkpoint in use."""

Switch = Literal["auto", "always", "never"]
"""Not `on` and `off`, which YAML takes for booleans."""

LearningRate = Annotated[float, Field(gt=0)] | Literal["default", "auto"]

_STRATEGY_OF = {
    "layers": "last_layers",
    "lora_rank": "lora",
    "lora_alpha": "lora",
    "lora_dropout": "lora",
    "lora_targets": "lora",
}
"""Settings that mean something with one strategy only."""


class TrainingSettings(Frozen):
    """How the checkpoint is trained."""

    backbone: str = Field(
        "dandelin/vilt-b32-mlm",
        description="`tiny` (a small ViLT from scratch), a local folder, or the name of a ViLT on the hub.",
    )
    warm_start: str = Field(
        NO_PARENT,
        description="A fine-tuned ViLT to go on from instead of the backbone, a folder such as a published checkpoint, "
        "or a name on the hub: its head keeps what it knows of the answers. champion: the checkpoint in use. none: "
        "start from the backbone.",
    )
    strategy: Literal["head", "last_layers", "projection", "lora", "full"] = Field(
        "full",
        description="What learns: head: the classifier alone; last_layers: with it, the last `layers` of the trunk; "
        "projection: with it, the embedding of images and modalities; lora: with it, low-rank adapters in all layers, "
        "merged in the end; full: everything.",
    )
    epochs: int = Field(10, ge=1, description="Passes over the training questions.")
    batch_size: int = Field(64, ge=1, description="Questions per optimizer step.")
    micro_batch: int = Field(
        0,
        ge=0,
        description="Questions computed at once, of the `batch_size` of a step; 0: as many as fit into memory.",
    )
    learning_rate: LearningRate = Field(
        "default",
        description="Peak learning rate of the trunk; default: the strategy's, or that of `tiny`; auto, with `head` "
        "only: the best of a grid of rates and decays that are tried side by side.",
    )
    head_learning_rate_factor: float = Field(
        10.0, gt=0, description="The head learns at this multiple of `learning_rate` (with `tiny`: 1)."
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay; not on biases and norms.")
    warmup_fraction: float = Field(0.1, ge=0, lt=1, description="Share of steps over which the rate rises from 0.")
    clip_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this total norm.")
    patience: int = Field(
        3,
        ge=0,
        description="Stop after this many epochs without a better validation score; 0: never. `tiny` never stops.",
    )
    cache: Literal["auto", "never"] = Field(
        "auto", description="auto: what does not learn is computed once and kept on disk; never: in every epoch."
    )
    cache_gigabytes: float = Field(
        100.0,
        ge=0,
        description="Disk space for what `cache` keeps, of all trainings; what exceeds it is computed again.",
    )
    seed: int = Field(0, ge=0, description="Seed of initialization and order.")
    checkpoint_every_steps: int = Field(500, ge=1, description="Progress is saved this often, and after every epoch.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: the GPU when there is one.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="auto: bf16 where the GPU or CPU multiplies it, but fp32 for narrow models (`tiny`) on a CPU.",
    )
    compile: Switch = Field(
        "auto",
        description="torch.compile; always: every shape of a batch for itself, which takes minutes; auto: not at all.",
    )
    gradient_checkpointing: Switch = Field(
        "auto",
        description="Less memory for a third more time; auto: when not even one question at a time fits into memory.",
    )
    threads: int = Field(0, ge=0, description="CPU threads of each process; 0: its share of those that may be used.")
    processes: int = Field(
        1, ge=1, description="Processes that train together on this machine: at most one per GPU, or on the CPU."
    )
    layers: int = Field(2, ge=1, description="`last_layers` only: how many layers of the trunk learn.")
    lora_rank: int = Field(16, ge=1, description="`lora` only: rank of the adapters.")
    lora_alpha: int = Field(32, ge=1, description="`lora` only: adapters count `lora_alpha` / `lora_rank` times.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="`lora` only: dropout on what adapters are given.")
    lora_targets: Literal["query_value", "attention", "all"] = Field(
        "all",
        description="`lora` only: what is adapted in every layer: two projections of attention, all four, or the "
        "feed-forward layers too.",
    )
    tiny_layers: int = Field(2, ge=1, description="`tiny` only: transformer layers.")
    tiny_width: int = Field(96, ge=8, description="`tiny` only: hidden size.")
    tiny_heads: int = Field(4, ge=1, description="`tiny` only: attention heads.")
    tiny_patch_pixels: int = Field(16, ge=1, description="`tiny` only: side of a patch.")
    tiny_image_pixels: int = Field(64, ge=8, description="`tiny` only: shorter side of an image after resizing.")

    @field_validator("strategy")
    @classmethod
    def _freezes_nothing_random(cls, strategy: str, given: ValidationInfo) -> str:
        starts_random = given.data.get("backbone") == TINY and given.data.get("warm_start") == NO_PARENT
        if starts_random and strategy != "full":
            raise ValueError(f"`{TINY}` starts from random weights, and {strategy} would freeze some; use full")
        return strategy

    @field_validator("learning_rate")
    @classmethod
    def _is_found_for_heads(cls, rate: LearningRate, given: ValidationInfo) -> LearningRate:
        if rate == "auto" and given.data.get("strategy") not in {None, "head"}:
            raise ValueError("auto tries many heads on a trunk that stays as it is; give a rate, or use strategy head")
        return rate

    @field_validator(*_STRATEGY_OF)
    @classmethod
    def _belongs_to_strategy(cls, value: Any, given: ValidationInfo) -> Any:
        name, strategy = str(given.field_name), given.data.get("strategy")
        is_declared = value != TrainingSettings.model_fields[name].default
        if is_declared and strategy not in {None, _STRATEGY_OF[name]}:
            raise ValueError(f"it means nothing with strategy {strategy}; leave it out, or use {_STRATEGY_OF[name]}")
        return value

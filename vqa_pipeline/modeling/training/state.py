"""Everything but tensors that a training needs to go on where it stopped.

Random generators need no place here: order and dropout are drawn from seed, epoch and step.
"""

from __future__ import annotations

from pydantic import Field

from vqa_pipeline.modeling.training.finiteness import Skips
from vqa_pipeline.schemas import Frozen


class CurvePoint(Frozen):
    """What is known at the end of an epoch."""

    epoch: int = Field(description="From 1.")
    step: int
    loss: float = Field(description="Mean over the epoch's updates, nats per question.")
    learning_rate: float = Field(description="Of the trunk, at the epoch's last step.")
    val_accuracy: float = Field(description="VQA accuracy on the validation questions, in [0, 1].")
    val_by_answer_type: dict[str, float] = Field({}, description="The same by type of answer, where types are known.")
    seconds: float = Field(description="Training time so far, interruptions excluded.")


class Best(Frozen):
    """The best epoch so far, and where its weights are."""

    epoch: int
    step: int
    val_accuracy: float
    file: str
    digest: str


class TrainingState(Frozen):
    """How far a training is. Step and losses are of the steps whose numbers were read."""

    fingerprint: str
    frozen: str = Field("", description="Digest of the weights that do not learn; they are not saved again and again.")
    step: int = 0
    epoch_loss: float = Field(0.0, description="Sum of the losses of the epoch's updates so far.")
    epoch_updates: int = Field(0, description="Steps of the epoch that were not skipped.")
    curve: tuple[CurvePoint, ...] = ()
    best: Best | None = None
    good: str = Field("", description="Saved progress to return to when losses are not finite any more.")
    num_returns: int = Field(0, description="How often that happened; each time, the rate was halved.")
    skips: Skips = Skips()
    micro_batch: int = Field(0, description="Questions computed at once: the bits of a sum depend on it.")
    seconds: float = 0.0

    @property
    def next_epoch(self) -> int:
        """The epoch that the next step belongs to."""
        return len(self.curve) + 1

    @property
    def name(self) -> str:
        """Its place among saved progress; of two at the same step, the one after the validation comes later."""
        return f"step-{self.step:08d}-epoch-{len(self.curve):04d}"

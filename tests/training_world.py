"""A training on the small world with everything that may be replaced within reach: its inputs, its progress, its news."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from modeling_world import VOCABULARY, Events, World, never, settings

from vqa_pipeline.modeling.backbones import Materials, build_backbone
from vqa_pipeline.modeling.batches import BatchSource, Positions
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.inputs import Examples, Inputs, WholeForward
from vqa_pipeline.modeling.pixel_cache import PixelCache
from vqa_pipeline.modeling.pixels import read_pixel_rules
from vqa_pipeline.modeling.questions import read_training, tokenize
from vqa_pipeline.modeling.read_ahead import Cut
from vqa_pipeline.modeling.strategies import choose_learnable
from vqa_pipeline.modeling.training.loop import Setup, Training
from vqa_pipeline.modeling.training.processes import Alone
from vqa_pipeline.modeling.training.saved_progress import SavedProgress
from vqa_pipeline.modeling.training.state import TrainingState

CPU = Placement(torch.device("cpu"), "fp32")


class Changed:
    """Inputs of which something is changed."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self.num_calls = 0

    @property
    def waited_seconds(self) -> float:
        return self._inputs.waited_seconds

    def follow(self, plan: Sequence[Positions], cut: Cut) -> Iterator[Positions]:
        return self._inputs.follow(plan, cut)


class Poisoned(Changed):
    """Logits that are not finite for some questions, or for all in some calls."""

    def __init__(self, inputs: Inputs, positions: Collection[int] = (), calls: Collection[int] = ()) -> None:
        super().__init__(inputs)
        self._positions, self._bad_calls = set(positions), set(calls)

    def compute_logits(self, positions: Positions) -> torch.Tensor:
        self.num_calls += 1
        bad = [self.num_calls in self._bad_calls or int(position) in self._positions for position in positions]
        return (
            self._inputs.compute_logits(positions)
            * torch.tensor([float("nan") if one else 1.0 for one in bad])[:, None]
        )


class BadGradients(Changed):
    """Logits as they are, whose gradient is not finite in some calls."""

    def __init__(self, inputs: Inputs, bad: float, is_bad: Callable[[int], bool]) -> None:
        super().__init__(inputs)
        self._bad, self._is_bad = bad, is_bad

    def compute_logits(self, positions: Positions) -> torch.Tensor:
        self.num_calls += 1
        logits = self._inputs.compute_logits(positions)
        return OneBadGradient.apply(logits, self._bad) if self._is_bad(self.num_calls) else logits


class OneBadGradient(torch.autograd.Function):
    """Hands a tensor on as it is; the gradient that comes back gets one number that is not finite."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, bad: float) -> torch.Tensor:
        ctx.bad = bad
        return tensor.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        spoiled = gradient.clone()
        spoiled.view(-1)[0] = ctx.bad
        return spoiled, None


class Astray(Changed):
    """Logits that are not finite as soon as a bias of the last layer has left [-limit, limit]."""

    def __init__(self, inputs: WholeForward, limit: float) -> None:
        super().__init__(inputs)
        self._limit = limit

    def compute_logits(self, positions: Positions) -> torch.Tensor:
        farthest = self._inputs._model.classifier[-1].bias.detach().abs().max()
        return self._inputs.compute_logits(positions) * (float("nan") if farthest > self._limit else 1.0)


class Cramped(Changed):
    """Inputs of a device whose memory takes so many questions at once, and from some call on fewer."""

    def __init__(self, inputs: Inputs, limit: int, error: Exception, after: int = 0) -> None:
        super().__init__(inputs)
        self.limit, self._error, self._after = limit, error, after
        self.asked: list[int] = []

    def compute_logits(self, positions: Positions) -> torch.Tensor:
        self.asked.append(len(positions))
        if len(self.asked) > self._after and len(positions) > self.limit:
            raise self._error
        return self._inputs.compute_logits(positions)


class Trial:
    """One training whose inputs may be wrapped; validation is on the training questions."""

    def __init__(
        self,
        world: World,
        folder: Path,
        wrap: Callable[[Any], Any] = lambda inputs: inputs,
        wrap_val: Callable[[Any], Any] = lambda inputs: inputs,
        relieve: Callable[[], str | None] = lambda: None,
        **changes: Any,
    ) -> None:
        asked, targets = read_training([world.questions("train")], VOCABULARY, "normalized")
        shas = sorted(set(asked.shas))
        packs, wanted = ImagePacks(world.packs, shas), settings(**changes)
        backbone = build_backbone(wanted, Materials(VOCABULARY, asked.questions, packs, shas))
        self.model = backbone.model
        rules = read_pixel_rules(backbone.processor.image_processor)
        pixels = PixelCache(world.folder / "cache" / "pixels", packs, shas, rules)
        pixels.fill(never)
        tokenized = tokenize(asked.questions, backbone.processor.tokenizer, 40)
        batches = BatchSource(asked, tokenized, pixels, CPU.device)
        whole = WholeForward(self.model, batches, CPU)
        self.inputs, self.val_inputs = wrap(whole), wrap_val(whole)
        self.question_ids = asked.question_ids
        learnable = choose_learnable(self.model, wanted, backbone.fresh, backbone.head_rate_factor)
        self.progress, self.events = SavedProgress(folder, "f"), Events()
        setup = Setup(self.model, learnable, wanted, CPU, Alone(), 0, relieve)
        examples = Examples(batches, self.inputs, targets)
        validation = Examples(batches, self.val_inputs, targets)
        state = TrainingState(fingerprint="f")
        self.training = Training(setup, examples, validation, self.progress, state, self.events)
        saved = self.progress.load()
        if saved is not None:
            self.training.restore(saved)

    def run(self, should_stop: Callable[[], bool] = never) -> TrainingState:
        return self.training.run(should_stop)

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}


class StopAt:
    """Asks to stop at the n-th time it is asked."""

    def __init__(self, asked: int) -> None:
        self.left = asked

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


def are_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

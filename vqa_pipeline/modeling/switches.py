"""What makes a training faster or smaller and changes nothing but rounding; each is chosen by itself, with a reason.

What needs no choice is not here: AdamW is always fused, attention always torch's fast one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.modeling.devices import Choice, Precision, choose_precision, choose_threads
from vqa_pipeline.modeling.events import Report, log
from vqa_pipeline.modeling.settings import Switch, TrainingSettings

_MAX_COMPILED = 64
"""Shapes of batches of one model; further ones are computed as they are."""
_C_COMPILERS = ("cc", "gcc", "clang")


class Switches(NamedTuple):
    """What was chosen for a training."""

    precision: Choice[Precision]
    threads: Choice[int]
    compile: Choice[bool]
    gradient_checkpointing: Choice[bool]

    def tell(self, report: Report) -> None:
        """Log every choice with its reason."""
        for name, choice in self._asdict().items():
            value = ("on" if choice.value else "off") if isinstance(choice.value, bool) else choice.value
            log(report, f"{name.replace('_', ' ')}: {value} ({choice.reason})")

    def describe(self) -> dict[str, dict[str, Any]]:
        """For the record: value and reason by name."""
        return {name: choice._asdict() for name, choice in self._asdict().items()}


def choose_switches(
    settings: TrainingSettings, device: torch.device, width: int, checkpointing: Choice[bool]
) -> Switches:
    """The switches for a model of a width (its hidden size).

    Raises:
        SettingsError: compiling is asked for and cannot be done here.
    """
    return Switches(
        choose_precision(settings.precision, device, width),
        choose_threads(settings.threads, settings.processes),
        choose_compiling(settings.compile, device),
        checkpointing,
    )


def find_missing_tool(device: torch.device, path: str | None = None) -> str | None:
    """What torch.compile would need on a device and this machine lacks; None: nothing.

    Args:
        device: Where the model computes.
        path: Folders of programs, as in the environment variable; None: those of this process.
    """
    if not any(shutil.which(compiler, path=path) for compiler in _C_COMPILERS):
        return "a C compiler"
    if device.type == "cuda" and find_spec("triton") is None:
        return "triton"
    return None


def choose_compiling(
    switch: Switch,
    device: torch.device,
    find_missing: Callable[[torch.device], str | None] = find_missing_tool,
) -> Choice[bool]:
    """Compile when it is asked for and the machine has what it takes.

    Not by itself: code that torch compiled for batches of any shape failed in the backward pass of the second shape
    (torch 2.11.0 on an H100, benchmarks/RESULTS.md), and code for one shape is compiled for a minute or more each time
    another comes, which data with images of many shapes never wins back.

    Raises:
        SettingsError: it is asked for, and something is missing.
    """
    if switch == "never":
        return Choice(False, "asked for")
    if switch == "always":
        missing = find_missing(device)
        if missing:
            fix = f"Install {missing}, or use `auto` or `never`."
            raise SettingsError("training.compile", f"torch.compile needs {missing}, which is not here", fix)
        return Choice(True, "asked for")
    if device.type == "cpu":
        return Choice(False, "on a CPU it takes minutes and gains little")
    return Choice(False, "every shape of a batch takes a minute or more; `always` is for images of one size")


def compile_forward(model: Any, backend: str | Callable[..., Any] = "inductor") -> None:
    """Let a model's forward be compiled at its first call; parameters keep their names.

    Each shape of a batch is compiled for itself. What cannot be compiled is computed as it is, and torch's log says
    why.
    """
    from torch._dynamo import config  # loads the compiler, which most trainings do without

    config.recompile_limit = _MAX_COMPILED
    config.suppress_errors = True
    model.compile(backend=backend, dynamic=False)


class Checkpointing:
    """Gradient checkpointing of a model: from the beginning, never, or from when memory asks for it."""

    def __init__(self, model: Any, switch: Switch) -> None:
        self._model, self._may_begin = model, switch == "auto"
        self.choice = (
            Choice(False, "until one question at a time does not fit into memory")
            if self._may_begin
            else Choice(switch == "always", "asked for")
        )
        """Whether it is on, and why."""
        if self.choice.value:
            checkpoint_layers(model)

    def begin(self) -> str | None:
        """Begin, if that is left open; says what was done, or None where nothing was."""
        if not self._may_begin:
            return None
        self._may_begin = False
        self.choice = Choice(True, "one question at a time did not fit into memory")
        checkpoint_layers(self._model)
        return "from now on layers are computed twice, to keep less of them"


def checkpoint_layers(model: Any) -> None:
    """Keep of each layer only its input, and compute the rest again when gradients need it: less memory, more time."""
    if hasattr(model, "activation_checkpointing_enable"):
        enable = model.activation_checkpointing_enable
    else:  # its name in older transformers
        enable = partial(model.gradient_checkpointing_enable, {"use_reentrant": False})
    enable()
    model.disable_input_require_grads()  # or frozen layers below those that learn would be computed twice as well

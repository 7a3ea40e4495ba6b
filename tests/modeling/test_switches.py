from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from modeling_world import Events, settings

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.modeling.fast_vilt import FastViltForQuestionAnswering
from vqa_pipeline.modeling.stock import ViltConfig
from vqa_pipeline.modeling.switches import (
    Checkpointing,
    checkpoint_layers,
    choose_compiling,
    choose_switches,
    compile_forward,
    find_missing_tool,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda")
NUM_LAYERS = 3
Shape = tuple[int, int, int, int]
SHAPES: tuple[Shape, ...] = ((4, 8, 16, 32), (3, 12, 16, 16), (4, 8, 32, 16), (2, 8, 16, 32), (4, 12, 16, 32))
"""Questions, tokens, height, width: what a training meets."""


def lacks(tool: str | None):
    return lambda device: tool


@pytest.mark.parametrize(
    ("switch", "device", "chosen", "reason"),
    [
        ("auto", GPU, False, "every shape of a batch takes a minute or more; `always` is for images of one size"),
        ("auto", CPU, False, "on a CPU it takes minutes and gains little"),
        ("always", CPU, True, "asked for"),
        ("always", GPU, True, "asked for"),
        ("never", GPU, False, "asked for"),
    ],
)
def test_compiling_is_done_where_it_is_asked_for(switch, device: torch.device, chosen: bool, reason: str) -> None:
    assert choose_compiling(switch, device, lacks(None)) == (chosen, reason)


def test_compiling_that_is_asked_for_and_cannot_be_done_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"`training.compile`: torch.compile needs triton, which is not here"):
        choose_compiling("always", GPU, lacks("triton"))


@pytest.mark.parametrize("switch", ["auto", "never"])
def test_what_is_not_asked_for_needs_no_tools(switch) -> None:
    assert not choose_compiling(switch, GPU, lacks("a C compiler")).value


def test_a_machine_without_compiler_on_its_path_lacks_one_and_one_with_it_does_not(tmp_path: Path) -> None:
    assert find_missing_tool(CPU, str(tmp_path)) == "a C compiler"
    (tmp_path / "gcc").touch(mode=0o755)
    assert find_missing_tool(CPU, str(tmp_path)) is None


def test_every_choice_is_told_and_recorded_with_its_reason() -> None:
    wanted = settings(threads=1, compile="never")
    switches = choose_switches(wanted, CPU, 32, Checkpointing(make_model(), "auto").choice)
    switches.tell(events := Events())
    reason = switches.precision.reason
    assert [event["message"] for event in events.named("log")] == [
        f"precision: fp32 ({reason})",
        "threads: 1 (asked for)",
        "compile: off (asked for)",
        "gradient checkpointing: off (until one question at a time does not fit into memory)",
    ]
    assert switches.describe()["precision"] == {"value": "fp32", "reason": reason}
    assert switches.describe()["compile"] == {"value": False, "reason": "asked for"}


def make_model() -> Any:
    torch.manual_seed(0)
    config = ViltConfig(
        hidden_size=32,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=4,
        intermediate_size=64,
        patch_size=8,
        image_size=16,
        vocab_size=50,
        num_labels=5,
    )
    return FastViltForQuestionAnswering(config).train()


def compute(model: Any, shape: Shape) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits, and the gradients of the parameters that learn, on random inputs of a shape."""
    num_questions, num_tokens, height, width = shape
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(0, 50, (num_questions, num_tokens), generator=generator)
    pixel_values = torch.randn(num_questions, 3, height, width, generator=generator)
    model.zero_grad()
    logits = model(input_ids=input_ids, pixel_values=pixel_values).logits
    logits.square().sum().backward()
    return logits.detach(), {name: one.grad for name, one in model.named_parameters() if one.requires_grad}


def count_calls(model: Any) -> list[int]:
    """How often each layer is computed from now on."""
    calls = [0] * NUM_LAYERS

    def count(number: int):
        def hook(*_: object) -> None:
            calls[number] += 1

        return hook

    for number, layer in enumerate(model.vilt.encoder.layer):
        layer.layernorm_before.register_forward_hook(count(number))
    return calls


def test_checkpointed_layers_are_computed_twice_and_give_the_same_bits() -> None:
    plain, checkpointed = make_model(), make_model()
    checkpoint_layers(checkpointed)
    calls = count_calls(checkpointed)
    for shape in SHAPES:
        logits, gradients = compute(plain, shape)
        again, same_gradients = compute(checkpointed, shape)
        assert torch.equal(logits, again)
        assert all(torch.equal(gradient, same_gradients[name]) for name, gradient in gradients.items())
    assert calls == [2 * len(SHAPES)] * (NUM_LAYERS - 1) + [len(SHAPES)]  # of the last one token is computed


@pytest.mark.parametrize(("switch", "num_calls"), [("always", [2, 2, 1]), ("never", [1, 1, 1]), ("auto", [1, 1, 1])])
def test_layers_are_computed_twice_from_the_beginning_only_when_asked_for(switch, num_calls: list[int]) -> None:
    model = make_model()
    checkpointing = Checkpointing(model, switch)
    assert checkpointing.choice.value is (switch == "always")
    calls = count_calls(model)
    compute(model, SHAPES[0])
    assert calls == num_calls


def test_left_open_layers_are_computed_twice_when_memory_asks_for_it_once() -> None:
    model = make_model()
    checkpointing = Checkpointing(model, "auto")
    assert checkpointing.begin() == "from now on layers are computed twice, to keep less of them"
    assert checkpointing.choice == (True, "one question at a time did not fit into memory")
    calls = count_calls(model)
    compute(model, SHAPES[0])
    assert calls == [2, 2, 1]
    assert checkpointing.begin() is None


@pytest.mark.parametrize("switch", ["always", "never"])
def test_what_was_asked_for_stays_when_memory_asks(switch) -> None:
    checkpointing = Checkpointing(make_model(), switch)
    assert checkpointing.begin() is None
    assert checkpointing.choice == (switch == "always", "asked for")


def test_frozen_layers_below_those_that_learn_are_not_computed_twice() -> None:
    model = make_model()
    checkpoint_layers(model)
    model.requires_grad_(False)
    for part in (model.vilt.encoder.layer[1], model.vilt.encoder.layer[2], model.classifier):
        part.requires_grad_(True)
    calls = count_calls(model)
    compute(model, SHAPES[0])
    assert calls == [1, 2, 1]


@pytest.mark.slow
def test_a_compiled_forward_gives_the_same_logits_and_gradients_and_every_shape_is_compiled_for_itself() -> None:
    """With the backend that finds the graphs and computes them as they are, which is quick."""
    from torch._dynamo import config
    from torch._dynamo.testing import CompileCounterWithBackend

    plain, compiled = make_model(), make_model()
    with config.patch(suppress_errors=False, recompile_limit=config.recompile_limit):
        compile_forward(compiled, counter := CompileCounterWithBackend("eager"))
        config.suppress_errors = False  # here they are to be seen
        compare(plain, compiled)
    assert counter.frame_count == len(SHAPES)
    assert list(compiled.state_dict()) == list(plain.state_dict())


def compare(plain: Any, compiled: Any) -> None:
    for shape in SHAPES:
        logits, gradients = compute(plain, shape)
        again, same_gradients = compute(compiled, shape)
        torch.testing.assert_close(again, logits, rtol=0, atol=1e-6)
        for name, gradient in gradients.items():
            torch.testing.assert_close(same_gradients[name], gradient, rtol=1e-4, atol=1e-6)

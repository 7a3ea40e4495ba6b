"""The stock model is the reference everywhere: same weights, same input, same result."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from vqa_pipeline.modeling.batches import Batch
from vqa_pipeline.modeling.fast_vilt import FastViltForQuestionAnswering
from vqa_pipeline.modeling.stock import ViltConfig, ViltForQuestionAnswering

SHAPES = [(32, 32), (32, 48), (48, 24), (8, 40), (37, 50)]
DEPRECATED = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning"
)  # its old name is in peft, too
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]])


def make_models(**changes: Any) -> tuple[FastViltForQuestionAnswering, ViltForQuestionAnswering]:
    """The fast and the stock one, of the same weights; none of them zero, as stock positions are, which hides much."""
    config = ViltConfig(
        vocab_size=30,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        num_labels=7,
        **changes,
    )
    generator = torch.Generator().manual_seed(0)
    fast, stock = FastViltForQuestionAnswering(config), ViltForQuestionAnswering(copy.deepcopy(config))
    for parameter in fast.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.3, generator=generator)
    stock.load_state_dict(fast.state_dict())
    return fast.eval(), stock.eval()


@pytest.fixture
def models() -> tuple[Any, Any]:
    return make_models()


def make_input(height: int = 32, width: int = 48, mask: torch.Tensor | None = MASK) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(5, 30, (3, 6), generator=generator)
    pixel_values = torch.randn(3, 3, height, width, generator=generator)
    return {"input_ids": input_ids, "attention_mask": mask, "pixel_values": pixel_values}


def make_batch(**changes: Any) -> Batch:
    return Batch(**{**make_input(), **changes})


def answer_stock(stock: Any, given: dict[str, Any]) -> torch.Tensor:
    """As its processor would feed it: with a mask of pixels, all of them real."""
    images, _, height, width = given["pixel_values"].shape
    return stock(**given, pixel_mask=torch.ones(images, height, width, dtype=torch.long)).logits


def assert_same_gradients(fast: Any, stock: Any, given: dict[str, Any]) -> None:
    labels = torch.rand(3, 7, generator=torch.Generator().manual_seed(2))
    for logits in (fast(**given).logits, answer_stock(stock, given)):
        torch.nn.functional.binary_cross_entropy_with_logits(logits, labels).mul(7).backward()
    references = {name: parameter.grad for name, parameter in stock.named_parameters() if parameter.requires_grad}
    assert references
    for name, parameter in fast.named_parameters():
        if not parameter.requires_grad:
            continue
        reference = references.pop(name)
        if "key.bias" in name:  # no effect on any weight of attention: what is there is rounding
            assert max(parameter.grad.norm(), reference.norm()) < 1e-6, name
        else:
            assert (parameter.grad - reference).norm() <= 1e-4 * reference.norm() != 0, name
    assert not references


@pytest.mark.parametrize("mask", [None, MASK], ids=["not-padded", "padded"])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_logits_and_gradients_are_those_of_stock(models, height: int, width: int, mask) -> None:
    given = make_input(height, width, mask)
    torch.testing.assert_close(models[0](**given).logits, answer_stock(models[1], given), atol=1e-5, rtol=0.0)
    assert_same_gradients(*models, given)


@pytest.mark.parametrize("mask", [None, MASK], ids=["not-padded", "padded"])
def test_in_bf16_results_are_as_close_to_fp32_as_those_of_stock(models, mask) -> None:
    given = make_input(mask=mask)
    exact = answer_stock(models[1], given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fast, stock = models[0](**given).logits, answer_stock(models[1], given)
    assert (fast - exact).abs().max() <= 1.5 * (stock - exact).abs().max()


MODELS = make_models()


@given(st.integers(1, 9), st.integers(1, 9), st.lists(st.integers(1, 6), min_size=3, max_size=3))
def test_logits_are_those_of_stock_whatever_the_sizes(rows: int, columns: int, lengths: list[int]) -> None:
    mask = (torch.arange(6) < torch.tensor(lengths)[:, None]).long()
    given = make_input(8 * rows, 8 * columns, mask)
    with torch.inference_mode():
        torch.testing.assert_close(MODELS[0](**given).logits, answer_stock(MODELS[1], given), atol=1e-5, rtol=0.0)


@DEPRECATED
@pytest.mark.parametrize("targets", [["key", "value"], ["query", "intermediate.dense", "output.dense", "key", "value"]])
def test_lora_learns_as_on_stock(models, targets: list[str]) -> None:
    import peft

    before = models[0](**make_input()).logits
    wrapped = []
    for model in models:
        config = peft.LoraConfig(r=4, target_modules=targets, modules_to_save=["classifier"])
        wrapped.append(peft.get_peft_model(model, config).eval())
        generator = torch.Generator().manual_seed(3)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, 0.0, 0.3, generator=generator)
    logits = wrapped[0](**make_input()).logits
    assert (logits - before).abs().max() > 0.01  # else nothing is tested
    torch.testing.assert_close(logits, answer_stock(wrapped[1], make_input()), atol=1e-5, rtol=0.0)
    assert_same_gradients(*wrapped, make_input())


@pytest.mark.parametrize("linear", ["key", "value"])
def test_a_hook_on_the_last_layer_is_heeded(models, linear: str) -> None:
    for model in models:
        attention = model.vilt.encoder.layer[-1].attention.attention
        getattr(attention, linear).register_forward_hook(lambda module, inputs, output: 2 * output)
    torch.testing.assert_close(models[0](**make_input()).logits, answer_stock(models[1], make_input()))


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("setting", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout_is_where_stock_has_it(setting: str, bf16: bool) -> None:
    fast, stock = (model.train() for model in make_models(**{setting: 1.0}))  # all dropped: nothing is random
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        logits, expected = fast(**make_input()).logits, answer_stock(stock, make_input())
    torch.testing.assert_close(logits, expected.float(), atol=1e-2 if bf16 else 1e-5, rtol=0.0)
    assert not torch.allclose(logits, fast.eval()(**make_input()).logits, atol=1e-3)


def test_tokens_of_images_are_dropped_as_on_stock(models) -> None:
    for model in models:
        model.train().vilt.embeddings.dropout.p = 1.0  # of text it is another, of layers others still
    torch.testing.assert_close(models[0](**make_input()).logits, answer_stock(models[1], make_input()))


def test_questions_of_one_image_drop_each_their_own(models) -> None:
    models[0].train().vilt.embeddings.dropout.p = 0.5
    batch = make_batch(image_index=torch.zeros(3, dtype=torch.long))
    first, second, _ = models[0].encode(batch, 0).states[:, 6:]
    assert not torch.allclose(first, second)


def test_attention_of_the_first_token_drops_at_random() -> None:
    attention = make_models(attention_probs_dropout_prob=0.5)[0].vilt.encoder.layer[-1].attention.attention
    states = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(4))
    torch.manual_seed(0)
    dropped = torch.stack([attention.train().attend_from_first(states, None) for _ in range(2000)])
    assert dropped[0].sub(dropped[1]).abs().max() > 0.1
    torch.testing.assert_close(dropped.mean(0), attention.eval().attend_from_first(states, None), atol=0.15, rtol=0.0)


def test_without_biases_of_attention_it_is_stock_too() -> None:
    fast, stock = make_models(qkv_bias=False)
    torch.testing.assert_close(fast(**make_input()).logits, answer_stock(stock, make_input()), atol=1e-5, rtol=0.0)


@DEPRECATED
def test_gradient_checkpointing_changes_nothing(models) -> None:
    fast, stock = (model.train() for model in models)
    fast.gradient_checkpointing_enable({"use_reentrant": False})
    calls = []
    fast.vilt.encoder.layer[0].intermediate.register_forward_hook(lambda *_: calls.append(1))
    assert_same_gradients(fast, stock, make_input())
    assert len(calls) == 2  # forward, and again on the way back


class Operations(TorchDispatchMode):
    """Remembers what torch is asked to compute."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        self.calls.append((func.overloadpacket.__name__, kwargs or {}))
        return func(*args, **kwargs or {})

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


def record(model: Any, given: dict[str, Any]) -> Operations:
    with Operations() as operations:
        model(**given).logits.sum().backward()
    return operations


WAITS = {"_local_scalar_dense", "nonzero", "_unique2", "is_nonzero", "equal", "masked_select"}
"""Operations whose result, or its size, the host must know: on a GPU it waits for them."""


@pytest.mark.parametrize("mask", [None, MASK], ids=["not-padded", "padded"])
def test_the_host_never_waits(models, mask) -> None:
    given = make_input(mask=mask)
    assert not WAITS & set(record(models[0].train(), given | {"image_index": torch.tensor([0, 1, 1])}).names)
    assert WAITS & set(record(models[1], given).names)  # stock does: the list of operations is right


def test_positions_are_interpolated_once(models) -> None:
    assert record(models[0], make_input()).names.count("upsample_bilinear2d") == 1
    assert "upsample_bilinear2d" not in record(models[0], make_input(32, 32)).names


def test_gradients_of_a_shared_image_are_added_up_in_one_order(models) -> None:
    names = record(models[0], make_input() | {"image_index": torch.tensor([1, 0, 1])}).names
    assert "index_add" in names  # of several threads, index_put adds whichever comes first
    assert not [name for name in names if "index_put" in name]


def test_attention_gets_a_mask_only_where_text_is_padded(models) -> None:
    def read_masks(mask: torch.Tensor | None) -> list[Any]:
        calls = record(models[0], make_input(mask=mask)).calls
        return [given.get("attn_mask") for name, given in calls if name.startswith("_scaled_dot_product")]

    assert read_masks(None) == [None] * 4  # two layers, forward and backward
    assert [mask is None for mask in read_masks(MASK)] == [False] * 4


def test_the_last_layer_is_computed_for_the_first_token_alone(models) -> None:
    tokens = []
    for layer in models[0].vilt.encoder.layer:
        layer.intermediate.register_forward_hook(lambda module, inputs, output: tokens.append(inputs[0].shape[1]))
    models[0](**make_input(32, 32))
    assert tokens == [6 + 1 + 16, 6 + 1 + 16, 1]


def test_no_random_number_is_drawn_in_evaluation(models) -> None:
    before = torch.get_rng_state()
    models[0](**make_input())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("training", "changes"),
    [(False, {"attention_mask": None}), (True, {"image_index": torch.tensor([1, 0, 1])})],
    ids=["answering", "training"],
)
def test_it_compiles_to_one_graph(models, training: bool, changes: dict[str, Any]) -> None:
    fast, given = models[0].train(training), make_input() | changes
    fast.vilt.encoder.layer = fast.vilt.encoder.layer[1:]  # two layers compile faster than three
    torch.compiler.reset()
    compiled = torch.compile(fast, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(**given).logits, fast(**given).logits)
    compiled(**given).logits.sum().backward()


STOCK_CALLS = {
    "attentions": {"output_attentions": True},
    "hidden states": {"output_hidden_states": True},
    "padded images": {"pixel_mask": (torch.arange(48) < torch.tensor([48, 24, 40])[:, None, None]).expand(3, 32, 48)},
    "token types": {"token_type_ids": torch.tensor([[0, 0, 0, 1, 1, 1]]).expand(3, 6)},
    "embedded words": {"inputs_embeds": torch.linspace(-1, 1, 3 * 6 * 32).view(3, 6, 32), "input_ids": None},
    "embedded images": {
        "image_embeds": torch.linspace(-1, 1, 3 * 5 * 32).view(3, 5, 32),
        "pixel_mask": torch.ones(3, 5),
        "pixel_values": None,
    },
    "tuple": {"return_dict": False},
}


@pytest.mark.parametrize("name", STOCK_CALLS)
def test_stock_answers_what_is_not_covered(models, name: str) -> None:
    outputs = []
    for model in models:
        torch.manual_seed(0)  # padding is drawn at random
        output = model(**{**make_input(), **STOCK_CALLS[name]})
        outputs.append(output if isinstance(output, tuple) else dict(output))
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("setting", [{"max_image_length": 4}, {"output_attentions": True}, {"return_dict": False}])
def test_stock_answers_what_its_configuration_asks_for(setting: dict[str, Any]) -> None:
    outputs = []
    for model in make_models(**setting):
        torch.manual_seed(0)  # patches are drawn at random
        output = model(**make_input())
        outputs.append(output if isinstance(output, tuple) else dict(output))
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-5)


def test_the_loss_is_that_of_stock(models) -> None:
    labels = torch.rand(3, 7)
    losses = [model(**make_input(), labels=labels).loss for model in models]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("stock_call", [{}, {"output_hidden_states": True}], ids=["fast", "stock"])
def test_questions_of_one_image_share_it(models, stock_call: dict[str, Any]) -> None:
    index, given = torch.tensor([1, 0, 1]), make_input()
    repeated = given | {"pixel_values": given["pixel_values"][index]}
    shared = models[0](**given, image_index=index, **stock_call).logits
    torch.testing.assert_close(shared, answer_stock(models[1], repeated), atol=1e-5, rtol=0.0)


def test_a_shared_image_is_embedded_once(models) -> None:
    images = []
    patches = models[0].vilt.embeddings.patch_embeddings
    patches.register_forward_hook(lambda module, inputs, output: images.append(len(inputs[0])))
    given = make_input()
    models[0](**given | {"pixel_values": given["pixel_values"][:1]}, image_index=torch.zeros(3, dtype=torch.long))
    assert images == [1]


@pytest.mark.parametrize("mask", [None, MASK], ids=["not-padded", "padded"])
@pytest.mark.parametrize("depth", range(4))
def test_answering_what_was_encoded_is_the_forward_pass_bit_for_bit(models, depth: int, mask) -> None:
    with torch.no_grad():
        hidden = models[0].encode(make_batch(attention_mask=mask), depth)
        logits = models[0].answer(hidden, depth)
        assert torch.equal(logits, models[0](**make_input(mask=mask)).logits)
    tokens = 1 if depth == 3 else 6 + 1 + 24
    assert hidden.states.shape == (3, tokens, 32)
    assert hidden.mask is None if mask is None or depth == 3 else hidden.mask.shape == (3, tokens)


def test_what_was_encoded_is_the_hidden_state_of_stock(models) -> None:
    states = models[1](**make_input(), output_hidden_states=True).hidden_states
    for depth in range(4):
        unshuffled = 1 if depth == 3 else 6 + 1  # text and the image's [CLS]; stock has patches in any order
        encoded = models[0].encode(make_batch(), depth).states[:, :unshuffled]
        torch.testing.assert_close(encoded, states[depth][:, :unshuffled], atol=1e-5, rtol=1e-5)


def test_a_frozen_trunk_keeps_nothing_for_the_way_back(models) -> None:
    models[0].vilt.requires_grad_(False)
    assert models[0].encode(make_batch(), 3).states.grad_fn is None
    assert models[0](**make_input()).logits.grad_fn is not None


def test_the_others_of_a_batch_change_next_to_nothing(models) -> None:
    with torch.inference_mode():
        together = models[0](**make_input()).logits
        alone = torch.cat([models[0](**{k: v[i : i + 1] for k, v in make_input().items()}).logits for i in range(3)])
    assert (together - alone).abs().max() <= 1e-6 * together.abs().max()


def test_the_length_that_text_is_padded_to_changes_next_to_nothing(models) -> None:
    given = make_input()
    padded = {name: torch.nn.functional.pad(given[name], (0, 10)) for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        logits = models[0](**given).logits
        assert (models[0](**given | padded).logits - logits).abs().max() <= 1e-6 * logits.abs().max()


@pytest.fixture
def folder(models, tmp_path: Path) -> Iterator[Path]:
    models[0].save_pretrained(tmp_path)
    return tmp_path


def test_a_saved_checkpoint_is_a_stock_one(models, folder: Path) -> None:
    assert json.loads((folder / "config.json").read_bytes())["architectures"] == ["ViltForQuestionAnswering"]
    stock, found = ViltForQuestionAnswering.from_pretrained(folder, output_loading_info=True)
    assert not any(found.values())
    torch.testing.assert_close(answer_stock(stock.eval(), make_input()), answer_stock(models[1], make_input()))


def test_a_stock_checkpoint_is_read(models, tmp_path: Path) -> None:
    models[1].save_pretrained(tmp_path)
    fast, found = FastViltForQuestionAnswering.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(found.values())
    assert torch.equal(fast(**make_input()).logits, models[0](**make_input()).logits)

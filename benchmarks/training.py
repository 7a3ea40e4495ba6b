"""Fine-tuning and asking ViLT, beside stock transformers fed as its guide feeds it.

    python benchmarks/training.py [--device cpu] [--precision fp32] [--batch 4] [--threads 1] [--repeats 3] [--only ROW]

Random weights of ViLT-B/32's size with 3,129 answers, images of COCO's shapes. The contenders of a row take turns in
one process at the same questions, with the same weights, precision, batch, threads, clipping and fused AdamW:

    stock          text padded to 40 tokens, images to the largest of their batch, as in transformers' guide
    stock, short   the same with text padded to the longest of its batch
    fast           what this project does

`full` and `lora` are steps of training, `inference` is answering. `last_layers` (two) and `head` are ten epochs, of
which `fast` computes once what is frozen: that pass and its epochs are measured; of stock one epoch is, and told
tenfold. `pixels` is the way from JPEGs to pixel values, the first time and from the cache. `memory` shows the peaks of
one pass, each in a process of its own.

Seconds are CPU seconds on a CPU, where neighbours disturb them least, and wall seconds on a GPU. The roof is a large
matrix product in the same precision; FLOPs are those of `fast`. Needs torch, transformers, peft, pyarrow, Pillow.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import transformers
from measuring import describe_machine
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from training_inputs import Fed, Question, feed_fast, feed_stock, generate_questions
from training_models import CACHED, CachedLearner, Learner, build_model
from training_pixels import NUM_IMAGES, build_pipelines

from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.fast_vilt import FastViltForQuestionAnswering
from vqa_pipeline.modeling.stock import ViltForQuestionAnswering
from vqa_pipeline.modeling.strategies import STRATEGIES

NUM_EPOCHS = 10
STOCK, SHORT, FAST = "stock", "stock, short", "fast"
KINDS = {STOCK: ViltForQuestionAnswering, FAST: FastViltForQuestionAnswering}


class Bench(NamedTuple):
    """What all rows share."""

    placement: Placement
    batch_size: int
    num_batches: int
    repeats: int
    compiles: bool

    @property
    def num_questions(self) -> int:
        """In one pass."""
        return self.batch_size * self.num_batches

    def generate(self) -> list[Question]:
        """The questions of a pass; the same every time."""
        return generate_questions(self.num_questions)

    def feed(self) -> dict[str, list[Fed]]:
        """The same questions for each contender."""
        questions, device = self.generate(), self.placement.device
        return {
            STOCK: feed_stock(questions, self.batch_size, device, pad_all=True),
            SHORT: feed_stock(questions, self.batch_size, device, pad_all=False),
            FAST: feed_fast(questions, self.batch_size, device),
        }

    def build_learners(self, strategy: str) -> dict[str, Learner]:
        """A learner for each contender."""
        stock_model = build_model(KINDS[STOCK], self.placement.device)
        fast_model = build_model(KINDS[FAST], self.placement.device, like=stock_model)
        if self.compiles:
            fast_model.compile()
        stock, fast = (Learner(model, strategy, self.placement) for model in (stock_model, fast_model))
        return {STOCK: stock, SHORT: stock, FAST: fast}

    def measure(self, passes: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        """Median seconds of each pass, taken in turn; the first of each does not count on a GPU."""
        if self.placement.device.type == "cuda":
            for run in passes.values():
                run()
        seconds: dict[str, list[float]] = {name: [] for name in passes}
        for _ in range(self.repeats):
            for name, run in passes.items():
                begin = self._read_clock()
                run()
                seconds[name].append(self._read_clock() - begin)
        return {name: statistics.median(measured) for name, measured in seconds.items()}

    def _read_clock(self) -> float:
        if self.placement.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


def measure_steps(bench: Bench, strategy: str) -> None:
    """Print a row: steps of training, or of answering."""
    fed, answers = bench.feed(), strategy == "inference"
    learners = bench.build_learners("full" if answers else strategy)

    def run(name: str) -> None:
        for batch in fed[name]:
            (learners[name].answer if answers else learners[name].step)(batch)

    for learner in learners.values():
        learner.model.train(not answers)
        (learner.answer if answers else learner.step)(fed[FAST][0])  # what is made once is not measured
    seconds = bench.measure({name: lambda name=name: run(name) for name in fed})
    with FlopCounterMode(display=False) as flops, sdpa_kernel(SDPBackend.MATH):
        run(FAST)
    print_row(bench, strategy, seconds, f"{flops.get_total_flops() / seconds[FAST] / measure_roof(bench):6.0%} of roof")


def measure_epochs(bench: Bench, strategy: str) -> None:
    """Print a row: ten epochs of learning the last of the model."""
    fed, learners = bench.feed(), bench.build_learners(strategy)
    cached = CachedLearner(learners[FAST], bench.generate(), fed[FAST])

    def run(name: str) -> None:
        for batch in fed[name]:
            learners[name].step(batch)

    def run_cached() -> None:
        for _ in range(NUM_EPOCHS):
            cached.run_epoch()

    cached.encode()
    cached.run_epoch()
    passes = {STOCK: lambda: run(STOCK), SHORT: lambda: run(SHORT), "encode": cached.encode, FAST: run_cached}
    measured = bench.measure(passes)
    seconds = {name: NUM_EPOCHS * measured[name] for name in (STOCK, SHORT)}
    seconds[FAST] = measured["encode"] + measured[FAST]
    print_row(bench, strategy, seconds, f"{measured['encode'] / seconds[FAST]:6.0%} of it encodes")


def print_row(bench: Bench, name: str, seconds: Mapping[str, float], note: str = "") -> None:
    """Milliseconds per question, and what stock takes to what `fast` takes."""
    told = [f"{1000 * seconds[each] / bench.num_questions:10.2f}" for each in (STOCK, SHORT, FAST)]
    ratios = [f"{seconds[each] / seconds[FAST]:8.2f}" for each in (STOCK, SHORT)]
    print(f"{name:<12}", *told, *ratios, f" {note}", flush=True)


def measure_roof(bench: Bench) -> float:
    """FLOP/s of a large square matrix product."""
    device, dtype = bench.placement.device, {"fp32": torch.float32, "bf16": torch.bfloat16}[bench.placement.precision]
    size, times = (8192, 20) if device.type == "cuda" else (2048, 3)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def multiply() -> None:
        for _ in range(times):
            left @ right

    multiply()
    return 2 * size**3 * times / bench.measure({"roof": multiply})["roof"]


def measure_pixels(bench: Bench) -> None:
    """Print a row: images per second."""
    with tempfile.TemporaryDirectory() as folder:
        pipelines = build_pipelines(Path(folder), bench.batch_size)
        for run in pipelines.values():
            run()
        seconds = bench._replace(placement=Placement(torch.device("cpu"), "fp32")).measure(pipelines)
    told = (
        f"{name}: {NUM_IMAGES / taken:,.0f} images/s, {seconds[STOCK] / taken:.1f} x" for name, taken in seconds.items()
    )
    print(f"{'pixels':<12}", "; ".join(told), flush=True)


def measure_memory(_bench: Bench) -> None:
    """Print peaks, host and GPU, of every strategy."""
    for strategy in STRATEGIES:
        for name in (STOCK, FAST):
            command = [sys.executable, *sys.argv, "--peak", f"{strategy}/{name}"]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            print(f"{'memory':<12} {strategy}, {name}: {told}", flush=True)


def tell_peak(bench: Bench, strategy: str, name: str) -> None:
    """Print the peaks of this process after one pass."""
    learner, fed = Learner(build_model(KINDS[name], bench.placement.device), strategy, bench.placement), bench.feed()
    if name == FAST and strategy in CACHED:
        cached = CachedLearner(learner, bench.generate(), fed[FAST])
        cached.encode()
        cached.run_epoch()
    else:
        for batch in fed[name]:
            learner.step(batch)
    lines = Path("/proc/self/status").read_text().splitlines()  # getrusage tells the parent's peak where it is higher
    peak_kb = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    told = f"host {peak_kb / 1024:,.0f} MB"
    if bench.placement.device.type == "cuda":
        told += f", GPU {torch.cuda.max_memory_allocated() / 1024**2:,.0f} MB"
    print(told)


ROWS: dict[str, Callable[[Bench], None]] = {
    "full": lambda bench: measure_steps(bench, "full"),
    "lora": lambda bench: measure_steps(bench, "lora"),
    "inference": lambda bench: measure_steps(bench, "inference"),
    "last_layers": lambda bench: measure_epochs(bench, "last_layers"),
    "head": lambda bench: measure_epochs(bench, "head"),
    "pixels": measure_pixels,
    "memory": measure_memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="bf16 on a GPU, fp32 on a CPU unless said")
    parser.add_argument("--batch", type=int, help="questions; 128 on a GPU, 4 on a CPU unless said")
    parser.add_argument("--batches", type=int, default=4, help="of a pass")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="let torch compile the fast model")
    parser.add_argument("--only", choices=ROWS, action="append", help="a row; may be repeated")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    on_gpu = options.device == "cuda"
    placement = Placement(torch.device(options.device), options.precision or ("bf16" if on_gpu else "fp32"))
    batch_size = options.batch or (128 if on_gpu else 4)
    bench = Bench(placement, batch_size, options.batches, options.repeats, options.compile)
    if options.peak:
        tell_peak(bench, *options.peak.split("/"))
        return
    print(describe(bench, options.threads))
    print(f"{'':<12} {STOCK:>10} {SHORT:>10} {FAST:>10} {'to stock':>8} {'to short':>8}  (ms per question; ratios)")
    for row in options.only or ROWS:
        ROWS[row](bench)


def describe(bench: Bench, threads: int) -> str:
    """Machine, versions and sizes."""
    gpu = f", {torch.cuda.get_device_name()}" if bench.placement.device.type == "cuda" else ""
    return (
        f"{describe_machine()}{gpu}; torch {torch.__version__}, transformers {transformers.__version__}\n"
        f"{bench.placement.precision}, batches of {bench.batch_size}, {bench.num_questions} questions a pass, "
        f"{threads} threads, medians of {bench.repeats}; roof {measure_roof(bench) / 1e12:.3g} TFLOP/s"
    )


if __name__ == "__main__":
    main()

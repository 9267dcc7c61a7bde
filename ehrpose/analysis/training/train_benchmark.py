"""Speed of a training step in several numeric forms compared with plain float32, in one run."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.model import BaseModel

from ehrpose.config import load_config, resolve
from ehrpose.counted import counted
from ehrpose.data_sample import PoseDataSample
from ehrpose.models.cpu_training import use_cpu_kernels, why_no_kernels
from ehrpose.registry import MODELS


@dataclass
class Variant:
    """A form of the training step, and its measurements."""

    name: str
    dtype: torch.dtype
    channels_last: bool
    kernels: bool = False
    seconds: list[float] = field(default_factory=list)
    peak_mib: float = 0.0

    def median(self) -> float:
        return statistics.median(self.seconds)


def variants(device: str) -> list[Variant]:
    """Return the forms that ``device`` supports, plain float32 first."""
    forms = [(torch.float32, "fp32"), (torch.bfloat16, "bf16")]
    if device != "cpu":
        forms.append((torch.float16, "fp16"))
    found = []
    for dtype, name in forms:
        found += [Variant(name, dtype, False), Variant(f"{name}, channels_last", dtype, True)]
        if device == "cpu" and why_no_kernels() is None:
            found.append(Variant(f"{name}, kernels", dtype, True, kernels=True))
    return found


class TrainBenchmark:
    """Forward, losses and backward of one model on one batch with ``num_people`` people per image.

    Args:
        config: Config file.
        batch_size: Images per batch.
        device: ``"cpu"``, ``"cuda:0"``, ...
        num_people: People per image.
    """

    def __init__(self, config: str, batch_size: int, device: str, num_people: int = 3):
        torch.manual_seed(0)
        self.device = device
        self.model: BaseModel = MODELS.build(resolve(load_config(config)).model).to(device).train()
        self.with_kernels = copy.deepcopy(self.model)
        use_cpu_kernels(self.with_kernels)
        codec: Any = self.model.codec
        self.side, self.batch_size = codec.input_size, batch_size
        rng = np.random.default_rng(0)
        self.images = torch.randn(batch_size, 3, self.side, self.side, device=device)
        self.samples = []
        for _ in range(batch_size):
            keypoints = rng.uniform(0, self.side, (num_people, codec.num_keypoints, 2))
            targets = codec.encode_points(keypoints, np.full(keypoints.shape[:2], 2))
            tensors = {name: torch.from_numpy(array) for name, array in targets.items()}
            self.samples.append(PoseDataSample(gt_targets=tensors))

    def step(self, variant: Variant) -> float:
        """Run one step; return its seconds."""
        layout = torch.channels_last if variant.channels_last else torch.contiguous_format
        model = self.with_kernels if variant.kernels else self.model
        model.to(memory_format=layout)
        images = self.images.contiguous(memory_format=layout)
        model.zero_grad(set_to_none=True)
        self._synchronise()
        start = time.perf_counter()
        kind = self.device.split(":")[0]
        with torch.autocast(kind, variant.dtype, enabled=variant.dtype != torch.float32):
            losses = model(images, self.samples, mode="loss")
        sum(losses.values()).backward()
        self._synchronise()
        return time.perf_counter() - start

    def measure(self, forms: Sequence[Variant], rounds: int) -> None:
        """Time ``rounds`` interleaved steps of each form, after a warm-up step."""
        for turn in range(rounds + 1):
            for form in forms:
                if self.device != "cpu":
                    torch.cuda.reset_peak_memory_stats(self.device)
                seconds = self.step(form)
                if turn:
                    form.seconds.append(seconds)
                if self.device != "cpu":
                    form.peak_mib = torch.cuda.max_memory_allocated(self.device) / 2**20

    def _synchronise(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize(self.device)


def print_train_benchmark(
    configs: Sequence[str], batch_size: int, rounds: int, device: str | None, threads: int | None
) -> None:
    """Print the table of ``tools/analysis_tools/benchmark_training.py``."""
    from ehrpose.engine.allocator import keep_freed_memory

    device = device or get_device()
    if device == "cpu":
        keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    where = (
        counted(torch.get_num_threads(), "thread") if device == "cpu" else torch.cuda.get_device_name(device)
    )
    print(f"forward, losses and backward; batch {batch_size}; {device}, {where}")
    print(f"{'model':<22}{'form':<22}{'images/s':>10}{'ratio':>8}{'peak MiB':>10}")
    for config in configs:
        benchmark = TrainBenchmark(config, batch_size, device)
        forms = variants(device)
        benchmark.measure(forms, rounds)
        for form in forms:
            rate, ratio = batch_size / form.median(), forms[0].median() / form.median()
            peak = f"{form.peak_mib:.0f}" if device != "cpu" else "-"
            name = config.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".py")
            print(f"{name:<22}{form.name:<22}{rate:>10.2f}{ratio:>8.2f}{peak:>10}")

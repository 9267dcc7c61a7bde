"""Training steps of a classifier against timm's network of the same size, in one interleaved run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ehrpose.config import load_config, resolve
from ehrpose.counted import counted
from ehrpose.engine.allocator import keep_freed_memory
from ehrpose.models.cpu_training import use_cpu_kernels, why_no_kernels
from ehrpose.registry import MODELS


@dataclass
class Contender:
    """A network with its optimiser in one numeric form, and the seconds of its steps.

    Attributes:
        name: Whose network it is.
        network: Returns logits of images.
        dtype: ``torch.float32``, or the type of autocast.
        channels_last: Memory format of weights and images.
        kernels: Train norms and depthwise convolutions in compiled kernels.
        seconds: One entry per step.
    """

    name: str
    network: nn.Module
    dtype: torch.dtype
    channels_last: bool
    kernels: bool = False
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.kernels:
            use_cpu_kernels(self.network)
        self.network.to(memory_format=self._format()).train()  # type: ignore[call-overload]
        self._optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    @property
    def form(self) -> str:
        """Precision and memory format in words."""
        precision = "fp32" if self.dtype == torch.float32 else "bf16"
        if self.kernels:
            return f"{precision}, kernels"
        return f"{precision}, channels_last" if self.channels_last else precision

    def step(self, images: Tensor, labels: Tensor) -> float:
        """Run forward, loss, backward and the optimiser once; return the seconds."""
        images = images.contiguous(memory_format=self._format())
        start = time.perf_counter()
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", self.dtype, enabled=self.dtype != torch.float32):
            logits = self.network(images)
        F.cross_entropy(logits.float(), labels).backward()
        self._optimizer.step()
        return time.perf_counter() - start

    def _format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format


def contenders(config: str, rival: str, num_classes: int = 1000) -> list[Contender]:
    """Return ours and timm's in float32 and bfloat16, in both memory formats, and ours with compiled kernels.

    timm's only if it is installed.

    Args:
        config: Config of a classifier.
        rival: Name of timm's network.
        num_classes: Classes of both.
    """
    model = resolve(load_config(config, {"num_classes": num_classes})).model
    makers: list[tuple[str, Callable[[], Any]]] = [("ehrpose", lambda: MODELS.build(model))]
    try:
        import timm

        makers.append(("timm", lambda: timm.create_model(rival, num_classes=num_classes, drop_path_rate=0.2)))
    except ImportError:
        pass
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        for channels_last in (False, True):
            found += [Contender(name, make(), dtype, channels_last) for name, make in makers]
        if why_no_kernels() is None:
            found.append(Contender("ehrpose", makers[0][1](), dtype, True, kernels=True))
    return found


def print_classifier_benchmark(
    config: str, rival: str, side: int | None, batch_size: int, rounds: int, threads: int | None
) -> None:
    """Print the table of ``tools/analysis_tools/benchmark_classification.py``."""
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    side = side or int(resolve(load_config(config)).input_size)
    found = contenders(config, rival)
    measure(found, side, batch_size, rounds)
    print(
        f"forward, loss, backward, SGD; {side} px, batch {batch_size}; cpu, "
        f"{counted(torch.get_num_threads(), 'thread')}; median of {counted(rounds, 'round')}"
    )
    print(f"{'network':<10}{'form':<22}{'images/s':>10}{'/ timm, same precision':>26}")
    plain = {c.dtype: statistics.median(c.seconds) for c in found if c.name == "timm" and not c.channels_last}
    for one in found:
        seconds = statistics.median(one.seconds)
        ratio = f"{plain[one.dtype] / seconds:.2f}" if plain else "timm is not installed"
        print(f"{one.name:<10}{one.form:<22}{batch_size / seconds:>10.2f}{ratio:>26}")


def measure(found: Sequence[Contender], side: int, batch_size: int, rounds: int) -> None:
    """Time steps of all contenders, taking turns.

    Before each there is one that is not counted: it finds the memory that another form has left, in other sizes.
    """
    images = torch.randn(batch_size, 3, side, side)
    labels = torch.arange(batch_size) % 10
    for _ in range(rounds):
        for one in found:
            one.step(images, labels)
            one.seconds.append(one.step(images, labels))

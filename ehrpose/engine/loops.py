"""Training loops."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from mmengine.runner import IterBasedTrainLoop
from torch import nn

from ehrpose.engine.seeding import SeededSampler
from ehrpose.registry import LOOPS


@LOOPS.register_module()
class ResumableIterBasedTrainLoop(IterBasedTrainLoop):
    """MMEngine's loop by iterations, but a resumed run goes straight to its place in the data.

    MMEngine reads and augments again every batch that was trained before. Here each item's randomness depends on
    its position alone, so the sampler can start in the middle. Arguments as for IterBasedTrainLoop.
    """

    dataloader_iterator: Iterator[Any]

    def run(self) -> nn.Module:
        """Train from the iteration that was resumed to the last."""
        sampler, count = self.dataloader.sampler, self._iter * (self.dataloader.batch_size or 0)
        if count > 0 and isinstance(sampler, SeededSampler) and sampler.start_at(count):
            # The parent class draws the batches to be skipped itself.
            nothing = itertools.repeat(None, self._iter)
            self.dataloader_iterator = itertools.chain(nothing, iter(self.dataloader))
        return super().run()

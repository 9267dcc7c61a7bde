"""torch: runs a network written by ``torch.export``, without ehrpose's model code (imports on Python 3.8).

A ``.pt2`` file is a program. ``torch.export.load`` of torch 2.13 unpickles, without restriction, what the archive's own
configuration marks as pickled (weights, constants, custom objects, and sample inputs if the safe way fails), evaluates
the text of symbolic sizes with sympy, and finds operators by their dotted names in torch. No argument switches that
off, hence ``trust_pt2``.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Optional, Union

import numpy as np

from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.sidecar import DeployError
from ehrpose.registry import BACKENDS
from ehrpose.torch_threads import before_torch_computes, set_torch_threads


@BACKENDS.register_module(name="torch")
class TorchBackend(Backend):
    """Run a ``.pt2`` file with torch; see ``Backend``.

    Args:
        path: The network's file, with its JSON sidecar next to it.
        num_threads: CPU threads of the whole process; None: torch's setting is kept. 1 in a process that was forked
            after its parent opened a torch model.
        check_hashes: Verify the hashes of the files first.
        device: ``"cpu"``, ``"cuda:0"``, ...; None: the CPU.
        channels_last: Keep the weights in channels-last memory, which is faster on most CPUs and GPUs.
        precision: ``"fp32"`` or ``"bf16"`` arithmetic; None: as in the sidecar.
        trust_pt2: Load the file although that may run any code in it; without, it is refused.
    """

    name = "torch"

    def __init__(
        self,
        path: Union[str, os.PathLike[str]],
        num_threads: Optional[int] = None,
        check_hashes: bool = True,
        device: Optional[str] = None,
        channels_last: bool = True,
        precision: Optional[str] = None,
        trust_pt2: bool = False,
    ):
        if precision not in (None, "fp32", "bf16"):
            raise ValueError(f"precision must be 'fp32' or 'bf16', got {precision!r}")
        if trust_pt2 is not True:
            raise DeployError(
                f"{path} is not opened: a .pt2 file is a program, and torch runs code in it when it loads it. If you "
                "made the file or trust who did, pass `trust_pt2=True`; exports as .onnx contain no code"
            )
        self.channels_last, self.precision = channels_last, precision
        super().__init__(path, num_threads, check_hashes, device)

    def _load(self) -> None:
        try:
            import torch
        except ImportError as error:
            raise self._missing(error) from error
        if self.num_threads is not None:
            set_torch_threads(self.num_threads)
        before_torch_computes()
        self._torch: Any = torch
        try:
            module: Any = torch.export.load(str(self.path)).module()
        except Exception as error:  # of many types, for files that are truncated or of another version
            made = self.sidecar.versions.get("torch", "another version")
            raise DeployError(
                f"torch {torch.__version__} cannot load {self.path} ({_first_line(error)}), written by torch {made}: "
                "export it again"
            ) from error
        try:
            module = module.to(self.device)
        except (RuntimeError, AssertionError) as error:
            raise DeployError(f"`device` {self.device!r} cannot be used: {_first_line(error)}") from error
        if self.channels_last:
            module = module.to(memory_format=torch.channels_last)
        self._module = module

    def _run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        module = self._module  # another thread may close it; runs themselves share no state
        if module is None:
            raise DeployError(f"{self.path} was closed")
        before_torch_computes()
        torch, half = self._torch, self.used_precision == "bf16"
        try:
            with torch.no_grad(), torch.autocast(
                torch.device(self.device).type, torch.bfloat16, enabled=half
            ):
                outputs = module(torch.from_numpy(images).to(self.device))
        except RuntimeError as error:
            raise DeployError(f"torch failed on {self.path}: {_first_line(error)}") from error
        arrays = [part.float() if part.is_floating_point() else part.int() for part in outputs]
        return {name: part.cpu().numpy() for name, part in zip(self.sidecar.outputs, arrays)}

    def _checked_device(self, device: Optional[str]) -> str:
        return "cpu" if device is None else str(device)  # torch itself refuses others

    @property
    def used_precision(self) -> str:
        """See ``Backend``."""
        return self.precision or self.sidecar.precision

    def close(self) -> None:
        self._module = None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

"""ncnn, small and without dependencies, for phones and Arm boards (no torch, Python 3.8)."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np

from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.sidecar import DeployError
from ehrpose.registry import BACKENDS
from ehrpose.threads import default_threads


@BACKENDS.register_module(name="ncnn")
class NcnnBackend(Backend):
    """Run a ``.param`` file, its ``.bin`` beside it, with ncnn on the CPU; see ``Backend``.

    Images of a batch are run one after the other, as ncnn has no batches. Several threads may run at once.

    Args:
        path: See ``Backend``.
        num_threads: CPU threads; None: ``OMP_NUM_THREADS``, the container's share, or ncnn's default.
        check_hashes: See ``Backend``.
        device: ``"cpu"``, or None.
    """

    name = "ncnn"

    def _load(self) -> None:
        try:
            import ncnn
        except ImportError as error:
            raise self._missing(error) from error
        self._ncnn = ncnn
        network = ncnn.Net()
        threads = self.num_threads or default_threads()
        if threads is not None:
            network.opt.num_threads = threads
        if self.sidecar.precision == "fp32":
            # By default ncnn computes in float16 or bfloat16 where the CPU has them.
            for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
                setattr(network.opt, name, False)
        weights = self.path.with_suffix(".bin")
        if network.load_param(str(self.path)) or network.load_model(str(weights)):
            raise DeployError(f"ncnn cannot load {self.path} with {weights.name}: export again")
        # pnnx names the outputs in0, out0, out1, ... in the order of the network's.
        self._outputs = {name: f"out{index}" for index, name in enumerate(self.sidecar.outputs)}
        missing = sorted(set(self._outputs.values()) - set(network.output_names()))
        if missing or list(network.input_names()) != ["in0"]:
            raise DeployError(f"{self.path} lacks the outputs {missing}, or in0 as its input: export again")
        self._network: Any = network

    def _run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        network = self._network  # another thread may close it; runs themselves share no state
        if network is None:
            raise DeployError(f"{self.path} was closed")
        found = [self._one(network, image) for image in images]
        return {name: np.stack([maps[name] for maps in found]) for name in self.sidecar.outputs}

    def _one(self, network: Any, image: np.ndarray) -> Dict[str, np.ndarray]:
        extractor = network.create_extractor()
        extractor.input("in0", self._ncnn.Mat(np.ascontiguousarray(image)))
        maps = {}
        for name, output in self._outputs.items():
            failed, values = extractor.extract(output)
            if failed:
                raise DeployError(f"ncnn failed on {self.path}, output {name}")
            maps[name] = np.array(values)
        return maps

    def close(self) -> None:
        self._network = None

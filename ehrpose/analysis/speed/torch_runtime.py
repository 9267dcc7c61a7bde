"""The eager torch model behind the interface of an exported network's runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ehrpose.deploy.network_input import prepare_image
from ehrpose.deploy.sidecar import build_codec, read_sidecar
from ehrpose.inferencers.predictors import TorchPredictor
from ehrpose.structures import Maps, People, invert_warp


class TorchRuntime:
    """A torch model that takes the inputs of its exported network, so that both see the same pixels.

    Args:
        path: The exported network, whose sidecar describes the input.
        config: Config file.
        checkpoint: Weights.
        cfg_options: Values that replace those of the config.
        channels_last: Keep weights and images in channels-last memory.
    """

    def __init__(
        self,
        path: Any,
        config: str,
        checkpoint: str,
        cfg_options: Mapping[str, Any] | None = None,
        channels_last: bool = False,
    ):
        self.sidecar = read_sidecar(path, check_hashes=False)
        self.codec = build_codec(self.sidecar, path)
        self._predictor = TorchPredictor(config, checkpoint, "cpu", dict(cfg_options or {}))
        self.model = self._predictor.model
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.model.to(memory_format=self.format)

    def prepare(self, image: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the network's input for one image, without the batch axis, and the warp from the photo."""
        return prepare_image(image, self.sidecar)

    def run(self, batch: np.ndarray) -> Maps:
        """Run the network on a batch of prepared images."""
        return self._predictor.raw_maps(torch.from_numpy(batch).contiguous(memory_format=self.format))

    def predict(self, images: Sequence[Any]) -> list[People]:
        """Return the people of each photo."""
        found = []
        for image in images:
            pixels, warp = self.prepare(image)
            people = self.codec.decode(self.run(pixels[None]).image(0))
            found.append(people.warped(invert_warp(warp)))
        return found

    def close(self) -> None:
        """Do nothing; the model is freed with its last reference."""

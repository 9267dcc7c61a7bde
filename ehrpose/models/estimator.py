"""Bottom-up estimator: backbone, neck, head and codec behind MMEngine's model interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from ehrpose.data_sample import PoseDataSample
from ehrpose.registry import MODELS
from ehrpose.structures import invert_warp
from ehrpose.torch_threads import before_torch_computes


@MODELS.register_module()
class BottomUpEstimator(BaseModel):
    """Find all people in an image in one pass.

    Args:
        backbone: Config; its ``out_channels`` and ``out_strides`` are passed to the neck.
        neck: Config; its ``out_channels`` are passed to the head. None: the backbone's maps go to the head as they are
            (``PassThroughNeck``).
        head: Config; contains the codec.
        flip_test: Average the heatmaps with those of the mirrored image; its tags are concatenated.
        data_preprocessor: Config of the preprocessor; ``PosePreprocessor`` by default.
        init_cfg: MMEngine's initialisation.
    """

    def __init__(
        self,
        backbone: Mapping,
        neck: Mapping | None,
        head: Mapping,
        flip_test: bool = False,
        data_preprocessor: Mapping | None = None,
        init_cfg: dict | None = None,
    ):
        preprocessor = MODELS.build(dict(data_preprocessor or {"type": "PosePreprocessor"}))
        super().__init__(preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        taps = {"in_channels": self.backbone.out_channels, "in_strides": self.backbone.out_strides}
        self.neck = MODELS.build({**taps, **(neck or {"type": "PassThroughNeck"})})
        self.head = MODELS.build({"in_channels": self.neck.out_channels, **head})
        self.flip_test = flip_test
        self.side_multiple = side_multiple(self)

    @property
    def codec(self) -> Any:
        """The head's codec."""
        return self.head.codec

    def forward(
        self, inputs: Any, data_samples: Sequence[PoseDataSample] | None = None, mode: str = "tensor"
    ) -> Any:
        """Run the network.

        Args:
            inputs: (B, 3, H, W) normalised images, H and W multiples of 32 (``side_multiple``); in ``predict`` also a
                list of (1, 3, H, W) images of different shapes, or a list of lists of them, one per test scale.
            data_samples: Targets (``loss``) or warps (``predict``) of the images.
            mode: ``"tensor"``: the codec's maps; ``"loss"``: dict of losses; ``"predict"``: samples with people.

        Raises:
            ValueError: Unknown mode, or sides that are not multiples of 32.
        """
        before_torch_computes()
        if mode == "tensor":
            return self.maps(inputs)
        if mode == "loss":
            return self.losses(inputs, data_samples)
        if mode == "predict":
            return self._predict(inputs, data_samples)
        raise ValueError(f"mode must be 'tensor', 'loss' or 'predict', got {mode!r}")

    def losses(self, images: Tensor, data_samples: Sequence[PoseDataSample] | None) -> dict[str, Tensor]:
        """Return the head's losses of (B, 3, H, W) normalised images."""
        return self._head_losses(self._features(images), data_samples)

    def _head_losses(self, features: Any, data_samples: Sequence[PoseDataSample] | None) -> dict[str, Tensor]:
        # A head with intermediate supervision returns the maps of all its stages.
        head = getattr(self.head, "training_maps", self.head)
        return self.head.loss(head(features), self._targets(data_samples))

    def maps(self, images: Tensor) -> Any:
        """Return the maps of (B, 3, H, W) normalised images, of the codec's ``maps_type``."""
        return self.head(self._features(images))

    def _features(self, images: Tensor) -> Any:
        offset = getattr(self.codec, "side_offset", 0)
        if any((side - offset) % self.side_multiple for side in images.shape[-2:]):
            plus = f", plus {offset}" if offset else ""
            raise ValueError(
                f"image sides must be multiples of {self.side_multiple}{plus}, got {tuple(images.shape[-2:])}"
            )
        return self.neck(self.backbone(images))

    def _targets(self, data_samples: Sequence[PoseDataSample] | None) -> dict[str, Tensor]:
        if not data_samples:
            raise ValueError("mode 'loss' needs data_samples with targets: is EncodeTargets in the pipeline?")
        from ehrpose.models.target_batch import collate_targets  # only training needs it

        device = next(self.parameters()).device
        return collate_targets(self.codec, [sample.gt_targets for sample in data_samples], device)

    @torch.no_grad()
    def test_maps(self, images: Tensor) -> list[Any]:
        """Return the NumPy maps of each image of (B, 3, H, W), merged with the mirrored pass if ``flip_test``."""
        maps = self.maps(images)
        if self.flip_test:
            maps = self._merge_flipped(maps, self.maps(images.flip(3)))
        arrays = type(maps)(*(None if field is None else field.float().cpu().numpy() for field in maps))
        return [arrays.image(i) for i in range(len(images))]

    def _merge_flipped(self, maps: Any, flipped: Any) -> Any:
        merged = {}
        for name, rule in self.codec.mirror_rules().items():
            field, mirror = getattr(maps, name), getattr(flipped, name).flip(3)[:, list(rule.channels)]
            if rule.negated:
                mirror[:, list(rule.negated)] *= -1
            merged[name] = torch.cat([field, mirror], dim=1) if rule.concatenate else (field + mirror) / 2
        return maps._replace(**merged)

    def _predict(self, inputs: Any, data_samples: Sequence[PoseDataSample] | None) -> list[PoseDataSample]:
        if isinstance(inputs, Tensor):
            per_image: list[Any] = list(self.test_maps(inputs))
        else:
            per_image = [
                [self.test_maps(scale)[0] for scale in image] if isinstance(image, (list, tuple)) else
                self.test_maps(image)[0]
                for image in inputs
            ]  # fmt: skip
        samples = list(data_samples) if data_samples is not None else [PoseDataSample() for _ in per_image]
        for maps, sample in zip(per_image, samples):
            people = self.codec.decode(maps)
            if "warp" in sample.metainfo_keys():
                people = people.warped(invert_warp(np.asarray(sample.warp)))
            sample.pred_instances = InstanceData(**people.to_fields())
        return samples


def side_multiple(model: Any) -> int:
    """Return what both sides of a model's input must be multiples of, px: 32, or what its backbone asks for."""
    return getattr(model.backbone, "side_multiple", 32)

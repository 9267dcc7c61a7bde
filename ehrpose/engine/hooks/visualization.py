"""Draw predictions while validating and testing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.hooks import Hook

from ehrpose.data_sample import PoseDataSample
from ehrpose.image_io import read_image
from ehrpose.registry import HOOKS


@HOOKS.register_module()
class PoseVisualizationHook(Hook):
    """Pass every n-th image with its predictions to the runner's visualizer.

    Args:
        out_dir: Folder for the drawn images, created if missing; None writes none.
        show: Show them in a window.
        interval: Draw every n-th image, from 1.
        wait_time: Seconds to show each image.
        draw_gt: Draw the annotations next to the predictions.
        enable: False turns the hook off.
    """

    def __init__(
        self,
        out_dir: str | None = None,
        show: bool = False,
        interval: int = 50,
        wait_time: float = 1.0,
        draw_gt: bool = False,
        enable: bool = True,
    ):
        self.out_dir = None if out_dir is None else Path(out_dir)
        self.show = show
        self.interval = interval
        self.wait_time = wait_time
        self.draw_gt = draw_gt
        self.enable = enable and (show or out_dir is not None)
        self._seen = 0

    def before_val_epoch(self, runner: Any) -> None:
        self._seen = 0

    def before_test_epoch(self, runner: Any) -> None:
        self._seen = 0

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self._draw(runner, data_batch, outputs or (), f"_epoch{runner.epoch}")

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self._draw(runner, data_batch, outputs or (), "")

    def _draw(self, runner: Any, data_batch: Mapping, outputs: Sequence[PoseDataSample], suffix: str) -> None:
        if not self.enable:
            return
        for place, sample in enumerate(outputs):
            self._seen += 1
            if (self._seen - 1) % self.interval:
                continue
            name = Path(sample.get("img_path") or str(sample.img_id)).stem
            photo = photo_of(sample, data_batch["inputs"][place])
            out_file = None
            if self.out_dir is not None:
                self.out_dir.mkdir(parents=True, exist_ok=True)
                out_file = str(self.out_dir / f"{name}{suffix}.jpg")
            runner.visualizer.add_datasample(
                name,
                np.ascontiguousarray(photo[..., ::-1]),
                sample,
                draw_gt=self.draw_gt,
                show=self.show,
                wait_time=self.wait_time,
                out_file=out_file,
                step=runner.iter,
            )


def photo_of(sample: PoseDataSample, inputs: Any) -> np.ndarray:
    """Return the photo of a sample, (H, W, 3) uint8 BGR: from its file, or else its input warped back.

    Args:
        sample: With ``img_path``, or with ``warp`` and ``ori_shape``.
        inputs: (3, h, w) uint8 BGR tensor, or a list of them with scale 1.0 first.
    """
    if sample.get("img_path"):
        return read_image(sample.img_path)
    image = (inputs[0] if isinstance(inputs, (list, tuple)) else inputs).cpu().numpy().transpose(1, 2, 0)
    height, width = sample.ori_shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(np.ascontiguousarray(image), np.asarray(sample.warp), (width, height), flags=flags)

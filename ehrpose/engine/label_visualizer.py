"""MMEngine visualizer that writes classes on photos."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmengine.visualization import Visualizer

from ehrpose.engine.manager_lock import manager_lock_freed
from ehrpose.registry import VISUALIZERS
from ehrpose.visualization.drawing import write_picture

_GREEN, _RED, _GREY = (60, 150, 40), (50, 50, 200), (90, 90, 90)
# Narrower photos are enlarged, so that the text fits.
_WIDTH, _BAR = 320, 24


@VISUALIZERS.register_module()
class LabelVisualizer(Visualizer):
    """Write what a classifier says of an image above it, green where it is right and red where it is wrong.

    Its arguments are those of MMEngine's Visualizer (``vis_backends``, ``save_dir``).
    """

    @classmethod
    def get_instance(cls, name: str, **kwargs: Any) -> LabelVisualizer:
        """Return the visualizer of that name, made with ``kwargs`` if there is none; see MMEngine."""
        with manager_lock_freed():
            return super().get_instance(name, **kwargs)

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: Any = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        step: int = 0,
        **_: Any,
    ) -> np.ndarray:
        """Draw one image and return the picture, RGB.

        Args:
            name: Name of the picture in the backends.
            image: (H, W, 3) uint8 RGB.
            data_sample: LabelDataSample.
            draw_gt: Write the image's own class, if it is known.
            draw_pred: Write the likeliest class and its probability.
            show: Show a window.
            wait_time: Seconds that the window stays; 0 waits for a key.
            out_file: File to write, instead of the backends.
            step: Step for the backends.
        """
        texts, color = self._texts(data_sample, draw_gt, draw_pred)
        bgr = np.ascontiguousarray(image[..., ::-1])
        if bgr.shape[1] < _WIDTH:
            factor = -(-_WIDTH // bgr.shape[1])
            bgr = cv2.resize(bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
        for text in reversed(texts):
            bar = np.full((_BAR, bgr.shape[1], 3), color, np.uint8)
            cv2.putText(bar, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
            bgr = np.vstack([bar, bgr])
        rgb = np.ascontiguousarray(bgr[..., ::-1])
        if show:
            self.show(rgb, win_name=name, wait_time=wait_time)
        if out_file is not None:
            write_picture(out_file, bgr)
        else:
            self.add_image(name, rgb, step)
        return rgb

    def _texts(self, sample: Any, draw_gt: bool, draw_pred: bool) -> tuple[list[str], tuple[int, int, int]]:
        texts, color = [], _GREY
        known = sample is not None and "gt_label" in sample
        if draw_pred and sample is not None and "pred_label" in sample:
            score = float(sample.pred_scores[sample.pred_label])
            texts.append(f"{self._name(sample.pred_label)} {score:.2f}")
            if known:
                color = _GREEN if sample.pred_label == sample.gt_label else _RED
        if draw_gt and known:
            texts.append(f"is {self._name(sample.gt_label)}")
        return texts, color

    def _name(self, label: int) -> str:
        names = (self.dataset_meta or {}).get("classes") or ()
        text = names[label] if label < len(names) else f"class {label}"
        return text.encode("ascii", "replace").decode()

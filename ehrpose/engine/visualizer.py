"""MMEngine visualizer that draws people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.visualization import Visualizer

from ehrpose.engine.manager_lock import manager_lock_freed
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.registry import VISUALIZERS
from ehrpose.visualization.drawing import draw_people, write_picture

_OPTIONS = {"style", "color_by", "fade", "radius", "thickness", "black_background", "show_kpt_idx"}


@VISUALIZERS.register_module()
class PoseVisualizer(Visualizer):
    """Draw annotations and predictions side by side, to files, windows and logging backends.

    Args:
        name: Name of this visualizer among MMEngine's.
        keypoints: KeypointMeta or its config.
        kpt_thr: Keypoints below this score are not drawn.
        drawing: Further arguments of ``draw_people``: ``style``, ``color_by``, ``fade``, ``radius``, ``thickness``,
            ``black_background``, ``show_kpt_idx``.
        kwargs: Arguments of MMEngine's Visualizer (``vis_backends``, ``save_dir``).
    """

    @classmethod
    def get_instance(cls, name: str, **kwargs: Any) -> PoseVisualizer:
        """Return the visualizer of that name, made with ``kwargs`` if there is none; see MMEngine."""
        with manager_lock_freed():
            return super().get_instance(name, **kwargs)

    def __init__(
        self,
        name: str = "visualizer",
        keypoints: Any = None,
        kpt_thr: float = 0.3,
        drawing: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ):
        self.keypoint_meta = KeypointMeta.build(keypoints)
        super().__init__(name=name, **kwargs)
        self.drawing = dict(drawing or {})
        unknown = sorted(set(self.drawing) - _OPTIONS)
        if unknown:
            raise ValueError(f"drawing: unknown options {unknown}; available: {sorted(_OPTIONS)}")
        self.kpt_thr = kpt_thr

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: Any = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        kpt_thr: float | None = None,
        out_file: str | None = None,
        step: int = 0,
    ) -> np.ndarray:
        """Draw one image and return the picture, RGB.

        Args:
            name: Name of the picture in the backends.
            image: (H, W, 3) uint8 RGB.
            data_sample: PoseDataSample with ``gt_instances`` and/or ``pred_instances``.
            draw_gt: Draw the annotations (left of the predictions, when both are drawn).
            draw_pred: Draw the predictions.
            show: Show a window.
            wait_time: Seconds that the window stays; 0 waits for a key.
            kpt_thr: Threshold of this picture; None: the visualizer's.
            out_file: File to write, instead of the backends.
            step: Step for the backends.
        """
        bgr = np.ascontiguousarray(image[..., ::-1])
        threshold = self.kpt_thr if kpt_thr is None else kpt_thr
        pictures = []
        if draw_gt and data_sample is not None and "gt_instances" in data_sample:
            people = data_sample.gt_instances
            labelled = (np.asarray(people.visible) > 0).astype(np.float32)
            pictures.append(
                draw_people(bgr, people.keypoints, labelled, self.keypoint_meta, kpt_thr=0.5, **self.drawing)
            )
        if draw_pred and data_sample is not None and "pred_instances" in data_sample:
            people = data_sample.pred_instances
            pictures.append(
                draw_people(
                    bgr,
                    people.keypoints,
                    people.keypoint_scores,
                    self.keypoint_meta,
                    kpt_thr=threshold,
                    **self.drawing,
                )
            )
        picture = np.hstack(pictures) if pictures else bgr
        rgb = np.ascontiguousarray(picture[..., ::-1])
        if show:
            self.show(rgb, win_name=name, wait_time=wait_time)
        if out_file is not None:
            write_picture(out_file, picture)
        else:
            self.add_image(name, rgb, step)
        return rgb

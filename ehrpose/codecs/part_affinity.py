"""The part-affinity codec: people to heatmaps and fields along limbs, such maps to people (no torch).

Source: OpenPose, arXiv:1812.08008; Lightweight OpenPose, arXiv:1811.12004.

Axes: K keypoint types of the people, P parts of the network (which may have more, such as a neck), L limbs, N people.

Map pixel i covers ``stride`` input pixels and stands for the middle of them.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Dict, Mapping, Optional, Sequence, Tuple, Union, cast

import numpy as np

from ehrpose.codecs.argument_checks import checked_wh, positive_int
from ehrpose.codecs.base import BaseCodec, MirrorRule
from ehrpose.codecs.part_checks import checked_field_maps, checked_field_peaks, mean_of_scales
from ehrpose.codecs.part_fast import decode_fast, decode_peaks
from ehrpose.codecs.part_layout import build_layout
from ehrpose.codecs.part_paper import decode_paper
from ehrpose.codecs.part_settings import PartSettings
from ehrpose.codecs.part_targets import draw_field, draw_heat, part_positions
from ehrpose.codecs.settings import checked_number, takes_options
from ehrpose.codecs.target_widths import shrink_mask
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.registry import CODECS
from ehrpose.structures import FieldMaps, FieldPeaks, People


@CODECS.register_module()
class PartAffinity(BaseCodec):
    """Encode people into heatmaps and part-affinity fields, decode such maps into people.

    Args:
        input_size: Side of the square training input, px; also the height, or short side, at test time.
        keypoints: KeypointMeta or its config: the skeleton of the people.
        parts: ``"coco-18"``: COCO's keypoints in OpenPose's order, and a neck; None: the skeleton's keypoints; or a
            list in the order of the heatmaps, of names, or of ``{"name": ..., "mean": [names]}`` for what lies
            between keypoints.
        limbs: Pairs of names of parts, in the order of the fields; None: those of ``"coco-18"``, or of the skeleton.
        stride: Stride of the maps.
        sigma: Standard deviation of the target Gaussians, input px.
        field_width: Half the width of a limb in the target fields, map px.
        mode: ``"fast"`` or ``"paper"`` decoding.
        options: Decoding options: the fields of ``PartSettings``, such as ``min_score``.

    Attributes:
        layout: Parts and limbs, a ``PartLayout``.
        settings: The decoding options.

    Raises:
        TypeError: An option does not exist; the message names the nearest one.
        ValueError: A value is out of range; the message names it and what was expected.
    """

    maps_type = FieldMaps
    peaks_type = FieldPeaks
    peaks_options: ClassVar[Dict[str, Any]] = {}

    @takes_options(PartSettings)
    def __init__(
        self,
        input_size: int,
        keypoints: Union[KeypointMeta, Mapping[str, Any]],
        parts: Union[str, Sequence[Any], None] = None,
        limbs: Union[Sequence[Sequence[str]], None] = None,
        stride: int = 8,
        sigma: float = 7.0,
        field_width: float = 1.0,
        mode: str = "fast",
        **options: Any,
    ):
        self.meta = KeypointMeta.build(keypoints)
        self.layout = build_layout(self.meta, parts, limbs)
        self.input_size = positive_int(input_size, "input_size")
        self.stride = positive_int(stride, "stride")
        if self.input_size % self.stride:
            raise ValueError(f"input_size: expected a multiple of the stride, {stride}, got {input_size}")
        positive = ("a finite number above 0", lambda value: 0 < value < math.inf)
        self.sigma = cast(float, checked_number(sigma, "sigma", *positive))
        self.field_width = cast(float, checked_number(field_width, "field_width", *positive))
        if mode not in ("fast", "paper"):
            raise ValueError(f"mode: expected 'fast' or 'paper', got {mode!r}")
        self.mode = mode
        self.settings = PartSettings.from_options(**options)
        self.side_multiple = self.stride
        self.map_strides = {name: self.stride for name in FieldMaps._fields}

    @property
    def num_parts(self) -> int:
        """P; the network has one heatmap more, of the background."""
        return len(self.layout.names)

    @property
    def num_limbs(self) -> int:
        """L; the network has two channels of fields for each."""
        return len(self.layout.limbs)

    def mirror_rules(self) -> Dict[str, MirrorRule]:
        """Return the rules of flip test: sides swap, and fields change the sign of x, or of y if a limb is reversed.

        Raises:
            ValueError: A part or limb has no mirror image.
        """
        channels = np.arange(2 * self.num_limbs)
        negated = []
        for limb, (mirrored, reverse) in enumerate(self.layout.mirrored_limbs(self.meta)):
            to, source = self.layout.channels[mirrored], self.layout.channels[limb]
            channels[[to, to + 1]] = source, source + 1
            negated.append(to + 1 if reverse else to)
        heat = (*self.layout.mirrored_parts(self.meta), self.num_parts)
        return {
            "heat": MirrorRule(heat),
            "field": MirrorRule(tuple(channels.tolist()), tuple(sorted(negated))),
        }

    def finest_heat(self, maps: FieldMaps) -> np.ndarray:
        """Return the heatmaps of the K keypoints in the maps of one image."""
        return np.asarray(maps.heat)[list(self.layout.part_of)]

    def why_no_peaks(self) -> Optional[str]:
        """Return why candidates cannot be decoded; None: they can."""
        if self.mode != "fast" or self.settings.min_score < 0:
            got = f"{self.mode!r} and {self.settings.min_score}"
            return f"expected mode 'fast' and a min_score of at least 0, got {got}"
        return None

    def encode(
        self, keypoints: np.ndarray, visible: np.ndarray, loss_mask: Union[np.ndarray, None] = None
    ) -> Dict[str, np.ndarray]:
        """Return the training targets of one image, m = S / stride.

        Args:
            keypoints: (N, K, 2) x and y, input px.
            visible: (N, K) COCO visibility; 0 is not labelled.
            loss_mask: (S, S), 0 where the loss is off; None: on everywhere.

        Returns:
            ``heat`` (P + 1, m, m), ``field`` (2 L, m, m) and ``mask`` (m, m) of 0 and 1, float32.

        Raises:
            ValueError: Shapes do not match.
        """
        side = self.input_size
        if loss_mask is not None and np.shape(loss_mask) != (side, side):
            raise ValueError(f"loss_mask: expected shape {(side, side)}, got {np.shape(loss_mask)}")
        maps = self.ideal_maps(keypoints, visible, (side, side))
        mask = shrink_mask(loss_mask, side // self.stride).astype(np.float32)
        return {"heat": maps.heat, "field": maps.field, "mask": mask}

    def ideal_maps(self, keypoints: np.ndarray, visible: np.ndarray, input_wh: Tuple[int, int]) -> FieldMaps:
        """Return the maps that a perfect network would output for an input of any size, float32.

        Args:
            keypoints: (N, K, 2) x and y, input px.
            visible: (N, K) COCO visibility; 0 is not labelled.
            input_wh: Width and height of the input, px, multiples of the stride.

        Raises:
            ValueError: Shapes do not match.
        """
        keypoints, visible = np.asarray(keypoints, np.float64), np.asarray(visible)
        n, k = len(keypoints), self.num_keypoints
        if keypoints.shape != (n, k, 2) or visible.shape != (n, k):
            raise ValueError(
                f"expected keypoints (N, {k}, 2) and visible (N, {k}), got {keypoints.shape} and {visible.shape}"
            )
        positions, known = part_positions(keypoints, visible > 0, self.layout.sources)
        positions = (positions - (self.stride - 1) / 2) / self.stride
        map_wh = (input_wh[0] // self.stride, input_wh[1] // self.stride)
        return FieldMaps(
            draw_heat(positions, known, self.sigma / self.stride, map_wh),
            draw_field(positions, known, self.layout.limbs, self.layout.channels, self.field_width, map_wh),
        )

    def decode(self, maps: Union[FieldMaps, Sequence[FieldMaps]]) -> People:
        """Find the people in the maps of one image.

        Args:
            maps: ``FieldMaps`` of (P + 1, h, w) and (2 L, h, w) arrays; or a list of them, one per test scale, scale 1
                first, of which the mean is taken at the size of the first.

        Returns:
            People in pixels of the (first) network input, best score first; a missing keypoint has score 0.

        Raises:
            ValueError: Shapes do not match this codec, or a value is NaN, infinite or beyond 1e15.
        """
        scales = [maps] if isinstance(maps, FieldMaps) else list(maps)
        merged = mean_of_scales([checked_field_maps(self.num_parts, self.num_limbs, one) for one in scales])
        if self.mode == "paper":
            return decode_paper(merged, self.stride, self.layout, self.settings)
        return decode_fast(merged, self.stride, self.layout, self.settings)

    def decode_peaks(self, peaks: FieldPeaks, input_wh: Tuple[int, int]) -> People:
        """Find the people of one image from the candidates of a network exported with ``decode="peaks"``.

        Args:
            peaks: Candidates, without the batch axis.
            input_wh: Width and height of the network input, px, multiples of the stride.

        Returns:
            The people that ``decode`` returns in ``fast`` mode.

        Raises:
            ValueError: Shapes or types do not match this codec, a pixel is not on the map, a value is NaN, infinite or
                beyond 1e15, or the mode is not ``fast``.
        """
        problem = self.why_no_peaks()
        if problem is not None:
            raise ValueError(f"decoding candidates: {problem}")
        width, height = checked_wh(input_wh)
        map_wh = (width // self.stride, height // self.stride)
        fields = checked_field_peaks(self.num_parts, self.num_limbs, peaks, map_wh)
        return decode_peaks(fields, map_wh, self.stride, self.layout, self.settings)

"""The associative-embedding codec: people to training targets, network maps to people (no torch).

It alone owns geometry: input size, map sizes, sigma, shifts, keypoint order and output names.
Source: EfficientHRNet, arXiv:2007.08090; associative embedding, arXiv:1611.05424; unbiased (UDP) targets,
arXiv:1911.07524. Axes: K keypoint types, T tag length, N people.

Positions are pixel-index coordinates of the network input. Default targets are centred on
``floor(x * map / input)``; map pixel i then represents the input interval that it covers and decodes to its
middle. Unbiased targets keep the fractional part; corner pixel centres of input and maps are aligned.
"""

from __future__ import annotations

from typing import Any, ClassVar, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from ehrpose.codecs.argument_checks import checked_maps, checked_peaks, checked_wh, positive_int
from ehrpose.codecs.base import BaseCodec, MirrorRule
from ehrpose.codecs.fast_decoding import decode_fast
from ehrpose.codecs.heatmap import coarsest, draw_gaussians
from ehrpose.codecs.paper_decoding import decode_paper, merge_scales
from ehrpose.codecs.peak_decoding import decode_peaks
from ehrpose.codecs.settings import DecodeSettings, takes_options
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.oks import extents
from ehrpose.registry import CODECS
from ehrpose.structures import Maps, PeakMaps, People

# The heatmap levels that networks may have, and which of them may carry tags.
_TAG_STRIDES: Dict[Tuple[int, ...], Tuple[Tuple[int, ...], ...]] = {
    (4,): ((4,),),
    (4, 2): ((4,), (4, 2)),
    (2,): ((2,),),
}


@CODECS.register_module()
class AssociativeEmbedding(BaseCodec):
    """Encode people into heatmaps and tag indices, decode maps into people.

    Args:
        input_size: Side of the square training input, px; also the short side at test time.
        keypoints: KeypointMeta or its config.
        strides: Strides of the heatmap levels, (4, 2), (4,) or (2,).
        tag_strides: Levels that carry tags, (4,), (4, 2) or, with strides (2,), (2,). Decoding uses the coarsest.
        tag_dim: T, length of a tag.
        sigma: Standard deviation of the target Gaussians, map pixels at each level.
        oks_sigma: Gaussians are at least as wide as this fraction of the OKS tolerance ``2 * sigma_k * sqrt(area)``:
            wider for large people, and for hips than for eyes. 0: ``sigma`` for all.
        max_people: People per image that get tags in training (the largest ones).
        unbiased: UDP targets.
        cell_offset: Unless unbiased: where in the input interval that a map pixel covers its keypoints lie on average,
            0 to 1. Targets are centred on ``floor(x / stride + 0.5 - cell_offset)``: 0.5 floors and decodes to the
            middle, 0 rounds and decodes to the start. Other values than 0.5 are for one level.
        mode: ``"fast"`` or ``"paper"`` decoding.
        options: Decoding options: the fields of ``DecodeSettings`` with a default, such as ``min_score``.

    Raises:
        TypeError: An option does not exist; the message names the nearest one.
        ValueError: A value is out of range; the message names it and what was expected.
    """

    maps_type = Maps
    peaks_type = PeakMaps
    peaks_options: ClassVar[Dict[str, Any]] = {"fill_missing": False}

    @takes_options(DecodeSettings)
    def __init__(
        self,
        input_size: int,
        keypoints: Union[KeypointMeta, Mapping[str, Any]],
        strides: Sequence[int] = (4, 2),
        tag_strides: Sequence[int] = (4,),
        tag_dim: int = 1,
        sigma: float = 2.0,
        oks_sigma: float = 0.0,
        max_people: int = 30,
        unbiased: bool = False,
        cell_offset: float = 0.5,
        mode: str = "fast",
        **options: Any,
    ):
        self.meta = KeypointMeta.build(keypoints)
        self.input_size = positive_int(input_size, "input_size")
        if input_size % 32:
            raise ValueError(
                f"input_size: expected a multiple of 32, the network's largest stride, got {input_size}"
            )
        self.strides = tuple(strides)
        self.tag_strides = tuple(tag_strides)
        if self.strides not in _TAG_STRIDES:
            raise ValueError(f"strides: expected (4,), (4, 2) or (2,), got {self.strides}")
        if self.tag_strides not in _TAG_STRIDES[self.strides]:
            allowed = " or ".join(map(str, _TAG_STRIDES[self.strides]))
            raise ValueError(
                f"tag_strides: expected {allowed} with strides {self.strides}, got {self.tag_strides}"
            )
        if not 0 < sigma < np.inf:
            raise ValueError(f"sigma: expected a finite number above 0, got {sigma}")
        if not 0 <= oks_sigma < np.inf:
            raise ValueError(f"oks_sigma: expected a finite number of at least 0, got {oks_sigma}")
        if not 0 <= cell_offset <= 1:
            raise ValueError(f"cell_offset: expected a number from 0 to 1, got {cell_offset!r}")
        if cell_offset != 0.5 and (unbiased or len(self.strides) > 1):
            raise ValueError(
                f"cell_offset: expected 0.5 with unbiased targets or two levels, got {cell_offset!r}"
            )
        if mode not in ("fast", "paper"):
            raise ValueError(f"mode: expected 'fast' or 'paper', got {mode!r}")
        names = {f"heat{s}": s for s in self.strides}
        names.update({f"tag{s}": s for s in self.tag_strides})
        self.map_strides = {name: names[name] for name in Maps._fields if name in names}
        self.tag_dim = positive_int(tag_dim, "tag_dim")
        self.max_people = positive_int(max_people, "max_people")
        self.sigma = float(sigma)
        self.oks_sigma = float(oks_sigma)
        self.unbiased = bool(unbiased)
        self.cell_offset = float(cell_offset)
        self.mode = mode
        self.settings = DecodeSettings.from_options(self.meta, self.unbiased, self.cell_offset, **options)

    def mirror_rules(self) -> Dict[str, MirrorRule]:
        """Return the rules of flip test: left and right swap; heatmaps are averaged, tags concatenated."""
        swap, k = tuple(self.meta.flip_indices), self.num_keypoints
        tags = tuple(t * k + channel for t in range(self.tag_dim) for channel in swap)
        return {
            name: MirrorRule(tags, concatenate=True) if name.startswith("tag") else MirrorRule(swap)
            for name in self.output_names
        }

    def finest_heat(self, maps: Maps) -> np.ndarray:
        """Return the finest heatmaps in the maps of one image."""
        return np.asarray(maps.heat4 if maps.heat2 is None else maps.heat2)

    def why_no_peaks(self) -> Optional[str]:
        """Return why candidates cannot be decoded; None: they can."""
        if self.mode != "fast" or self.settings.min_score < 0:
            got = f"{self.mode!r} and {self.settings.min_score}"
            return f"expected mode 'fast' and a min_score of at least 0, got {got}"
        return None

    def encode(
        self,
        keypoints: np.ndarray,
        visible: np.ndarray,
        loss_mask: Union[np.ndarray, None] = None,
        areas: Union[np.ndarray, None] = None,
    ) -> Dict[str, np.ndarray]:
        """Return the training targets of one image.

        Args:
            keypoints: (N, K, 2) x and y, input px.
            visible: (N, K) COCO visibility; 0 is not labelled.
            loss_mask: (S, S), 0 where the loss is off; None: on everywhere.
            areas: (N,) area of each person, input px^2, for ``oks_sigma``; None: from the boxes around their keypoints.

        Returns:
            Per stride s: ``heat{s}`` (K, S/s, S/s) float32 and ``mask{s}`` (S/s, S/s) float32 of 0 and 1; per
            tag stride ``tag_index{s}`` (max_people, K) int64, the flat pixel of each keypoint, -1 if none.

        Raises:
            ValueError: Shapes do not match.
        """
        targets = self.encode_points(keypoints, visible, loss_mask, areas)
        points = targets.pop("points")
        for stride in self.strides:
            cells = self.input_size // stride
            heatmaps = np.zeros((self.num_keypoints, cells, cells), np.float32)
            draw_gaussians(heatmaps, *self.gaussians_on_map(points, stride))
            targets[f"heat{stride}"] = heatmaps
            targets[f"mask{stride}"] = targets[f"mask{stride}"].astype(np.float32)
        return targets

    def encode_points(
        self,
        keypoints: np.ndarray,
        visible: np.ndarray,
        loss_mask: Union[np.ndarray, None] = None,
        areas: Union[np.ndarray, None] = None,
    ) -> Dict[str, np.ndarray]:
        """Return the targets of ``encode`` with points instead of heatmaps: small enough to send to another process.

        Args:
            keypoints: (N, K, 2) x and y, input px.
            visible: (N, K) COCO visibility; 0 is not labelled.
            loss_mask: (S, S), 0 where the loss is off; None: on everywhere.
            areas: (N,) area of each person, input px^2, for ``oks_sigma``; None: from the boxes around their keypoints.

        Returns:
            ``points`` (M, 3) float32, type, x and y in input px of the labelled keypoints; with ``oks_sigma`` (M, 4),
            the last column being the minimum standard deviation in input px; per stride s ``mask{s}`` (S/s, S/s)
            uint8 of 0 and 1; per tag stride ``tag_index{s}`` as in ``encode``.

        Raises:
            ValueError: Shapes do not match.
        """
        from ehrpose.codecs.target_widths import oks_widths, shrink_mask  # only training needs it

        keypoints, visible = self._checked(keypoints, visible)
        side = self.input_size
        if loss_mask is not None and np.shape(loss_mask) != (side, side):
            raise ValueError(f"loss_mask: expected shape {(side, side)}, got {np.shape(loss_mask)}")
        labelled = visible > 0
        types = np.nonzero(labelled)[1].astype(np.float32)
        points = [types, keypoints[labelled]]
        if self.oks_sigma:
            points.append(oks_widths(keypoints, labelled, areas, self.oks_sigma, self.meta.sigmas)[labelled])
        targets: Dict[str, np.ndarray] = {"points": np.column_stack(points)}
        tagged = self._largest(keypoints, visible)
        for stride in self.strides:
            targets[f"mask{stride}"] = shrink_mask(loss_mask, side // stride)
            if stride in self.tag_strides:
                pixels, inside = self._pixels(self.to_map(keypoints, stride, (side, side)), stride)
                flat = np.where(labelled & inside, pixels[..., 1] * (side // stride) + pixels[..., 0], -1)
                index = np.full((self.max_people, self.num_keypoints), -1, np.int64)
                index[: len(tagged)] = flat[tagged]
                targets[f"tag_index{stride}"] = index
        return targets

    def gaussians_on_map(
        self, points: np.ndarray, stride: int
    ) -> Tuple[np.ndarray, np.ndarray, Union[float, np.ndarray]]:
        """Return positions (M, 2) float64, types (M,) int64 and sigma of those ``points`` that are on the map.

        Positions and sigma are in map px; sigma is one number, or (M,) with ``oks_sigma``.
        """
        positions = self.to_map(points[:, 1:3], stride, (self.input_size, self.input_size))
        _, inside = self._pixels(positions, stride)
        sigma = np.maximum(points[inside, 3] / stride, self.sigma) if self.oks_sigma else self.sigma
        return positions[inside], points[inside, 0].astype(np.int64), sigma

    def _pixels(self, positions: np.ndarray, stride: int) -> Tuple[np.ndarray, np.ndarray]:
        """Return the map pixels of (..., 2) map positions, and whether they are on the map."""
        pixels = np.floor(positions + 0.5).astype(np.int64) if self.unbiased else positions.astype(np.int64)
        return pixels, np.all((pixels >= 0) & (pixels < self.input_size // stride), axis=-1)

    def to_map(self, positions: np.ndarray, stride: int, input_wh: Tuple[int, int]) -> np.ndarray:
        """Convert (..., 2) positions from input px to map px at ``stride`` (whole ones unless unbiased)."""
        positions = np.asarray(positions, np.float64)
        if self.unbiased:
            cells = np.asarray(input_wh) // stride
            return positions * ((cells - 1) / (np.asarray(input_wh) - 1))
        return np.floor(positions / stride + (0.5 - self.cell_offset))

    def decode(self, maps: Union[Maps, Sequence[Maps]]) -> People:
        """Find the people in the maps of one image.

        Args:
            maps: ``Maps`` of (K, h, w) and (T*K, h, w) arrays, heatmaps about 0 to 1; T may exceed
                ``tag_dim`` when tags of a flipped image were concatenated. Or a list of them, one per test
                scale, scale 1 first: heatmaps are averaged, tags are those of the first unless ``scale_tags`` is "all".

        Returns:
            People in pixels of the (first) network input, best score first.

        Raises:
            ValueError: Shapes do not match this codec, a value is NaN, infinite or beyond 1e15, or the scores of
                people overflow.
        """
        scales: List[Maps] = [maps] if isinstance(maps, Maps) else list(maps)
        if not scales:
            raise ValueError("expected the maps of at least one scale, got none")
        scales = [checked_maps(self.output_names, self.num_keypoints, m) for m in scales]
        stride, shape = self.strides[0], coarsest(scales[0])[0].shape
        input_wh = (shape[2] * stride, shape[1] * stride)
        if self.mode == "paper":
            return decode_paper(scales, input_wh, self.settings)
        return decode_fast(merge_scales(scales, self.settings), input_wh, self.settings)

    def decode_peaks(self, peaks: PeakMaps, input_wh: Tuple[int, int]) -> People:
        """Find the people of one image from the candidates of a network exported with ``decode="peaks"``.

        Args:
            peaks: Candidates, without the batch axis.
            input_wh: Width and height of the network input, px, multiples of 4.

        Returns:
            The people that ``decode`` returns in ``fast`` mode with ``fill_missing=False``.

        Raises:
            ValueError: Shapes or types do not match this codec, a pixel is not on the map, a value is NaN, infinite or
                beyond 1e15, the scores of people overflow, or the mode is not ``fast``.
        """
        problem = self.why_no_peaks()
        if problem is not None:
            raise ValueError(f"decoding candidates: {problem}")
        width, height = checked_wh(input_wh)
        stride = self.strides[-1]
        fields = checked_peaks(self.num_keypoints, peaks, (width // stride) * (height // stride))
        return decode_peaks(fields, (width, height), self.strides, self.settings)

    def _checked(self, keypoints: np.ndarray, visible: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        keypoints = np.asarray(keypoints, np.float32)
        visible = np.asarray(visible)
        n, k = len(keypoints), self.num_keypoints
        if keypoints.shape != (n, k, 2) or visible.shape != (n, k):
            raise ValueError(
                f"expected keypoints (N, {k}, 2) and visible (N, {k}), got {keypoints.shape} and {visible.shape}"
            )
        return keypoints, visible

    def _largest(self, keypoints: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """Return the people that get tags: those with a keypoint, at most max_people, the largest."""
        labelled = visible > 0
        people = np.flatnonzero(labelled.any(axis=1))
        if len(people) <= self.max_people:
            return people
        low, high = extents(keypoints[people], labelled[people])
        extent = (high - low).sum(axis=1)
        return np.sort(people[np.argsort(-extent, kind="stable")[: self.max_people]])

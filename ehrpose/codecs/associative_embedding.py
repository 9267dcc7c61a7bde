"""The associative-embedding codec: people to training targets, network maps to people (no torch).

It alone owns geometry: input size, map sizes, sigma, shifts, keypoint order and output names.
Source: EfficientHRNet, arXiv:2007.08090; associative embedding, arXiv:1611.05424; unbiased (UDP) targets,
arXiv:1911.07524. Axes: K keypoint types, T tag length, N people.

Positions are pixel-index coordinates of the network input. Default targets are centred on
``floor(x * map / input)``; a map pixel i then stands for the input interval that it covers and decodes to its
middle. Unbiased targets keep the fraction, with corner pixel centres of input and maps aligned.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from ehrpose.codecs.argument_checks import checked_maps, positive_int
from ehrpose.codecs.fast_decoding import decode_fast
from ehrpose.codecs.heatmap import draw_gaussians
from ehrpose.codecs.paper_decoding import decode_paper, merge_scales
from ehrpose.codecs.peak_decoding import decode_peaks
from ehrpose.codecs.settings import DecodeSettings
from ehrpose.codecs.sides import paired_limbs
from ehrpose.codecs.target_widths import oks_widths, shrink_mask
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.oks import extents
from ehrpose.registry import CODECS
from ehrpose.structures import Maps, PeakMaps, People


@CODECS.register_module()
class AssociativeEmbedding:
    """Encode people into heatmaps and tag indices, decode maps into people.

    Args:
        input_size: Side of the square training input, px; also the short side in test.
        keypoints: KeypointMeta or its config.
        strides: Strides of the heatmap levels, (4, 2) or (4,).
        tag_strides: Levels that carry tags, (4,) or (4, 2).
        tag_dim: T, length of a tag.
        sigma: Standard deviation of the target Gaussians, map pixels at each level.
        oks_sigma: Gaussians are at least as wide as this share of what OKS tolerates, ``2 * sigma_k * sqrt(area)``:
            wider for large people, and for hips than for eyes. 0: ``sigma`` for all.
        max_people: People per image that get tags in training (the largest ones).
        unbiased: UDP targets.
        mode: ``"fast"`` or ``"paper"`` decoding.
        max_candidates: Peaks per keypoint type.
        min_score: Peaks at or below it are no candidates, 0 to 1.
        max_tag_dist: Largest tag distance inside one person.
        fill_missing: Give people their missing keypoints from the heatmap near their tag.
        min_keypoints: ``fast`` only: people with fewer keypoints (before filling) are dropped.
        max_spread: ``fast`` only: a keypoint farther from the person's median keypoint than this many times the
            median distance is not theirs (see ``far_members``); None: all are.
        nms_oks: ``fast`` only: of two people with a larger OKS the lower score is dropped; None: none is.
        place_weight: ``fast`` only: place counts in the grouping, a short side of the input as much as this tag
            distance; 0: it does not.
        score_power: ``fast`` only: a person's score is the power mean of the scores of its keypoints (0 for missing
            ones), before filling; 1 is the mean, 2 the root of the mean square.
        score_size: ``fast`` only: power of the person's size, as a share of the input's, that the score is
            multiplied by; 0: size does not count.
        pair_ratio: ``fast`` only: where a left keypoint and its right one are at one place, one of them goes to the
            best other place of their candidates, if it has at least this share of the score, 0 to 1, and pairs are
            exchanged where that is likelier (see ``separate_sides``); None: they stay.
        limb_weight: ``fast`` with ``pair_ratio`` only: limbs that are longer by the square root of the person's area
            count against an assignment of left and right as much as this difference of scores; 0: scores decide.

    Raises:
        ValueError: A value is out of range; the message says which and what was wanted.
    """

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
        mode: str = "fast",
        max_candidates: int = 30,
        min_score: float = 0.1,
        max_tag_dist: float = 1.0,
        fill_missing: bool = True,
        min_keypoints: int = 1,
        max_spread: Optional[float] = None,
        nms_oks: Optional[float] = None,
        place_weight: float = 0.0,
        score_power: float = 1.0,
        score_size: float = 0.0,
        pair_ratio: Optional[float] = None,
        limb_weight: float = 0.3,
    ):
        self.meta = KeypointMeta.build(keypoints)
        self.input_size = positive_int(input_size, "input_size")
        if input_size % 32:
            raise ValueError(
                f"input_size must be a multiple of 32, the network's largest stride; got {input_size}"
            )
        self.strides = tuple(strides)
        self.tag_strides = tuple(tag_strides)
        if self.strides not in ((4,), (4, 2)):
            raise ValueError(f"strides must be (4,) or (4, 2), got {self.strides}")
        if self.tag_strides not in ((4,), (4, 2)) or not set(self.tag_strides) <= set(self.strides):
            raise ValueError(
                f"tag_strides must be (4,) or (4, 2) and among strides {self.strides}, got {tag_strides}"
            )
        if sigma <= 0:
            raise ValueError(f"sigma must be positive, got {sigma}")
        if not 0 <= oks_sigma < np.inf:
            raise ValueError(f"oks_sigma must be at least 0, got {oks_sigma}")
        if mode not in ("fast", "paper"):
            raise ValueError(f"mode must be 'fast' or 'paper', got {mode!r}")
        self.tag_dim = positive_int(tag_dim, "tag_dim")
        self.max_people = positive_int(max_people, "max_people")
        self.sigma = float(sigma)
        self.oks_sigma = float(oks_sigma)
        self.unbiased = bool(unbiased)
        self.mode = mode
        self.settings = DecodeSettings(
            order=self.meta.order,
            unbiased=self.unbiased,
            max_candidates=positive_int(max_candidates, "max_candidates"),
            min_score=float(min_score),
            max_tag_dist=float(max_tag_dist),
            fill_missing=bool(fill_missing),
            sigmas=self.meta.sigmas,
            min_keypoints=positive_int(min_keypoints, "min_keypoints"),
            max_spread=max_spread,
            nms_oks=nms_oks,
            place_weight=float(place_weight),
            score_power=float(score_power),
            score_size=float(score_size),
            pair_ratio=pair_ratio,
            limb_weight=float(limb_weight),
            paired_limbs=paired_limbs(self.meta),
        )

    @property
    def num_keypoints(self) -> int:
        """K, the number of keypoint types."""
        return self.meta.num_keypoints

    @property
    def output_names(self) -> Tuple[str, ...]:
        """Names of the maps that the network gives, in the order of ``Maps``."""
        wanted = {f"heat{s}" for s in self.strides} | {f"tag{s}" for s in self.tag_strides}
        return tuple(name for name in Maps._fields if name in wanted)

    def encode(
        self,
        keypoints: np.ndarray,
        visible: np.ndarray,
        loss_mask: Union[np.ndarray, None] = None,
        areas: Union[np.ndarray, None] = None,
    ) -> Dict[str, np.ndarray]:
        """Make the training targets of one image.

        Args:
            keypoints: (N, K, 2) x and y, input px.
            visible: (N, K) COCO visibility; 0 is not labelled.
            loss_mask: (S, S), 0 where the loss is off; None: on everywhere.
            areas: (N,) of the people, input px^2, for ``oks_sigma``; None: from the boxes around their keypoints.

        Returns:
            Per stride s: ``heat{s}`` (K, S/s, S/s) float32 and ``mask{s}`` (S/s, S/s) float32 of 0 and 1; per
            tag stride ``tag_index{s}`` (max_people, K) int64, the flat pixel of each keypoint, -1 if none.

        Raises:
            ValueError: Shapes disagree.
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
        """Make what ``encode`` makes, but points in place of heatmaps: small enough to be sent to another process.

        Args:
            keypoints: (N, K, 2) x and y, input px.
            visible: (N, K) COCO visibility; 0 is not labelled.
            loss_mask: (S, S), 0 where the loss is off; None: on everywhere.
            areas: (N,) of the people, input px^2, for ``oks_sigma``; None: from the boxes around their keypoints.

        Returns:
            ``points`` (M, 3) float32, type, x and y in input px of the labelled keypoints, with ``oks_sigma`` (M, 4),
            the least standard deviation in input px too; per stride s ``mask{s}`` (S/s, S/s) uint8 of 0 and 1; per
            tag stride ``tag_index{s}`` as from ``encode``.

        Raises:
            ValueError: Shapes disagree.
        """
        keypoints, visible = self._checked(keypoints, visible)
        side = self.input_size
        if loss_mask is not None and np.shape(loss_mask) != (side, side):
            raise ValueError(f"loss_mask has shape {np.shape(loss_mask)}, wanted {(side, side)}")
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
        """Move (..., 2) positions from input px to map px at ``stride`` (floored unless unbiased)."""
        positions = np.asarray(positions, np.float64)
        if self.unbiased:
            cells = np.asarray(input_wh) // stride
            return positions * ((cells - 1) / (np.asarray(input_wh) - 1))
        return np.floor(positions / stride)

    def decode(self, maps: Union[Maps, Sequence[Maps]]) -> People:
        """Find the people in the maps of one image.

        Args:
            maps: ``Maps`` of (K, h, w) and (T*K, h, w) arrays, heatmaps about 0 to 1; T may exceed
                ``tag_dim`` when tags of a flipped image were concatenated. Or a list of them, one per test
                scale, scale 1 first: heatmaps are averaged, tags are taken from the first.

        Returns:
            People in pixels of the (first) network input, best score first.

        Raises:
            ValueError: Shapes do not fit this codec, or a value is NaN or infinite.
        """
        scales: List[Maps] = [maps] if isinstance(maps, Maps) else list(maps)
        scales = [checked_maps(self.output_names, self.num_keypoints, m) for m in scales]
        input_wh = (scales[0].heat4.shape[2] * 4, scales[0].heat4.shape[1] * 4)
        if self.mode == "paper":
            return decode_paper(scales, input_wh, self.settings)
        return decode_fast(merge_scales(scales, self.unbiased), input_wh, self.settings)

    def decode_peaks(self, peaks: PeakMaps, input_wh: Tuple[int, int]) -> People:
        """Find the people of one image from the candidates of a network that was exported with ``--decode peaks``.

        Args:
            peaks: Candidates, without the batch axis.
            input_wh: Width and height of the network input, px.

        Returns:
            The people that ``decode`` gives in ``fast`` mode with ``fill_missing=False``.

        Raises:
            ValueError: Shapes do not fit this codec, a value is NaN or infinite, or the mode is not ``fast``.
        """
        if self.mode != "fast" or self.settings.min_score < 0:
            raise ValueError(
                f"candidates are decoded in mode 'fast' with min_score of at least 0, got {self.mode!r} and "
                f"{self.settings.min_score}"
            )
        fields = PeakMaps(*(np.asarray(field) for field in peaks))
        k, m = fields.peak_scores.shape[:2]
        wanted = PeakMaps((k, m), (k, m), (k, m, 4), (k, m, 9), (fields.peak_tags.shape[0], k, m, 9))
        for name, field, shape in zip(PeakMaps._fields, fields, wanted):
            if field.shape != shape or k != self.num_keypoints:
                raise ValueError(
                    f"{name} has shape {field.shape}, wanted {shape} with K = {self.num_keypoints}"
                )
            if not np.isfinite(field).all():
                raise ValueError(f"{name} holds NaN or infinity: the network's output is broken")
        return decode_peaks(fields, input_wh, min(self.strides), self.settings)

    def decode_batch(
        self, batch: Sequence[Union[Maps, Sequence[Maps]]], num_threads: int = 1
    ) -> List[People]:
        """Find the people of several images: what ``decode`` gives for each.

        Args:
            batch: What ``decode`` takes, for each image.
            num_threads: Images decoded at a time. More than one pays where the loops are compiled (numba): they
                let other threads run, NumPy's many small steps do not.

        Raises:
            ValueError: ``num_threads`` is below 1, or as from ``decode``.
        """
        if positive_int(num_threads, "num_threads") == 1 or len(batch) < 2:
            return [self.decode(maps) for maps in batch]
        with ThreadPoolExecutor(min(num_threads, len(batch))) as pool:
            return list(pool.map(self.decode, batch))

    def _checked(self, keypoints: np.ndarray, visible: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        keypoints = np.asarray(keypoints, np.float32)
        visible = np.asarray(visible)
        n, k = len(keypoints), self.num_keypoints
        if keypoints.shape != (n, k, 2) or visible.shape != (n, k):
            raise ValueError(
                f"wanted keypoints (N, {k}, 2) and visible (N, {k}), got {keypoints.shape} and {visible.shape}"
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

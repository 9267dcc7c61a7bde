"""The PersonLab codec: heatmaps of keypoint discs, offsets to keypoints and between them (no torch).

Source: PersonLab, arXiv:1803.08225, and PoseNet, its published form. Axes: K keypoint types, E edges of the tree of
keypoints, N people.

Positions are pixel-index coordinates of the network input, whose sides are multiples of the stride, plus 1: map pixel i
lies at the input's pixel ``i * stride``, from the first pixel to the last. Offsets are px of the input, all y before
all x.
"""

from __future__ import annotations

from typing import Any, ClassVar, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from ehrpose.codecs.argument_checks import positive_int
from ehrpose.codecs.base import BaseCodec, MirrorRule
from ehrpose.codecs.offset_checks import checked_offset_maps, checked_poses, mean_of_offset_scales
from ehrpose.codecs.offset_poses import (
    Growth,
    OffsetFields,
    counted_scores,
    find_candidates,
    grow_people,
    hough_maps,
    keep_apart,
)
from ehrpose.codecs.offset_settings import OffsetSettings
from ehrpose.codecs.offset_tree import OffsetTree
from ehrpose.codecs.selection import distinct_people, person_scores
from ehrpose.codecs.settings import takes_options
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.registry import CODECS
from ehrpose.structures import OffsetMaps, People, PeoplePeaks

_FIELDS = ("heat", "short", "forward", "backward", "long")


@CODECS.register_module()
class PersonLab(BaseCodec):
    """Encode people into heatmaps and offsets, decode maps into people.

    ``paper`` is PoseNet's multi-pose decoding, and PersonLab's with ``hough``: values are read at the nearest pixels,
    a person's score is the mean probability of its keypoints. ``fast`` reads values between pixels, averages each
    position with those that the pixels around point to, and ranks people by ``score_power`` and ``score_size``.

    Args:
        input_size: Side of the square training input, px: a multiple of ``stride``, plus 1.
        keypoints: KeypointMeta or its config.
        edges: The tree of keypoints, pairs of names, parent and child; None: PoseNet's tree of COCO's keypoints.
        stride: Px of the input between map pixels.
        radius: R, radius of the discs around keypoints in which the heatmap is 1 and offsets are learned, px.
        with_long: The network has long offsets too, from every pixel of a person to all its keypoints, as in the paper;
            decoding does not need them.
        mode: ``"fast"`` or ``"paper"`` decoding.
        options: Decoding options: the fields of ``OffsetSettings``, such as ``min_score``.

    Raises:
        TypeError: An option does not exist; the message names the nearest one.
        ValueError: A value is out of range, or the edges are no tree of the keypoints.
    """

    maps_type = OffsetMaps
    peaks_type = PeoplePeaks
    peaks_options: ClassVar[Dict[str, Any]] = {}
    side_offset = 1
    aligned = True

    @takes_options(OffsetSettings)
    def __init__(
        self,
        input_size: int,
        keypoints: Union[KeypointMeta, Mapping[str, Any]],
        edges: Optional[Sequence[Sequence[str]]] = None,
        stride: int = 16,
        radius: float = 32.0,
        with_long: bool = False,
        mode: str = "fast",
        **options: Any,
    ):
        self.meta = KeypointMeta.build(keypoints)
        self.input_size = positive_int(input_size, "input_size")
        self.stride = positive_int(stride, "stride")
        if self.stride not in (8, 16, 32):
            raise ValueError(f"stride: expected 8, 16 or 32, got {stride}")
        if self.input_size % self.stride != 1:
            raise ValueError(
                f"input_size: expected a multiple of the stride, {self.stride}, plus 1, got {input_size}"
            )
        if not 0 < radius < np.inf:
            raise ValueError(f"radius: expected a finite number above 0, got {radius}")
        if mode not in ("fast", "paper"):
            raise ValueError(f"mode: expected 'fast' or 'paper', got {mode!r}")
        self.tree = OffsetTree(self.meta, edges)
        self.radius, self.with_long, self.mode = float(radius), bool(with_long), mode
        self.side_multiple = self.stride
        self.map_strides = dict.fromkeys(_FIELDS if with_long else _FIELDS[:-1], self.stride)
        self.settings = OffsetSettings.from_options(**options)

    def mirror_rules(self) -> Dict[str, MirrorRule]:
        """Return the rules of flip test: left and right swap, and x of offsets changes its sign; all are averaged.

        Raises:
            NotImplementedError: A mirrored edge is none of the tree's.
        """
        swap = self.meta.flip_indices
        edges = self.tree.mirrored_edges(swap)
        if edges is None:
            raise NotImplementedError(
                "flip test needs a tree whose mirrored edges are edges too: set model.flip_test=False"
            )
        rules = {"heat": MirrorRule(tuple(swap))}
        for name in self.output_names[1:]:
            order = edges if name in ("forward", "backward") else tuple(swap)
            count = len(order)
            channels = (*order, *(count + i for i in order))
            rules[name] = MirrorRule(channels, negated=tuple(range(count, 2 * count)))
        return rules

    def finest_heat(self, maps: OffsetMaps) -> np.ndarray:
        """Return the heatmaps in the maps of one image, as probabilities."""
        return probabilities(np.asarray(maps.heat, np.float32))

    def why_no_peaks(self) -> Optional[str]:
        """Return why people cannot be decoded in the network; None: they can."""
        return None if self.mode == "fast" else f"expected mode 'fast', got {self.mode!r}"

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
            areas: Not used.

        Returns:
            float32 ``heat`` (K, h, w) and ``mask`` (h, w), of 0 and 1; ``short`` (2 K, h, w), ``forward`` and
            ``backward`` (2 E, h, w) and, with ``with_long``, ``long`` (2 K, h, w) offsets, NaN where nothing is to be
            learned.

        Raises:
            ValueError: Shapes do not match.
        """
        from ehrpose.codecs.offset_targets import encode_offsets  # only training needs it

        return encode_offsets(self, keypoints, visible, loss_mask)

    def decode(self, maps: Union[OffsetMaps, Sequence[OffsetMaps]]) -> People:
        """Find the people in the maps of one image.

        Args:
            maps: ``OffsetMaps``: ``heat`` (K, h, w) logits, ``short`` (2 K, h, w), ``forward`` and ``backward``
                (2 E, h, w). Or a list of them, one per test scale, scale 1 first, which are averaged at its size.

        Returns:
            People in pixels of the (first) network input, best score first. All keypoints are found; their scores are
            probabilities, which are low for those that cannot be seen.

        Raises:
            ValueError: Shapes do not match this codec, or a value is NaN, infinite or beyond 1e15.
        """
        scales: List[OffsetMaps] = [maps] if isinstance(maps, OffsetMaps) else list(maps)
        checked = [checked_offset_maps(self.num_keypoints, self.tree.num_edges, scale) for scale in scales]
        found = mean_of_offset_scales(checked)
        k, (height, width) = self.num_keypoints, found.heat.shape[1:]
        fields = OffsetFields(
            probabilities(found.heat),
            found.short.reshape(2, k, height, width),
            found.forward.reshape(2, -1, height, width),
            found.backward.reshape(2, -1, height, width),
            float(self.stride),
        )
        input_wh = ((width - 1) * self.stride + 1, (height - 1) * self.stride + 1)
        if self.mode == "paper":
            return self._decode_paper(found.heat, fields)
        settings = self.settings
        candidates = find_candidates(found.heat, fields.heat, settings.min_score, settings.max_candidates)
        poses, _ = grow_people(fields, self.tree, candidates, self.growth)
        return self._ranked(poses, input_wh)

    def decode_peaks(self, peaks: PeoplePeaks, input_wh: Tuple[int, int]) -> People:
        """Find the people of one image from the output of a network exported with ``decode="peaks"``.

        Args:
            peaks: What the network has found, without the batch axis.
            input_wh: Width and height of the network input, px.

        Returns:
            The people that ``decode`` returns in ``fast`` mode, up to rounding.

        Raises:
            ValueError: Shapes or types do not match this codec, a value is NaN, infinite or beyond 1e15, or the mode is
                not ``fast``.
        """
        problem = self.why_no_peaks()
        if problem is not None:
            raise ValueError(f"decoding candidates: {problem}")
        logits, poses = checked_poses(self.num_keypoints, peaks)
        types = np.repeat(np.arange(self.num_keypoints), logits.shape[1])
        flat, poses = logits.reshape(-1), poses.reshape(-1, *poses.shape[2:]).astype(np.float64)
        chosen = np.flatnonzero(probabilities(flat) >= np.float32(self.settings.min_score))
        chosen = chosen[np.argsort(-flat[chosen], kind="stable")]
        types, poses = types[chosen], poses[chosen]
        roots = poses[np.arange(len(poses)), types, :2]
        kept, _ = keep_apart(poses, types, roots, self.growth)
        return self._ranked(kept, (int(input_wh[0]), int(input_wh[1])))

    @property
    def growth(self) -> Growth:
        """How people grow from candidates, in the codec's mode."""
        settings = self.settings
        return Growth(settings.nms_radius, settings.refine_steps, settings.max_people, self.mode == "fast")

    def _decode_paper(self, logits: np.ndarray, fields: OffsetFields) -> People:
        """Decode as PoseNet does, or, with ``hough``, from the maxima of Hough score maps as PersonLab does."""
        settings, values = self.settings, logits
        if settings.hough:
            values = np.minimum(hough_maps(fields, self.radius), 1.0)
            fields = fields._replace(heat=values)
        candidates = find_candidates(values, fields.heat, settings.min_score, logits[0].size)
        poses, _ = grow_people(fields, self.tree, candidates, self.growth)
        scores = counted_scores(poses, settings.nms_radius).mean(axis=1)
        return _people(poses, scores)

    def _ranked(self, poses: np.ndarray, input_wh: Tuple[int, int]) -> People:
        """Return people with the scores of ``fast`` mode, best first, without those that are too much alike."""
        settings = self.settings
        counted = counted_scores(poses, settings.nms_radius)
        keypoints = np.ascontiguousarray(poses[..., 1::-1], np.float32)
        present = np.ones(keypoints.shape[:2], bool)
        area = float(input_wh[0]) * float(input_wh[1])
        scores = person_scores(counted, keypoints, present, settings.score_power, settings.score_size, area)
        people = _people(poses, scores)
        if settings.nms_oks is None or len(people) < 2:
            return people
        arguments = (people.keypoints, people.keypoint_scores, self.meta.sigmas, settings.nms_oks)
        return people.select(distinct_people(*arguments))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return float32 probabilities of float32 logits."""
    with np.errstate(over="ignore"):  # of exp: then the probability is 0
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def _people(poses: np.ndarray, scores: np.ndarray) -> People:
    """Return people, best first, of (N, K, 3) poses: y, x and probability."""
    order = np.argsort(-np.asarray(scores, np.float32), kind="stable")
    poses = poses[order]
    return People(
        np.ascontiguousarray(poses[..., 1::-1], np.float32),
        np.ascontiguousarray(poses[..., 2], np.float32),
        np.asarray(scores, np.float32)[order],
    )

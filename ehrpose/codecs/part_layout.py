"""The parts and limbs of a network with part-affinity fields, and how they follow from a skeleton (no torch).

Axes: K keypoint types of the people, P parts of the network, L limbs.
"""

from __future__ import annotations

import difflib
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Set, Tuple, Union

from ehrpose.keypoint_meta import KeypointMeta

Limb = Tuple[int, int]


class PartLayout(NamedTuple):
    """What the channels of ``FieldMaps`` mean.

    Attributes:
        names: Names of the P parts, in the order of the heatmaps.
        sources: Keypoint types of which each part is the mean position; one, if it is a keypoint itself.
        limbs: L pairs of parts in the order in which ``paper`` decoding visits them; the first begins people.
        channels: (L,) channel of each limb's x component; y follows.
        bridges: Limbs that ``paper`` decoding only uses to complete people.
        part_of: (K,) part of each keypoint type.
        hub: The part with the most limbs: what lacks it may come in pieces.
    """

    names: Tuple[str, ...]
    sources: Tuple[Tuple[int, ...], ...]
    limbs: Tuple[Limb, ...]
    channels: Tuple[int, ...]
    bridges: Tuple[int, ...]
    part_of: Tuple[int, ...]
    hub: int

    def mirrored_parts(self, meta: KeypointMeta) -> Tuple[int, ...]:
        """Return the part that each becomes in a mirrored image.

        Raises:
            ValueError: One becomes a part that the network does not have.
        """
        mirrored = [tuple(sorted(meta.flip_indices[k] for k in source)) for source in self.sources]
        known = {tuple(sorted(source)): part for part, source in enumerate(self.sources)}
        for name, source in zip(self.names, mirrored):
            if source not in known:
                raise ValueError(
                    f"parts: expected the mirror image of {name!r} too: add it, or set model.flip_test=False"
                )
        return tuple(known[source] for source in mirrored)

    def mirrored_limbs(self, meta: KeypointMeta) -> Tuple[Tuple[int, bool], ...]:
        """Return the limb that each becomes in a mirrored image, and whether its direction is reversed.

        Raises:
            ValueError: One becomes a limb that the network does not have.
        """
        part = self.mirrored_parts(meta)
        known = {limb: (number, False) for number, limb in enumerate(self.limbs)}
        known.update({(b, a): (number, True) for (a, b), (number, _) in list(known.items())})
        found = []
        for a, b in self.limbs:
            if (part[a], part[b]) not in known:
                raise ValueError(
                    f"limbs: expected the mirror image of {self.names[a]}-{self.names[b]} too: add it, or set "
                    "model.flip_test=False"
                )
            found.append(known[part[a], part[b]])
        return tuple(found)


# OpenPose's order of COCO's keypoints, and a neck. Source: Lightweight OpenPose, arXiv:1811.12004, and its code.
_COCO_18 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip
_NECK = {"neck": ("left_shoulder", "right_shoulder")}
# Pair of parts, and the channel of the field's x component.
_COCO_18_LIMBS = (
    (1, 2, 12), (1, 5, 20), (2, 3, 14), (3, 4, 16), (5, 6, 22), (6, 7, 24), (1, 8, 0), (8, 9, 2), (9, 10, 4),
    (1, 11, 6), (11, 12, 8), (12, 13, 10), (1, 0, 28), (0, 14, 30), (14, 16, 34), (0, 15, 32), (15, 17, 36),
    (2, 16, 18), (5, 17, 26),
)  # fmt: skip
_COCO_18_BRIDGES = (17, 18)
PRESETS = ("coco-18",)


def build_layout(
    meta: KeypointMeta,
    parts: Union[str, Sequence[Any], None] = None,
    limbs: Union[Sequence[Sequence[str]], None] = None,
) -> PartLayout:
    """Return the layout of a network.

    Args:
        meta: The skeleton of the people.
        parts: ``"coco-18"``: COCO's keypoints in OpenPose's order, and a neck; None: the skeleton's keypoints; or a
            list in the order of the heatmaps: a keypoint's name, or ``{"name": ..., "mean": [names]}`` for the mean of
            some.
        limbs: Pairs of names of parts, in the order of the fields, which ``paper`` decoding follows too: the first part
            of each should be in an earlier one. None: those of the preset, or the skeleton's, ordered and turned that
            way, with those that close a circle last.

    Raises:
        ValueError: A name is unknown or used twice, a keypoint is no part, or there are no limbs.
    """
    if isinstance(parts, str):
        if parts not in PRESETS:
            raise ValueError(
                f"parts: expected one of {list(PRESETS)}, a list of parts or None, got {parts!r}"
            )
        if limbs is not None:
            raise ValueError(f"limbs: expected None with parts {parts!r}, which has its own")
        names, sources = _parts_of(
            meta, [{"name": n, "mean": _NECK[n]} if n in _NECK else n for n in _COCO_18]
        )
        pairs = tuple((a, b) for a, b, _ in _COCO_18_LIMBS)
        channels = tuple(channel for _, _, channel in _COCO_18_LIMBS)
        return _layout(meta, names, sources, pairs, channels, _COCO_18_BRIDGES)
    names, sources = _parts_of(meta, list(meta.names) if parts is None else parts)
    bridges: Tuple[int, ...] = ()
    if limbs is None:
        pairs = _pairs([(meta.names[a], meta.names[b]) for a, b in meta.skeleton], names)
        pairs, bridges = _from_the_first_on(pairs)
    else:
        pairs = _pairs(limbs, names)
    channels = tuple(range(0, 2 * len(pairs), 2))
    return _layout(meta, names, sources, pairs, channels, bridges)


def _layout(
    meta: KeypointMeta,
    names: Tuple[str, ...],
    sources: Tuple[Tuple[int, ...], ...],
    limbs: Tuple[Limb, ...],
    channels: Tuple[int, ...],
    bridges: Tuple[int, ...],
) -> PartLayout:
    ends = [part for limb in limbs for part in limb]
    hub = max(range(len(names)), key=ends.count)
    return PartLayout(names, sources, limbs, channels, bridges, _keypoint_parts(meta, sources), hub)


def _from_the_first_on(pairs: Sequence[Limb]) -> Tuple[Tuple[Limb, ...], Tuple[int, ...]]:
    """Return the pairs such that each, but the first of a separate piece, begins at an earlier one, and the circles."""
    left, ordered, closing = list(pairs), [], []
    known: Set[int] = set()
    while left:
        limb = next((one for one in left if known & set(one)), left[0])
        left.remove(limb)
        if known.issuperset(limb):
            closing.append(limb)
            continue
        ordered.append(limb if limb[0] in known or not known & set(limb) else limb[::-1])
        known.update(limb)
    return (*ordered, *closing), tuple(range(len(ordered), len(pairs)))


def _parts_of(
    meta: KeypointMeta, parts: Sequence[Any]
) -> Tuple[Tuple[str, ...], Tuple[Tuple[int, ...], ...]]:
    index = {name: k for k, name in enumerate(meta.names)}
    found: Dict[str, Tuple[int, ...]] = {}
    for part in parts:
        name, means = (part.get("name"), part.get("mean")) if isinstance(part, Mapping) else (part, [part])
        if not isinstance(name, str) or not means or isinstance(means, str):
            raise ValueError(
                f"parts: expected a name, or 'name' and 'mean' with names of keypoints, got {part!r}"
            )
        if name in found:
            raise ValueError(f"parts: expected different names, got {name!r} twice")
        found[name] = tuple(_look_up(keypoint, index, "parts") for keypoint in means)
    return tuple(found), tuple(found.values())


def _pairs(limbs: Sequence[Sequence[str]], names: Sequence[str]) -> Tuple[Limb, ...]:
    index = {name: part for part, name in enumerate(names)}
    pairs: List[Limb] = []
    for limb in limbs:
        if isinstance(limb, str) or len(limb) != 2:
            raise ValueError(f"limbs: expected pairs of names of parts, got {limb!r}")
        a, b = (_look_up(name, index, "limbs") for name in limb)
        if a == b or (a, b) in pairs or (b, a) in pairs:
            raise ValueError(f"limbs: expected different pairs of different parts, got {list(limb)}")
        pairs.append((a, b))
    if not pairs:
        raise ValueError("limbs: expected at least one pair of parts, got none: set limbs, or the skeleton's")
    return tuple(pairs)


def _look_up(name: Any, index: Mapping[str, int], what: str) -> int:
    if name in index:
        return index[name]
    near = difflib.get_close_matches(str(name), list(index), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(index)}"
    raise ValueError(f"{what}: unknown {name!r}; {hint}")


def _keypoint_parts(meta: KeypointMeta, sources: Sequence[Sequence[int]]) -> Tuple[int, ...]:
    """Return the part of each keypoint type."""
    of = {source[0]: part for part, source in enumerate(sources) if len(source) == 1}
    missing = [name for k, name in enumerate(meta.names) if k not in of]
    if missing:
        raise ValueError(f"parts: expected all keypoints of the skeleton, {missing} are missing")
    return tuple(of[k] for k in range(meta.num_keypoints))

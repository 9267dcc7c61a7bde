"""Keypoint configs from the skeletons of labelling tools: read, guessed, written."""

from __future__ import annotations

import pprint
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ehrpose.files import write_text
from ehrpose.keypoint_meta import KeypointMeta

# COCO's tolerances by body part, for keypoints of the same name.
_SIGMAS = {
    **{"nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062},
    **{"hip": 0.107, "knee": 0.087, "ankle": 0.089, "head": 0.079, "neck": 0.079},
}
# For any other part: the elbow's, in the middle of COCO's range.
_OTHER_SIGMA = 0.072
# Words for a side; the two-letter ones are front, hind, back or lower.
_LEFT = ("left", "l", "lft", "lt", "fl", "lf", "hl", "lh", "bl", "lb", "rl")
_RIGHT = ("right", "r", "rgt", "rt", "fr", "rf", "hr", "rh", "br", "rb", "rr")
_OPPOSITE = {**dict(zip(_LEFT, _RIGHT)), **dict(zip(_RIGHT, _LEFT))}
# Where a name's words part, besides punctuation: rEye, LEye, eye1.
_PARTS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d])(?=\d)|(?<=\d)(?=[^\W\d])")


def guess_keypoints(name: str, names: Sequence[str], limbs: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Return a keypoint config made from names and limbs alone.

    Names that differ only in left and right (``left_eye``, ``l_eye``, ``eyeR``) become mirror pairs. Tolerances are
    COCO's for its body parts and 0.072 for others: a guess, which affects AP only.

    Args:
        name: Name of the dataset.
        names: K keypoint names.
        limbs: Pairs of names.
    """
    return {
        "dataset_name": name,
        "names": list(names),
        "swap": mirror_pairs(names),
        "skeleton": [tuple(limb) for limb in limbs],
        "sigmas": [_sigma(keypoint) for keypoint in names],
    }


def mirror_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the (left, right) pairs of names that differ only in the side.

    The side may be a word anywhere in the name (``back_left_paw``, ``rib.L``, ``kneeL``, ``eye (left)``), or be joined
    to one (``leye``, ``eyeleft``).
    """
    by_words: dict[tuple[str, ...], str] = {}
    for name in names:
        by_words.setdefault(_words(name), name)
    pairs: list[tuple[str, str]] = []
    used: set[str] = set()
    for name in names:
        for words, is_left in _mirrored(_words(name)):
            other = by_words.get(words)
            if other is not None and other != name and not used & {name, other}:
                used |= {name, other}
                pairs.append((name, other) if is_left else (other, name))
                break
    return pairs


def one_sided(names: Sequence[str]) -> list[str]:
    """Return the names with a word for a side, but without a mirror pair."""
    paired = {name for pair in mirror_pairs(names) for name in pair}
    sides = {"left", "right", "l", "r"}
    return [name for name in names if name not in paired and sides & set(_words(name))]


def _words(name: str) -> tuple[str, ...]:
    return tuple(
        part.casefold() for word in re.findall(r"[^\W_]+", name) for part in _PARTS.split(word) if part
    )


def _mirrored(words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Yield the words of the opposite side, the likeliest first, and whether ``words`` are on the left."""
    sided = [i for i, word in enumerate(words) if word in _OPPOSITE and len(words) > 1]
    if len(sided) > 1:
        yield tuple(_OPPOSITE.get(word, word) for word in words), words[sided[0]] in _LEFT
    for i in sided:
        yield (*words[:i], _OPPOSITE[words[i]], *words[i + 1 :]), words[i] in _LEFT
    for i, word in enumerate(words):
        for side in ("left", "right", "l", "r"):
            if len(word) - len(side) < 2:
                continue
            if word.startswith(side):
                yield (*words[:i], _OPPOSITE[side] + word[len(side) :], *words[i + 1 :]), side in _LEFT
            if len(side) > 1 and word.endswith(side):
                yield (*words[:i], word[: -len(side)] + _OPPOSITE[side], *words[i + 1 :]), side in _LEFT


def _sigma(name: str) -> float:
    return next((_SIGMAS[word] for word in _words(name) if word in _SIGMAS), _OTHER_SIGMA)


def write_keypoints(keypoints: Mapping[str, Any], path: str | Path) -> None:
    """Write a keypoint config as a Python file, whole or not at all."""
    KeypointMeta.build(keypoints)
    lines = [
        '"""Skeleton of a dataset; sigmas are COCO\'s for keypoints of the same name, otherwise a guess."""',
        "",
        "keypoints = dict(",
    ]
    for key, value in keypoints.items():
        text = pprint.pformat(value, width=100, compact=True).replace("\n", "\n    ")
        lines.append(f"    {key}={text},")
    write_text(path, "\n".join([*lines, ")", ""]))

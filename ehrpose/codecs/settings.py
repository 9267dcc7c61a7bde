"""Decoding options: names, defaults, meanings and checks."""

from __future__ import annotations

import difflib
import inspect
import math
from dataclasses import MISSING, dataclass, fields
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, TypeVar

import numpy as np

from ehrpose.codecs.argument_checks import positive_int
from ehrpose.codecs.sides import paired_limbs
from ehrpose.keypoint_meta import KeypointMeta

Constructor = TypeVar("Constructor", bound=Callable[..., None])


@dataclass(frozen=True)
class DecodeSettings:
    """Settings of decoding: seven fields that follow from the codec, and options with a default.

    Every field with a default is an option of ``AssociativeEmbedding`` and a key of ``codec`` in configs.

    Attributes:
        order: Keypoint types in the order in which they are grouped.
        sigmas: (K,) OKS tolerances.
        paired_limbs: As returned by ``sides.paired_limbs``.
        skeleton: (L, 2) int64, keypoint types at the ends of the limbs.
        limb_lengths: (L,) usual lengths of the limbs relative to one another, or None.
        unbiased: Whether the training targets were unbiased (UDP).
        cell_offset: As in ``AssociativeEmbedding``.
        max_candidates: Peaks per keypoint type.
        min_score: Peaks at or below it are ignored, 0 to 1.
        max_tag_dist: Largest tag distance within one person.
        fill_missing: Fill in missing keypoints from the heatmap where the tag is near the person's.
        min_keypoints: ``fast`` only: people with fewer keypoints (before filling) are dropped.
        max_spread: ``fast`` only: a keypoint farther from the person's median keypoint than this multiple of the
            median distance is dropped (see ``far_members``); None: all are kept.
        nms_oks: ``fast`` only: of two people with a higher OKS, the one with the lower score is dropped; None: all
            are kept.
        place_weight: ``fast`` only: grouping also considers position; a distance of the input's short side counts as
            much as this tag distance; 0: tags alone count.
        score_power: ``fast`` only: a person's score is the power mean of the scores of its keypoints (0 for missing
            ones), before filling; 1 is the mean, 2 the root mean square.
        score_size: ``fast`` only: the score is multiplied by this power of the person's size relative to the input;
            0: size does not count.
        pair_ratio: ``fast`` only: where a left keypoint and its right counterpart coincide, one of them moves to the
            best other place among their candidates if that has at least this fraction of the score, 0 to 1; pairs are
            swapped where that is more likely (see ``separate_sides``); None: they stay.
        limb_weight: ``fast`` with ``pair_ratio`` only: in the choice between left and right, limbs longer by the
            square root of the person's area cost as much as this score difference; 0: scores alone decide.
        max_limb: ``fast`` only: keypoints at the end of a limb longer than this multiple of its usual length, at the
            person's scale, are cut off, and dropped if they are fewer than three; half as much again for keypoints
            that are filled in (see ``codecs.limbs``). None, or ``keypoints`` without ``limb_lengths``: all are kept.
        dist_reweight: In grouping, a tag distance up to ``max_tag_dist`` counts as many times as the candidate is
            farther from the person's centre than the nearest candidate of its type (Open Model Zoo's rule).
        scale_tags: With several test scales: ``"first"`` takes the tags of scale 1, ``"all"`` concatenates all.
        resize: ``paper`` only: ``"direct"`` resizes each level to the input, ``"two_step"`` first to the finest level,
            where heatmaps are averaged, then to the input.
        refine: ``paper`` only: ``"quarter"`` moves peaks a quarter pixel towards the higher neighbour, ``"dark"`` to
            the maximum of a second-order expansion (see ``dark_peak``); filled keypoints always move a quarter pixel.
    """

    order: Tuple[int, ...]
    sigmas: np.ndarray
    paired_limbs: Tuple[Tuple[int, int, int, int], ...]
    skeleton: np.ndarray
    limb_lengths: Optional[np.ndarray]
    unbiased: bool
    cell_offset: float
    max_candidates: int = 30
    min_score: float = 0.1
    max_tag_dist: float = 1.0
    fill_missing: bool = True
    min_keypoints: int = 1
    max_spread: Optional[float] = None
    nms_oks: Optional[float] = None
    place_weight: float = 0.0
    score_power: float = 1.0
    score_size: float = 0.0
    pair_ratio: Optional[float] = None
    limb_weight: float = 0.3
    max_limb: Optional[float] = None
    dist_reweight: bool = False
    scale_tags: str = "first"
    resize: str = "direct"
    refine: str = "quarter"

    @classmethod
    def from_options(
        cls, meta: KeypointMeta, unbiased: bool = False, cell_offset: float = 0.5, **options: Any
    ) -> DecodeSettings:
        """Return the settings for a skeleton.

        Args:
            meta: The skeleton.
            unbiased: Whether the training targets were unbiased (UDP).
            cell_offset: As in ``AssociativeEmbedding``.
            options: Any of the fields with a default.

        Raises:
            TypeError: An option does not exist; the message names the nearest one.
            ValueError: A value is out of range; the message names the option and what was expected.
        """
        refuse_unknown(cls, options)
        skeleton = np.asarray(meta.skeleton, np.int64).reshape(-1, 2)
        return cls(
            tuple(meta.order), meta.sigmas, paired_limbs(meta), skeleton, meta.limb_lengths, bool(unbiased),
            float(cell_offset), **options,
        )  # fmt: skip

    def __post_init__(self) -> None:
        for name in ("max_candidates", "min_keypoints"):
            object.__setattr__(self, name, positive_int(getattr(self, name), name))
        for name, (expected, is_valid) in _NUMBERS.items():
            object.__setattr__(self, name, checked_number(getattr(self, name), name, expected, is_valid))
        for name in ("fill_missing", "dist_reweight"):
            object.__setattr__(self, name, bool(getattr(self, name)))
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name}: expected {allowed[0]!r} or {allowed[1]!r}, got {getattr(self, name)!r}"
                )


# Allowed values of each option; where the text ends in "or None", None too.
_NUMBERS: Dict[str, Tuple[str, Callable[[float], bool]]] = {
    "min_score": ("a finite number", math.isfinite),
    "max_tag_dist": ("a number of at least 0", lambda value: value >= 0),
    "max_spread": ("a number above 1, or None", lambda value: value > 1),
    "nms_oks": ("a number from 0 to 1, or None", lambda value: 0 <= value <= 1),
    "place_weight": ("a finite number of at least 0", lambda value: 0 <= value < math.inf),
    "score_power": ("a finite number above 0", lambda value: 0 < value < math.inf),
    "score_size": ("a finite number of at least 0", lambda value: 0 <= value < math.inf),
    "pair_ratio": ("a number from 0 to 1, or None", lambda value: 0 <= value <= 1),
    "max_limb": ("a number above 1, or None", lambda value: value > 1),
    "limb_weight": ("a finite number of at least 0", lambda value: 0 <= value < math.inf),
}

_CHOICES: Dict[str, Tuple[str, str]] = {
    "scale_tags": ("first", "all"),
    "resize": ("direct", "two_step"),
    "refine": ("quarter", "dark"),
}


def checked_number(
    value: Any, name: str, expected: str, is_valid: Callable[[float], bool]
) -> Optional[float]:
    """Return ``value`` as a float, or None where ``expected`` ends in "or None".

    Raises:
        ValueError: It is no number, or not as ``expected`` says.
    """
    if value is None and expected.endswith("or None"):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, (str, bool)) or not is_valid(number):
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    return number


def refuse_unknown(settings: type, options: Mapping[str, Any]) -> None:
    """Raise TypeError for an option that a dataclass of settings has not; the message names the nearest one."""
    known = [parameter.name for parameter in option_parameters(settings)]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
            raise TypeError(f"unknown codec option {name!r}; {hint}")


def option_parameters(settings: type) -> List[inspect.Parameter]:
    """Return the options, the fields with a default, as keyword-only parameters of a constructor."""
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type
        )
        for field in fields(settings)
        if field.default is not MISSING
    ]


def takes_options(settings: type) -> Callable[[Constructor], Constructor]:
    """Show the options of ``settings`` in a constructor's signature, in place of its ``**options``.

    ``ehrpose.config`` reads the allowed config keys from there, and ``help`` what it prints.
    """

    def decorate(constructor: Constructor) -> Constructor:
        signature = inspect.signature(constructor)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        shown = signature.replace(parameters=[*own, *option_parameters(settings)])
        constructor.__signature__ = shown  # type: ignore[attr-defined]
        return constructor

    return decorate

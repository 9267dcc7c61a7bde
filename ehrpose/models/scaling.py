"""Compound scaling: every size of EfficientHRNet as a function of one real coefficient phi.

Source: Neff et al., EfficientHRNet, arXiv:2007.08090, section 3.2 and Table 1. Where text and table
disagree, this follows the table: branch widths grow by 1.2455 (the text says 1.25) and are rounded up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ehrpose.registry import refuse_reference

# (expansion t, channels c, repeats n, stride s, kernel k) of the seven MBConv stages of EfficientNet-B0.
MBCONV_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280


@dataclass(frozen=True)
class CompoundScaling:
    """All sizes derived from phi.

    Attributes:
        phi: The coefficient; 0 is H0, -4 is H-4; any real number.
        input_size: Side of the square network input, px; a multiple of 32.
        width: Multiplier of the backbone's channels.
        depth: Multiplier of the backbone's repeats.
        branch_channels: Channels of the four branches of the neck, strides 4, 8, 16, 32.
        num_modules: High-resolution modules of stages 2, 3 and 4.
    """

    phi: float
    input_size: int
    width: float
    depth: float
    branch_channels: tuple[int, int, int, int]
    num_modules: tuple[int, int, int]

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Channels of the backbone's stem and seven stages."""
        return tuple(round_channels(c, self.width) for c in (STEM_CHANNELS, *(s[1] for s in MBCONV_STAGES)))

    @property
    def stage_repeats(self) -> tuple[int, ...]:
        """Blocks of the backbone's seven stages."""
        return tuple(round_repeats(stage[2], self.depth) for stage in MBCONV_STAGES)


def compound_scaling(phi: float) -> CompoundScaling:
    """Return every size of EfficientHRNet for the scaling coefficient ``phi``.

    Args:
        phi: Any real number of at least -15 (input 32 px); 0 to -4 are the paper's H0 to H-4.

    Raises:
        ValueError: ``phi`` is not a finite number, or the input would be smaller than 32 px.
    """
    refuse_reference(phi)
    if isinstance(phi, bool) or not isinstance(phi, (int, float)) or not math.isfinite(phi):
        raise ValueError(f"phi must be a finite number, got {phi!r}")
    # The network halves its input five times, so sides are multiples of 32.
    input_size = 32 * math.floor((512 + 32 * phi) / 32 + 0.5)
    if input_size < 32:
        raise ValueError(f"phi {phi} yields an input of {input_size} px; the minimum is 32 px, phi -15")
    return CompoundScaling(
        phi=phi,
        input_size=input_size,
        width=1.1**phi,
        depth=1.2**phi,
        branch_channels=tuple(math.ceil(32 * 2**n * 1.2455**phi) for n in range(4)),
        num_modules=_modules(phi),
    )


def _modules(phi: float) -> tuple[int, int, int]:
    """Return the modules, falling linearly with phi: stage 3 from 4 down to 1, then stage 4 from 3 down to 1."""
    steps = math.floor(phi + 0.5)
    return 1, max(1, 4 + steps), max(1, 3 + min(0, 3 + steps))


def round_channels(channels: float, width: float, divisor: int = 8) -> int:
    """Scale ``channels`` by ``width`` to a multiple of ``divisor``, never more than 10 % below."""
    if width == 1.0:
        return int(channels)
    scaled = channels * width
    rounded = max(divisor, int(scaled + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * scaled else rounded


def round_repeats(repeats: int, depth: float) -> int:
    """Scale ``repeats`` by ``depth``, rounded up."""
    # 1.2**phi is not exact: without the tolerance, 5 * 1.2 / 1.2 would round up to 6.
    return repeats if depth == 1.0 else math.ceil(depth * repeats - 1e-9)

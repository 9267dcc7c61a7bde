"""The sizes of an exported network's input: as in the config's test, unless the options ask for others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ehrpose.deploy.export.options import ExportOptions
from ehrpose.image_warp import plan_inputs
from ehrpose.models.estimator import side_multiple

# The example of an input that follows the photo: what most cameras deliver.
_TYPICAL_WH = (640, 480)
# The default shapes where an engine wants fixed ones, as long side over short side: photos of 4:3, 3:2 and 16:9 lose
# little in it, and AP on COCO is that of free shapes within 0.002 (docs/deploy/index.md).
_FIXED_ASPECT = 1.5
# The most that a sidecar may state (sidecar.schema.json).
_MAX_ASPECT = 100.0


@dataclass(frozen=True)
class InputForm:
    """Sizes of a network's input.

    Attributes:
        size_wh: Width and height, px; one example if they vary.
        varying: ``sides`` or ``shapes`` of ``Sidecar.input``; empty if the size is fixed.
        border: Colour around the photo, BGR.
        losses: What is otherwise than in the config's own test, one sentence each.
    """

    size_wh: tuple[int, int]
    varying: dict[str, Any] = field(default_factory=dict)
    border: tuple[int, int, int] = (0, 0, 0)
    losses: tuple[str, ...] = ()


def input_form(model: Any, options: ExportOptions) -> InputForm:
    """Return the sizes of the input of ``model``, exported with ``options``.

    Args:
        model: A model from ``init_model``; the test pipeline of its config says how photos are resized.
        options: Options of the export; ``input_wh`` and ``shapes_wh`` override the config.

    Raises:
        ValueError: The network does not take inputs of a size in ``options``.
    """
    resize = _resize_step(model)
    blue, green, red = resize.get("border", (0, 0, 0))
    border = (int(blue), int(green), int(red))
    fixed = options.shapes_wh[0] if len(options.shapes_wh) == 1 else options.input_wh
    if fixed is None and not options.shapes_wh and resize["type"] == "BottomUpLetterbox":
        size = resize["size_wh"]
        fixed = (size, size) if isinstance(size, int) else (size[0], size[1])
    offset = getattr(model.codec, "side_offset", 0)
    for size_wh in options.shapes_wh if fixed is None else [fixed]:
        _check_size(size_wh, side_multiple(model), offset)
    losses = _passes_lost(model, resize)
    if fixed is not None:
        if resize["type"] != "BottomUpLetterbox":
            losses.append(
                f"every photo is letterboxed into {fixed[0]} x {fixed[1]} px: people are smaller in it than in the "
                "config's test if its shape is another; omit `input_size` to keep the shape of each photo"
            )
        return InputForm(fixed, border=border, losses=tuple(losses))
    divisor = int(resize.get("size_divisor", 64))
    given = resize.get("input_size") or model.codec.input_size
    sides: dict[str, Any] = {
        # Rounded up as it is for every photo.
        "short": plan_inputs((1, 1), given, divisor, offset=offset)[0].size_wh[0],
        "divisor": divisor,
        "max_aspect": min(float(resize.get("max_aspect", 8.0)), _MAX_ASPECT, options.info.max_aspect),
    }
    if resize.get("max_aspect", 8.0) > options.info.max_aspect:
        losses.append(
            f"{options.info.title} lays out memory for the longest photo, here {options.info.max_aspect:g} times as "
            "long as wide: longer ones are scaled down"
        )
    if resize.get("side", "short") != "short":
        sides["side"] = resize["side"]
    if offset:
        sides["offset"] = offset
    shapes = options.shapes_wh
    if options.info.sizes == "shapes" and not shapes:
        shapes = _two_shapes(sides["short"], side_multiple(model), offset)
    if shapes:
        wide = max(shapes, key=lambda size_wh: size_wh[0] / size_wh[1])
        return InputForm(wide, {"shapes": [[h, w] for w, h in shapes]}, border, tuple(losses))
    plan = plan_inputs(
        _TYPICAL_WH,
        sides["short"],
        divisor,
        max_aspect=sides["max_aspect"],
        side=sides.get("side", "short"),
        offset=offset,
    )[0]
    return InputForm(plan.size_wh, {"sides": sides}, border, tuple(losses))


def _check_size(size_wh: tuple[int, int], multiple: int, offset: int) -> None:
    if any((side - offset) % multiple for side in size_wh):
        plus = f" plus {offset}" if offset else ""
        raise ValueError(
            f"expected an input size in multiples of {multiple}{plus} px, got {size_wh[0]} x {size_wh[1]}"
        )


def _resize_step(model: Any) -> dict[str, Any]:
    """Return the step of the config's test pipeline that resizes photos."""
    for step in model.cfg.test_dataloader.dataset.pipeline:
        if step["type"] in ("BottomUpResize", "BottomUpLetterbox"):
            return dict(step)
    return {"type": "BottomUpResize"}


def _passes_lost(model: Any, resize: dict[str, Any]) -> list[str]:
    """Say which passes of the config's test an exported network, which sees a photo once, does not make."""
    lost = []
    if model.flip_test:
        lost.append("the mirrored photo (`flip_test`)")
    if len(resize.get("scales", (1.0,))) > 1:
        lost.append("other scales (`scales`)")
    if not lost:
        return []
    return [f"the file sees each photo once, without {' and '.join(lost)} of the config's test"]


def _two_shapes(short: int, multiple: int, offset: int) -> tuple[tuple[int, int], tuple[int, int]]:
    long = round(short * _FIXED_ASPECT / multiple) * multiple + offset
    return (long, short), (short, long)

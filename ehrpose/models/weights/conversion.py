"""Conversion of weights from other projects to our names.

Supported are the public EfficientHRNet checkpoints (``features.*``, ``trans*_branch*``, ``stage*``, ``final_layers.*``,
``deconv_layers.*``), ImageNet classifiers in the same layout (``features.*``, ``classifier.*``), EfficientNet-Lite
(``_conv_stem``, ``_blocks.*``, ``_fc``), and the layouts of ``rival_layouts``. Either every tensor is mapped, or
nothing is converted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ehrpose.models.backbones import EfficientNet, EfficientNetLite
from ehrpose.models.heads import AEHead, ClassificationHead
from ehrpose.models.necks import HighResolutionNeck
from ehrpose.models.scaling import compound_scaling
from ehrpose.models.weights.conversion_names import (
    classifier_name,
    lite_name,
    one_classifier_form,
    public_name,
)
from ehrpose.models.weights.field_layouts import kept_stages
from ehrpose.models.weights.rival_layouts import (
    RIVAL_KINDS,
    build_network,
    find_layout,
    network_sizes,
)
from ehrpose.models.weights.state_dict_diff import (
    Differences,
    compare_tensors,
    first_names,
    strip_prefix,
    with_counters,
)

PAPER_PHIS = (0, -1, -2, -3, -4)
# Width and depth of the published Lite models.
LITE_SIZES = {
    "Lite0": (1.0, 1.0),
    "Lite1": (1.0, 1.1),
    "Lite2": (1.1, 1.2),
    "Lite3": (1.2, 1.4),
    "Lite4": (1.4, 1.8),
}
KINDS = ("pose", "classification", "lite", *RIVAL_KINDS)
_SEEN = {
    "pose": "EfficientHRNet, its authors' names",
    "classification": "EfficientNet, names of the public EfficientHRNet code",
    "lite": "EfficientNet-Lite",
}
# Beginnings of names that tell networks which share HRNet's trunk.
_UNSUPPORTED = {"offset_final_layer.": "DEKR", "head.gfd_module.": "CID"}


@dataclass(frozen=True)
class Converted:
    """Weights under our names.

    Attributes:
        state_dict: The weights: for BottomUpEstimator (``pose``), otherwise for the backbone alone, or for
            ImageClassifier if the head was kept.
        kind: ``"pose"``, ``"classification"``, ``"lite"`` or one of ``RIVAL_KINDS``.
        sizes: Values for the model's config: phi, or width and depth; num_keypoints and tag_strides, or
            num_classes.
        seen: The network and whose names the file has.
        dropped: Names of tensors that were not kept: those of a classifier, or of refinement stages.
        counters: Number of counters of batch norms that the file lacks and that were added, as 0.
        cut: Names of tensors whose rows that nothing uses were left out.
    """

    state_dict: dict[str, Tensor]
    kind: str
    sizes: dict[str, Any]
    seen: str
    dropped: tuple[str, ...] = field(default=())
    counters: int = 0
    cut: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    """A model that the file may belong to: its sizes, and our name and shape for each name in the file."""

    label: str
    sizes: dict[str, Any]
    names: dict[str, str]
    shapes: dict[str, Tensor]


def convert(
    tensors: Mapping[str, Tensor],
    kind: str = "auto",
    phi: float | None = None,
    keep_classifier: bool = False,
    refinements: int | None = None,
) -> Converted:
    """Rename weights of a supported layout.

    Args:
        tensors: State dict; the prefixes of wrappers, ``module.``, ``1.`` and so on, are removed, and counters of batch
            norms that it lacks start at 0.
        kind: ``"pose"``, ``"classification"``, ``"lite"`` or one of ``RIVAL_KINDS``; ``"auto"`` detects it from the
            names.
        phi: Scaling coefficient, any real number; None detects one of 0 to -4 from the shapes. Not for Lite.
        keep_classifier: Keep the head of a classifier.
        refinements: Refinement stages of Lightweight OpenPose to keep; None: one, as its authors use it.

    Raises:
        ValueError: The layout is unknown, or a tensor is unexpected, missing or of another shape.
    """
    tensors, _ = strip_prefix(tensors)
    if kind == "auto":
        kind = detect_kind(tensors)
    if kind not in KINDS:
        raise ValueError(f"kind must be 'auto' or one of {', '.join(KINDS)}, got {kind!r}")
    if phi is not None and kind not in ("pose", "classification"):
        name = "EfficientNet-Lite" if kind == "lite" else kind
        raise ValueError(f"{name} has no phi: omit phi={phi}, its sizes are detected from the shapes")
    if kind not in ("classification", "lite") and keep_classifier:
        raise ValueError("a pose checkpoint has no classifier to keep: omit keep_classifier")
    if kind in RIVAL_KINDS or refinements is not None:
        return _converted_rival(tensors, kind, refinements)
    if kind == "classification":
        tensors = one_classifier_form(tensors)
    chosen = _best(_candidates(kind, tensors, phi), tensors)
    tensors, counters = with_counters(tensors, chosen.shapes)
    result = {ours: tensors[theirs] for theirs, ours in chosen.names.items()}
    dropped: tuple[str, ...] = ()
    if kind != "pose":
        if keep_classifier and "num_classes" not in chosen.sizes:
            raise ValueError("the file has no classifier to keep: omit keep_classifier")
        if not keep_classifier:
            dropped = tuple(name for name, ours in chosen.names.items() if ours.startswith("head."))
            result = {k.removeprefix("backbone."): v for k, v in result.items() if k.startswith("backbone.")}
    return Converted(result, kind, chosen.sizes, _SEEN[kind], dropped, counters)


def detect_kind(tensors: Mapping[str, Tensor]) -> str:
    """Detect the kind from the names of the tensors.

    Raises:
        ValueError: The layout is unknown.
    """
    rival = find_layout(tensors)
    if rival is not None:
        return rival.kind
    if "_conv_stem.weight" in tensors:
        return "lite"
    if "final_layers.0.weight" in tensors:
        return "pose"
    if "features.0.1.weight" in tensors:
        return "classification"
    other = next(
        (who for start, who in _UNSUPPORTED.items() if any(k.startswith(start) for k in tensors)), None
    )
    if other is not None:
        raise ValueError(f"unknown layout: the names are those of {other}, which is not supported")
    raise ValueError(
        "unknown layout: expected the names of EfficientHRNet (final_layers.0.weight), EfficientNet "
        "(features.0.1.weight), EfficientNet-Lite (_conv_stem.weight), of Lightweight OpenPose or PoseNet, or of "
        "HRNet, HigherHRNet, LitePose, ResNet, MobileNetV2 or hourglasses with associative embedding; got "
        f"{first_names(tuple(tensors))}"
    )


def _converted_rival(tensors: Mapping[str, Tensor], kind: str, refinements: int | None) -> Converted:
    """Rename the weights of another network; its output's rows that nothing uses are left out."""
    if refinements is not None and kind != "lwopenpose":
        raise ValueError(f"{kind} has no refinement stages: omit refinements={refinements}")
    layout = find_layout(tensors)
    if layout is None or layout.kind != kind:
        seen = "unknown ones" if layout is None else f"those of {layout.seen}"
        raise ValueError(f"expected the names of {kind}, got {seen}: omit kind, it is detected")
    sizes = network_sizes(layout, tensors)
    dropped = tuple(name for name in tensors if layout.dropped and re.match(layout.dropped, name))
    if "num_refinements" in sizes:
        sizes["num_refinements"], dropped = kept_stages(tensors, sizes["num_refinements"], refinements)
    tensors = {name: value for name, value in tensors.items() if name not in dropped}
    with torch.device("meta"):
        ours = build_network(layout, sizes).state_dict()
    names = {layout.renamed(name, sizes): name for name in ours}
    shapes = {theirs: ours[name] for theirs, name in names.items()}
    cut = [name for name, value in shapes.items() if _has_more_rows(tensors.get(name), value)]
    shortened = {**tensors, **{name: tensors[name][: len(shapes[name])].clone() for name in cut}}
    chosen = _best([_Candidate(layout.seen, sizes, names, shapes)], shortened)
    shortened, counters = with_counters(shortened, chosen.shapes)
    result = {ours: shortened[theirs] for theirs, ours in chosen.names.items()}
    if layout.dropped:
        result = {name.removeprefix("backbone."): value for name, value in result.items()}
    return Converted(result, kind, sizes, layout.seen, dropped, counters, tuple(cut))


def _has_more_rows(tensor: Tensor | None, expected: Tensor) -> bool:
    """Return whether a tensor is twice ``expected`` in the first axis: the unused half of an hourglass' output."""
    return (
        tensor is not None
        and tensor.ndim == expected.ndim > 0
        and tensor.shape[1:] == expected.shape[1:]
        and tensor.shape[0] == 2 * expected.shape[0]
    )


def _candidates(kind: str, tensors: Mapping[str, Tensor], phi: float | None) -> Iterator[_Candidate]:
    """Yield the models that the tensors may belong to, each built on demand."""
    if kind == "lite":
        yield from (_lite_candidate(name, tensors) for name in LITE_SIZES)
        return
    phis = _likely_first(tensors) if phi is None else [phi]
    if kind == "classification":
        yield from (_classifier_candidate(p, tensors) for p in phis)
        return
    outputs = _outputs(tensors)
    yield from (_pose_candidate(p, *outputs) for p in phis)


def _likely_first(tensors: Mapping[str, Tensor]) -> list[float]:
    """Return the paper's phis, those with the closest number of backbone blocks first."""
    blocks = {match[1] for match in (re.match(r"features\.(\d+)\.conv\.", name) for name in tensors) if match}
    return sorted(PAPER_PHIS, key=lambda phi: abs(sum(compound_scaling(phi).stage_repeats) - len(blocks)))


def _best(candidates: Iterable[_Candidate], tensors: Mapping[str, Tensor]) -> _Candidate:
    """Return the first candidate that fits without any difference."""
    found = {}
    for candidate in candidates:
        differences = compare_tensors(with_counters(tensors, candidate.shapes)[0], candidate.shapes)
        if not differences:
            return candidate
        found[candidate.label] = differences
    label = min(found, key=lambda name: _count(found[name]))
    counts = ", ".join(f"{name}: {_count(differences)}" for name, differences in found.items())
    others = f"; mismatched tensors by model: {counts}; pass phi if it is another" if len(found) > 1 else ""
    raise ValueError(f"the tensors do not match {label}: {found[label].describe()}{others}")


def _count(differences: Differences) -> int:
    return len(differences.misshaped) + len(differences.missing) + len(differences.unexpected)


def _candidate(
    label: str,
    sizes: dict[str, Any],
    build: Callable[[], nn.Module],
    rename: Callable[[str, Sequence[int]], str],
) -> _Candidate:
    """Build the model without allocating its weights, and rename its tensors."""
    with torch.device("meta"):
        model = build()
    repeats = [len(stage) for stage in model.backbone.stages]
    ours = model.state_dict()
    names = {rename(name, repeats): name for name in ours}
    return _Candidate(label, sizes, names, {theirs: ours[name] for theirs, name in names.items()})


def _parts(**parts: nn.Module) -> nn.Module:
    return nn.ModuleDict(parts)


# ---- the public pose layout


def _outputs(tensors: Mapping[str, Tensor]) -> tuple[int, bool]:
    """Return the number of keypoints, and whether stride 2 has tags too."""
    shapes = []
    for name in ("final_layers.0.weight", "final_layers.1.weight"):
        if name not in tensors:
            raise ValueError(
                f"{name} is missing, so the number of keypoints is unknown: is it a pose checkpoint?"
            )
        if tensors[name].ndim != 4:
            raise ValueError(
                f"{name} has shape {tuple(tensors[name].shape)}, expected that of a 1x1 convolution"
            )
        shapes.append(tensors[name].shape[0])
    first, second = shapes
    if first % 2 or second not in (first // 2, first):
        raise ValueError(
            f"final_layers.0 and .1 have {first} and {second} channels, expected 2K and K (or 2K) for K keypoints"
        )
    return first // 2, second == first


def _pose_candidate(phi: float, num_keypoints: int, with_tag2: bool) -> _Candidate:
    tag_strides = (4, 2) if with_tag2 else (4,)

    def build() -> nn.Module:
        codec = SimpleNamespace(
            num_keypoints=num_keypoints, tag_dim=1, strides=(4, 2), tag_strides=tag_strides
        )
        backbone = EfficientNet(phi=phi)
        neck = HighResolutionNeck(backbone.out_channels, phi=phi)
        return _parts(backbone=backbone, neck=neck, head=AEHead(neck.out_channels, codec))

    sizes = {"phi": phi, "num_keypoints": num_keypoints, "tag_strides": tag_strides}
    return _candidate(_label(phi), sizes, build, public_name)


def _label(phi: float) -> str:
    return "H0 (phi 0)" if phi == 0 else f"H{phi:+g} (phi {phi:g})"


# ---- classifiers in the public layout


def _classifier_parts(backbone: EfficientNet, num_classes: int | None, lite: bool) -> nn.Module:
    if num_classes is None:
        return _parts(backbone=backbone)
    head = ClassificationHead(backbone.last_channels, num_classes, backbone.head_channels, lite)
    return _parts(backbone=backbone, head=head)


def _num_classes(tensors: Mapping[str, Tensor], name: str) -> dict[str, int]:
    return {"num_classes": tensors[name].shape[0]} if name in tensors else {}


def _classifier_candidate(phi: float, tensors: Mapping[str, Tensor]) -> _Candidate:
    classes = _num_classes(tensors, "classifier.weight")

    return _candidate(
        _label(phi).replace("H", "B", 1),
        {"phi": phi, **classes},
        lambda: _classifier_parts(EfficientNet(phi=phi), classes.get("num_classes"), lite=False),
        classifier_name,
    )


# ---- EfficientNet-Lite


def _lite_candidate(label: str, tensors: Mapping[str, Tensor]) -> _Candidate:
    width, depth = LITE_SIZES[label]
    classes = _num_classes(tensors, "_fc.weight")
    return _candidate(
        label,
        {"width": width, "depth": depth, **classes},
        lambda: _classifier_parts(
            EfficientNetLite(width=width, depth=depth), classes.get("num_classes"), lite=True
        ),
        lite_name,
    )

"""The paper's Tables 1 to 5 with what this project counts and measures beside what the paper prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehrpose.analysis.paper.published import COMPACT, NOTES, SCALING, SYSTEMS, System
from ehrpose.config import load_config, resolve
from ehrpose.models.complexity import count_complexity
from ehrpose.models.scaling import compound_scaling
from ehrpose.registry import MODELS

NOT_MEASURED = "not measured"
NOT_HERE = "not in ehrpose"


@dataclass
class Measured:
    """What was counted and measured of a network.

    Attributes:
        params: Parameters.
        macs: Multiply-adds of one square input.
        printed_params: Parameters by the paper's counting.
        printed_macs: Multiply-adds by the paper's counting.
        ap: AP on the data at hand, 0 to 1; None: not measured.
        top1: Share of images that a classifier is right about, 0 to 1; None: not measured.
        num_photos: Photos that AP or top-1 was measured on.
        fps: Frames per second of the network alone, batch 1, square input; None: not measured.
        watts: Mean power while measuring them, or as stated by the caller; None: not measured.
    """

    params: int
    macs: int
    printed_params: int
    printed_macs: int
    ap: float | None = None
    top1: float | None = None
    num_photos: int = 0
    fps: float | None = None
    watts: float | None = None

    @property
    def efficiency(self) -> float | None:
        """Accuracy-efficiency: AP in %, x frames per second / watts; None unless all three are known."""
        if self.ap is None or self.fps is None or not self.watts:
            return None
        return 100 * self.ap * self.fps / self.watts


def count(config: str | Path, cfg_options: Mapping[str, Any] | None = None) -> Measured:
    """Return the counts of a config's network at its own square input; nothing is computed.

    Raises:
        FileNotFoundError: The config does not exist.
    """
    import torch

    cfg = resolve(load_config(config, cfg_options))
    side = int(cfg.get("codec", cfg).input_size)  # a classifier has no codec
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
        exact, printed = (count_complexity(model, (side, side), 1, counting) for counting in (False, True))
    return Measured(exact.params, exact.macs, printed.params, printed.macs)


def other_configs(root: Path) -> list[str]:
    """Return the rivals' configs that the paper's tables do not name."""
    named = {system.config for system in SYSTEMS}
    return [
        path.relative_to(root).as_posix()
        for path in sorted((root / "configs" / "rivals").glob("*_*.py"))
        if path.relative_to(root).as_posix() not in named
    ]


def table1() -> str:
    """Return Table 1: the scaling of EfficientHRNet."""
    rows = []
    for row in SCALING:
        ours = compound_scaling(row.phi)
        name = f"H{row.phi}" if row.phi else "H0"
        rows.append(
            [
                *(name, row.input_size, ours.input_size, row.backbone),
                *(_joined(row.widths), _joined(ours.branch_channels)),
                *(_joined(row.modules), _joined(ours.num_modules)),
            ]
        )
    head = ["model", "input", "ours", "backbone", "widths", "ours", "modules", "ours"]
    return _table("Table 1: scaling", head, rows)


def table2(measured: Mapping[str, Measured]) -> str:
    """Return Table 2: the compact EfficientNets.

    Args:
        measured: Config to what is known of it; see ``count``. Those of Table 2 must be there.
    """
    rows = []
    for row in COMPACT:
        imagenet, cifar = (measured[config] for config in row.configs)
        printed = "*" if row.wrong == row.params[0] else ""
        rows.append(
            [
                *(f"B{row.phi}" if row.phi else "B0", row.input_size),
                f"{row.params[0]:g}{printed} / {row.params[1]:g}",
                f"{imagenet.params / 1e6:.3f} / {cifar.params / 1e6:.3f}",
                *(f"{row.gflops:g}", f"{imagenet.macs / 1e9:.3f}"),
                *(f"{row.top1[0]:g}", _top1(imagenet), f"{row.top1[1]:g}", _top1(cifar)),
            ]
        )
    head = ["model", "input", "params (M), ImageNet / CIFAR-100", "ours", "GFLOPs", "ours"]
    head += ["top-1 ImageNet", "ours", "top-1 CIFAR-100", "ours"]
    return _table("Table 2: compact EfficientNets", head, rows, NOTES[2])


def table3(measured: Mapping[str, Measured]) -> str:
    """Return Table 3: size, cost and AP on COCO test-dev2017.

    Args:
        measured: Config to what is known of it; see ``count``.
    """
    rows = []
    for system in SYSTEMS:
        ours = measured.get(system.config or "")
        rows.append(
            [
                *_system(system),
                *_costs(system, ours),
                _number(system.test_dev),
                _number(system.test_dev_scales),
            ]
        )
    head = [*_SYSTEM, *_COSTS, "AP test-dev2017", "several scales"]
    note = "Test-dev2017 has no public labels: it is not measured here."
    return _table("Table 3: test-dev2017", head, rows, note)


def table4(measured: Mapping[str, Measured]) -> str:
    """Return Table 4: AP on COCO val2017 and frames per second."""
    rows = []
    for system in SYSTEMS:
        if system.val is None:
            continue
        ours = measured.get(system.config or "")
        paper_fps = "" if system.fps is None else f"{system.fps:g} ({system.device})"
        rows.append(
            [
                *_system(system),
                *_costs(system, ours),
                _number(system.val),
                _ap(system, ours),
                paper_fps,
                _fps(system, ours),
            ]
        )
    head = [*_SYSTEM, *_COSTS, "AP val2017", "ours", "FPS", "ours"]
    return _table("Table 4: val2017", head, rows, NOTES[4])


def table5(measured: Mapping[str, Measured]) -> str:
    """Return Table 5: accuracy-efficiency, AP x FPS / W."""
    rows = []
    for system in SYSTEMS:
        if system.efficiency is None:
            continue
        ours = measured.get(system.config or "")
        watts = NOT_MEASURED if ours is None or ours.watts is None else f"{ours.watts:.1f}"
        efficiency = NOT_MEASURED if ours is None or ours.efficiency is None else f"{ours.efficiency:.2f}"
        rows.append(
            [
                *(
                    *_system(system),
                    _number(system.val),
                    _ap(system, ours),
                    _number(system.fps),
                    _fps(system, ours),
                ),
                *(_number(system.watts), watts, f"{system.efficiency:g}", efficiency),
            ]
        )
    head = [*_SYSTEM, "AP val2017", "ours", "FPS", "ours", "W", "ours", "AE", "ours"]
    return _table("Table 5: accuracy-efficiency", head, rows, NOTES[5])


def other_table(measured: Mapping[str, Measured], configs: Iterable[str]) -> str:
    """Return the same columns for rivals that the paper does not name."""
    rows = []
    for config in configs:
        ours = measured[config]
        system = System(Path(config).stem, config)
        rows.append([Path(config).stem, *_counts(ours), _ap(system, ours), _fps(system, ours)])
    head = ["config", "params (M)", "paper's counting", "GMACs", "paper's counting", "AP, ours", "FPS, ours"]
    return _table("Other networks", head, rows)


_SYSTEM = ["model", "input"]
_COSTS = ["params (M)", "ours", "ours, paper's counting", "GFLOPs", "ours", "ours, paper's counting"]


def _system(system: System) -> list[str]:
    backbone = f" {system.backbone}" if system.backbone.startswith("HRNet-W") else ""
    return [f"{system.name}{backbone}", "" if system.input_size is None else str(system.input_size)]


def _costs(system: System, ours: Measured | None) -> list[str]:
    counted = [NOT_HERE] * 4 if ours is None else _counts(ours)
    return [_number(system.params), *counted[:2], _number(system.gflops), *counted[2:]]


def _counts(ours: Measured) -> list[str]:
    params = [f"{ours.params / 1e6:.3f}", f"{ours.printed_params / 1e6:.3f}"]
    return [*params, f"{ours.macs / 1e9:.3f}", f"{ours.printed_macs / 1e9:.3f}"]


def _ap(system: System, ours: Measured | None) -> str:
    if ours is None:
        return NOT_HERE if system.config is None else NOT_MEASURED
    return NOT_MEASURED if ours.ap is None else f"{100 * ours.ap:.1f} ({ours.num_photos:,} photos)"


def _top1(ours: Measured) -> str:
    return NOT_MEASURED if ours.top1 is None else f"{100 * ours.top1:.1f} ({ours.num_photos:,} images)"


def _fps(system: System, ours: Measured | None) -> str:
    if ours is None:
        return NOT_HERE if system.config is None else NOT_MEASURED
    return NOT_MEASURED if ours.fps is None else f"{ours.fps:.2f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _joined(values: Sequence[int]) -> str:
    return " ".join(map(str, values))


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]], note: str = "") -> str:
    lines = [f"## {title}", "", _line(head), _line(["---"] * len(head)), *map(_line, rows)]
    return "\n".join([*lines, *(["", note] if note else []), ""])


def _line(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"

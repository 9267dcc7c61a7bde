"""The paper's Figure 1: AP over multiply-adds, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ehrpose.analysis.paper.published import SYSTEMS
from ehrpose.analysis.paper.tables import Measured
from ehrpose.files import make_parent, written_beside


def draw_figure(measured: Mapping[str, Measured], path: str | Path) -> Path:
    """Draw AP on COCO over billions of multiply-adds, the paper's figures and what was measured here.

    Printed AP is of val2017 where the paper has it, else of test-dev2017. Circles: as the paper prints both; crosses:
    the printed AP over our count; triangles: AP measured here.

    Args:
        measured: Config to what is known of it.
        path: Picture to write, ``.png`` or ``.svg``.

    Raises:
        ValueError: The suffix is not one of a picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), dpi=120)
    family: tuple[list[float], list[float]] = ([], [])
    for system in SYSTEMS:
        ap = system.val if system.val is not None else system.test_dev
        if ap is None or system.gflops is None:
            continue
        ours = measured.get(system.config or "")
        is_family = system.name.startswith("EfficientHRNet")
        axes.scatter(system.gflops, ap, color="C0" if is_family else "C7", zorder=3)
        label = f"{system.name}{' ' + system.backbone if system.backbone.startswith('HRNet-W') else ''}"
        place: dict[str, Any] = {"xytext": (-6, 5), "ha": "right"} if is_family else {"xytext": (6, -9)}
        axes.annotate(label, (system.gflops, ap), textcoords="offset points", fontsize=7, **place)
        if ours is not None:
            axes.scatter(ours.macs / 1e9, ap, marker="x", color="C3", zorder=4)
            if ours.ap is not None:
                axes.scatter(ours.macs / 1e9, 100 * ours.ap, marker="^", color="C2", zorder=5)
        if is_family:
            family[0].append(system.gflops)
            family[1].append(ap)
    axes.plot(*family, color="C0", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(0.8, 1500)
    axes.set_xlabel("multiply-adds, billions")
    axes.set_ylabel("AP on COCO, %")
    handles = [
        axes.scatter([], [], color="C0", label="as printed in the paper"),
        axes.scatter([], [], marker="x", color="C3", label="printed AP, multiply-adds counted here"),
        axes.scatter([], [], marker="^", color="C2", label="AP measured here"),
    ]
    axes.legend(handles=handles, fontsize=8, loc="lower right")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    target = Path(path)
    make_parent(target)
    try:
        if target.suffix.lower().lstrip(".") not in figure.canvas.get_supported_filetypes():
            raise ValueError(
                f"{path}: expected a picture ending in .png, .svg or .pdf, got {target.suffix!r}"
            )
        with written_beside(target) as partial:
            figure.savefig(partial)
    finally:
        pyplot.close(figure)
    return target

"""A rival as its authors run it, in eager torch with the usual decoder, against its export with ours.

The authors' code is not part of this project. Their network is ours in eager mode, which computes the same to the bit,
and ``decode_reference`` stands for their decoder: it follows the same steps on whole maps.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch

from ehrpose.analysis.codec.codec_benchmark import load_poses, make_cases
from ehrpose.analysis.speed.torch_runtime import TorchRuntime
from ehrpose.codecs import AssociativeEmbedding
from ehrpose.codecs.reference import decode_reference
from ehrpose.config import load_config
from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.pipeline import export
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.files import temporary_folder
from ehrpose.models.loading import init_model


def compare_with_authors(
    config: str,
    people: int = 5,
    precisions: Sequence[str] = ("fp32",),
    rounds: int = 5,
    num_threads: int = 2,
    labels: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> list[tuple[str, float, float, float]]:
    """Time a photo to its people in both ways, in turns, without flip test.

    Random weights find no people that make sense, so each way decodes drawn maps of ``people`` people.

    Args:
        config: Config of a network with the codec ``AssociativeEmbedding``.
        people: People in the maps.
        precisions: Precisions of OpenVINO.
        rounds: Runs of each.
        num_threads: CPU threads of the network.
        labels: COCO keypoint file with poses; None: drawn ones.
        cfg_options: Values that replace those of the config.

    Returns:
        Name and medians in milliseconds: photo to maps, maps to people, both.

    Raises:
        ValueError: The codec is another one.
    """
    torch.set_num_threads(num_threads)
    cv2.setNumThreads(num_threads)
    options = {**(cfg_options or {}), "model.flip_test": False}
    with temporary_folder() as folder:
        checkpoint = str(folder / "random.pth")
        model = init_model(load_config(config, options))
        if not isinstance(model.codec, AssociativeEmbedding):
            raise ValueError(f"expected a config with AssociativeEmbedding, got {type(model.codec).__name__}")
        torch.save({"state_dict": model.state_dict()}, checkpoint)
        side, meta = model.codec.input_size, model.codec.meta
        photo = np.random.default_rng(0).integers(0, 256, (side + 96, side + 96, 3), np.uint8)
        maps = make_cases(meta, load_poses(meta, labels), [people], [side], 1)[0].maps[0]
        ways: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {}
        for precision in precisions:
            chosen = ExportOptions(backend="openvino", precision=precision)
            path = export(config, checkpoint, folder / precision, chosen, (), options).path
            runtime = PoseRuntime(path, num_threads=num_threads)
            ways[f"OpenVINO {runtime.precision}"] = (_network(runtime, photo), _decoder(runtime.codec, maps))
        eager = TorchRuntime(path, config, checkpoint, options)
        settings, wh = model.codec.settings, (side, side)
        usual = _network(eager, photo), lambda: decode_reference([maps], wh, settings)
        ways = {"authors' way: eager torch, usual decoder": usual, **ways}
        spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for turn in range(rounds + 1):
            for name, (network, decoder) in ways.items():
                times = _seconds(network), _seconds(decoder)
                if turn:  # the first is a warm-up
                    spent[name].append(times)
    return [
        (name, *(1000 * statistics.median(values) for values in (*zip(*times), list(map(sum, times)))))
        for name, times in spent.items()
    ]


def table(rows: Sequence[tuple[str, float, float, float]]) -> str:
    """Return the rows as text, each with how many times faster it is than the first."""
    lines = [
        "| way | photo to maps, ms | maps to people, ms | photo to people, ms | times faster |",
        "|---|---|---|---|---|",
    ]
    for name, network, decoder, whole in rows:
        lines.append(f"| {name} | {network:.1f} | {decoder:.1f} | {whole:.1f} | {rows[0][3] / whole:.1f} |")
    return "\n".join(lines)


def _network(runtime: Any, photo: np.ndarray) -> Callable[[], Any]:
    return lambda: runtime.run(runtime.prepare(photo)[0][None])


def _decoder(codec: Any, maps: Any) -> Callable[[], Any]:
    return lambda: codec.decode(maps)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start

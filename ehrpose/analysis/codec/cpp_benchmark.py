"""Decoding times of the C++ decoder (the folder ``cpp`` of the repository) against Python's ``fast`` mode."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.analysis.codec.codec_benchmark import NUMPY, compiled_loops, load_poses
from ehrpose.analysis.codec.maps_from_labels import noisy_maps, place_people
from ehrpose.codecs.accelerator import kernels
from ehrpose.deploy.sidecar import build_codec, read_sidecar
from ehrpose.files import temporary_folder
from ehrpose.structures import Maps

CPP = "C++"
# Python's and C++'s turns alternate, so that both meet the same noise of the machine.
TURNS = 3


def build_program(sources: Path, folder: Path, compiler: str) -> Path:
    """Compile the example ``decode_tensors`` with -O2; return its path.

    Raises:
        FileNotFoundError: The sources, or the compiler, are not there.
        RuntimeError: It does not compile.
    """
    files = [sources / "examples" / "decode_tensors.cpp", sources / "ehrpose_decoder.cpp"]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{file} not found: it is part of the repository, not of the package")
    program = folder / "decode_tensors"
    command = [
        compiler,
        "-std=c++17",
        "-O2",
        "-ffp-contract=off",
        f"-I{sources}",
        f"-I{files[0].parent}",
        *map(str, files),
    ]
    try:
        done = subprocess.run([*command, "-o", str(program)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"compiler not found: {compiler}: install it, or name another one") from None
    if done.returncode:
        raise RuntimeError(f"{compiler} failed:\n{done.stderr[-1000:]}")
    return program


def time_case(program: Path, sidecar: Path, codec: Any, maps: Maps, rounds: int) -> dict[str, float]:
    """Return the median milliseconds of processor time of one decode, by form."""
    files = []
    for name, field in maps._asdict().items():
        if field is not None:
            np.save(sidecar.with_name(f"{name}.npy"), field)
            files.append(f"{name}={sidecar.with_name(f'{name}.npy')}")
    forms = [("Python", True)] if kernels() is not None else []
    forms.append((f"Python{NUMPY}", False))
    times: dict[str, list[float]] = {name: [] for name, _ in [*forms, (CPP, True)]}
    for _ in range(TURNS):
        for name, compiled in forms:
            with compiled_loops(compiled):
                codec.decode(maps)
                for _ in range(rounds):
                    start = time.thread_time()
                    codec.decode(maps)
                    times[name].append(1000 * (time.thread_time() - start))
        command = [str(program), str(sidecar), "--rounds", str(max(rounds, 2)), *files]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = re.match(r"([\d.]+) ms", done.stderr)
        assert found is not None
        times[CPP].append(float(found[1]))
    return {name: statistics.median(values) for name, values in times.items()}


def print_cpp_benchmark(
    network: Path, sources: Path, people: Sequence[int], sides: Sequence[int], rounds: int, compiler: str
) -> None:
    """Print the decoding times on noisy maps of drawn people, with the codec of an exported network.

    Args:
        network: The exported network; only its JSON is used.
        sources: The folder ``cpp``.
        people: Numbers of people.
        sides: Sides of the network's input, px.
        rounds: Decodes in each of three turns.
        compiler: C++ compiler.

    Raises:
        FileNotFoundError: The sources, the compiler or the network are not there.
        ValueError: The network outputs candidates.
    """
    content = json.loads(network.with_name(f"{network.name}.json").read_text(encoding="utf-8"))
    codec = build_codec(read_sidecar(network, check_hashes=False), network)
    if content.get("decode") == "peaks":
        raise ValueError(f"expected a network that outputs maps, got {network}, which outputs candidates")
    poses = load_poses(codec.meta, None)
    with temporary_folder() as folder:
        program = build_program(sources, Path(folder), compiler)
        print("| people | input, px | found | form | ms | as many times as C++ |\n|---|---|---|---|---|---|")
        for side in sides:
            content["format"] = 1
            content["input"] = {
                "shape": [1, 3, side, side],
                "dtype": "uint8",
                "layout": "NCHW",
                "color": "BGR",
            }
            sidecar = Path(folder) / "network.json"
            sidecar.write_text(json.dumps(content), encoding="utf-8")
            for count in people:
                rng = np.random.default_rng([side, count])
                maps = noisy_maps(codec, *place_people(poses, count, side, rng), (side, side), rng)
                found = len(codec.decode(maps))
                times = time_case(program, sidecar, codec, maps, rounds)
                for name, value in times.items():
                    ratio = f"{value / times[CPP]:.1f}"
                    print(f"| {count} | {side} | {found} | {name} | {value:.2f} | {ratio} |", flush=True)

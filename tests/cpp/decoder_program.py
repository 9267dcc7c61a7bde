"""The C++ decoder as a program, and what to compare it with."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np

CPP = Path(__file__).resolve().parents[2] / "cpp"
STRICT = ("-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion")
SANITIZED = ("-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# Largest differences: positions in px, scores as a share of the largest.
PIXELS, SCORES = 0.01, 1e-5


def compile_program(target, source, *flags):
    """Compile a program of ``source`` and the decoder."""
    files = (str(source), str(CPP / "ehrpose_decoder.cpp"))
    command = (
        "g++",
        "-std=c++17",
        *STRICT,
        *flags,
        f"-I{CPP}",
        f"-I{CPP / 'examples'}",
        *files,
        "-o",
        str(target),
    )
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return target


def run_program(program, *arguments):
    """Run a program with sanitizers; what they find ends it with an exit code of its own."""
    env = {**os.environ, "ASAN_OPTIONS": "exitcode=99:detect_leaks=1", "UBSAN_OPTIONS": "exitcode=98"}
    return subprocess.run(
        [str(program), *map(str, arguments)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


class Jobs:
    """Files for the example's ``--jobs``, one line for each decode."""

    def __init__(self, folder):
        self.folder, self.lines = Path(folder), []

    def write(self, name, content):
        """Write text or an array; return the path."""
        path = self.folder / name
        if isinstance(content, np.ndarray):
            np.save(path, content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def add(self, sidecar, fields, *options):
        """Add the decode of arrays by name; ``sidecar`` is a path."""
        number = len(self.lines)
        files = [f"{name}={self.write(f'{number}_{name}.npy', value)}" for name, value in fields.items()]
        self.lines.append("\t".join(map(str, (sidecar, "--exact", *options, *files))))

    def run(self, program):
        """Return what the program printed for each line."""
        path = self.write("jobs.txt", "".join(line + "\n" for line in self.lines))
        result = run_program(program, "--jobs", path)
        assert result.returncode == 0, result.stderr[-3000:]
        printed = [json.loads(line) for line in result.stdout.splitlines()]
        assert len(printed) == len(self.lines)
        return printed


def fields_of(maps):
    """Return the arrays of maps or candidates by name, without those that are None."""
    return {name: np.asarray(field) for name, field in maps._asdict().items() if field is not None}


def differences(printed, people):
    """Return what differs between the people that the program printed and those of Python; empty if nothing does."""
    if isinstance(printed, dict):
        return [f"expected {len(people)} people, got {printed}"]
    if len(printed) != len(people):
        return [f"expected {len(people)} people, got {len(printed)}"]
    shape = people.keypoints.shape
    found = []
    for name, key, expected, limit in (
        ("positions", "keypoints", people.keypoints, PIXELS),
        ("scores of keypoints", "keypoint_scores", people.keypoint_scores, SCORES),
        ("scores of people", "bbox_score", people.scores, SCORES),
        ("boxes", "bbox", people.boxes(), PIXELS),
    ):
        got = np.array([person[key] for person in printed], np.float64).reshape(expected.shape)
        size = np.maximum(np.abs(expected), 1) if limit == SCORES else np.maximum(np.abs(expected) * 1e-6, 1)
        worst = (np.abs(got - expected) / size).max(initial=0)
        if not worst <= limit:
            found.append(f"{name} differ by {worst}")
    filled = np.array([person["filled"] for person in printed], bool).reshape(shape[:2])
    if people.filled is not None and not (filled == people.filled).all():
        found.append("filled differs")
    return found

from __future__ import annotations

import subprocess
import sys

import pytest

from ehrpose.analysis.codec import kernel_worth
from ehrpose.analysis.codec.codec_benchmark import load_poses, make_cases
from ehrpose.codecs import AssociativeEmbedding, accelerator
from ehrpose.config import load_config
from ehrpose.keypoint_meta import KeypointMeta

compiled = pytest.importorskip("ehrpose.codecs.compiled.kernels", reason="numba is not installed")


@pytest.fixture(scope="module")
def case(coco_keypoints):
    skeleton = KeypointMeta.build(coco_keypoints)
    return make_cases(skeleton, load_poses(skeleton, None, num_scenes=6), [3], [128], 2)[0]


@pytest.mark.parametrize(
    ("decoding", "loops"),
    [
        ("fast", {"best_in_windows", "group", "local_maxima"}),
        ("fast, shipped models", {"best_in_windows", "group", "local_maxima", "separate_sides"}),
        ("paper", {"best_by_tag", "group", "upsampled_peaks"}),
    ],
)
def test_only_loops_that_a_decoding_uses_are_timed(case, coco_keypoints, decoding, loops):
    codec = AssociativeEmbedding(128, coco_keypoints, **kernel_worth.DECODINGS[decoding])
    ms = kernel_worth.time_without(case, codec, rounds=2)
    assert set(ms) == {"", kernel_worth.ALL} | loops
    assert all(value > 0 for value in ms.values())
    assert accelerator.kernels() is compiled


def test_a_loop_that_is_switched_off_is_not_called(monkeypatch):
    loops = {name: getattr(compiled, name) for name in compiled.__all__}
    with kernel_worth._decoding_with({**loops, "group": None}):
        assert accelerator.kernel("group") is None
        assert accelerator.kernel("best_by_tag") is compiled.best_by_tag


def test_without_numba_it_says_what_to_install(case, coco_keypoints, monkeypatch):
    monkeypatch.setattr(accelerator, "kernels", lambda: None)
    with pytest.raises(RuntimeError, match="expected compiled loops to compare with, got none"):
        kernel_worth.time_without(case, AssociativeEmbedding(128, coco_keypoints), rounds=1)


def test_the_shipped_options_are_those_of_the_shipped_config(root):
    codec = load_config(root / "configs/ehrnet/small_coco-320.py").codec
    assert {name: codec.get(name) for name in kernel_worth.SHIPPED} == kernel_worth.SHIPPED


def test_the_command_prints_a_row_for_each_decoding_and_case(root):
    command = [sys.executable, "tools/analysis_tools/benchmark_codec.py", "--kernels", "--people", "0", "2"]
    command += ["--sides", "64", "--num-maps", "1", "--rounds", "2"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in done.stdout.splitlines()[1:]]
    assert rows[0] == [
        "decoding",
        "input",
        "people",
        "ms",
        *(f"`{n}`" for n in compiled.__all__),
        kernel_worth.ALL,
    ]
    assert [row[:3] for row in rows[2:]] == [
        [decoding, "64", people] for decoding in kernel_worth.DECODINGS for people in ("0", "2")
    ]
    assert all(float(cell) > 0 for row in rows[2:] for cell in row[3:] if cell)
    assert [row[4] != "" for row in rows[2:]] == [False, False, False, False, False, True]

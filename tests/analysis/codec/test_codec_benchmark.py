from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from ehrpose.analysis.codec.codec_benchmark import (
    load_poses,
    make_cases,
    print_benchmark,
    time_mmpose,
    time_steps,
    worst_cases,
)
from ehrpose.analysis.codec.maps_from_labels import Noise, noisy_maps, place_people
from ehrpose.codecs import AssociativeEmbedding
from ehrpose.codecs.accelerator import kernels
from ehrpose.keypoint_meta import KeypointMeta

NO_NOISE = Noise(peak=1.0, missed=0.0, floor=0.0, pixel=0.0, shift=0.0, tag=0.0)


@pytest.fixture(scope="module")
def skeleton(coco_keypoints):
    return KeypointMeta.build(coco_keypoints)


@pytest.fixture(scope="module")
def poses(skeleton):
    return load_poses(skeleton, None, num_scenes=6)


def test_poses_have_at_least_half_of_the_keypoints(poses):
    assert len(poses) >= 6
    assert all(pose.shape == (17, 3) and (pose[:, 2] > 0).sum() >= 9 for pose in poses)


def test_people_are_placed_inside(poses, rng):
    keypoints, visible = place_people(poses, 40, 256, rng)
    assert keypoints.shape == (40, 17, 2)
    inside = ((keypoints >= 0) & (keypoints <= 255)).all(axis=2)
    assert inside[visible > 0].all()


def test_maps_without_noise_decode_to_the_people(poses, skeleton, rng):
    codec = AssociativeEmbedding(256, skeleton, unbiased=True, fill_missing=False)
    keypoints, visible = place_people(poses, 1, 256, rng)
    people = codec.decode(noisy_maps(codec, keypoints, visible, (256, 256), rng, NO_NOISE))
    assert len(people) == 1
    seen = visible[0] > 0
    assert np.abs(people.keypoints[0, seen] - keypoints[0, seen]).max() < 0.1
    assert (people.keypoint_scores[0] > 0.1).tolist() == seen.tolist()


def test_noise_is_what_it_says(poses, skeleton, rng):
    codec = AssociativeEmbedding(128, skeleton)
    no_people = np.zeros((0, 17, 2)), np.zeros((0, 17), np.uint8)
    maps = noisy_maps(codec, *no_people, (128, 128), rng, Noise(floor=0.0, pixel=0.02))
    assert maps.heat4.shape == (17, 32, 32)
    assert maps.tag4.shape == (17, 32, 32)
    assert maps.heat2.shape == (17, 64, 64)
    assert maps.heat2.std() == pytest.approx(0.02, rel=0.1)
    assert maps.tag4.std() > 0.05


def test_the_benchmark_prints_a_row_for_each_case_and_the_steps(root, capsys):
    print_benchmark(
        str(root / "configs/_base_/keypoints/coco.py"), None, [0, 2], [64], 1, 1, True, None,
        root / "tools/analysis_tools/mmpose_decode.py", 1,
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert "Noise(" in lines[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:5]]
    ours = ["fast", "paper"] if kernels() is None else ["fast", "fast, NumPy", "paper", "paper, NumPy"]
    assert rows[0] == ["people", "input", "maps", *ours, "plain", "plain / paper", "plain / fast"]
    assert [row[:3] for row in rows[2:]] == [["0", "64", "16, 32"], ["2", "64", "16, 32"]]
    assert all(float(cell) > 0 for row in rows[2:] for cell in row[3 : 4 + len(ours)])
    assert [line.split("|")[1].strip() for line in lines[7:14]] == list(worst_cases(17, 64))
    threads = [line for line in lines[14:] if "ms per image by threads" in line]
    steps = [line for line in lines[14:] if line not in threads]
    assert [line.split(",")[0] for line in threads] == ["fast", "paper"]
    assert all(re.match(r"(fast|paper), [02] people, 64 px: .*peaks \d", line) for line in steps)
    assert len(steps) == 4


def test_steps_add_up_to_the_whole(poses, skeleton):
    (case,) = make_cases(skeleton, poses, [3], [128], 1)
    for mode in ("fast", "paper"):
        steps = time_steps(case, skeleton, mode, 3)
        assert {"peaks", "grouping", "filling", "other"} <= set(steps)
        assert all(ms >= 0 for ms in steps.values())


@pytest.mark.parametrize("name", worst_cases(1, 64))
def test_worst_cases_decode_in_both_modes(name, skeleton):
    maps = worst_cases(17, 64)[name]
    for mode in ("fast", "paper"):
        people = AssociativeEmbedding(64, skeleton, mode=mode).decode(maps)
        assert np.isfinite(people.keypoints).all()
        assert len(people) <= 17 * 30
        assert (len(people) == 0) == (name == "zeros")


def test_a_peer_that_fails_is_named(poses, skeleton, tmp_path):
    (case,) = make_cases(skeleton, poses, [1], [64], 1)
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit('no mmpose here')")
    with pytest.raises(RuntimeError, match="no mmpose here"):
        time_mmpose([case], sys.executable, script)


def test_times_of_a_peer_are_read(poses, skeleton, tmp_path):
    cases = make_cases(skeleton, poses, [1, 2], [64], 2)
    script = tmp_path / "peer.py"
    script.write_text(
        "import json, sys, pathlib, numpy as np\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "shapes = {p.stem: np.load(p)['heatmaps'].shape for p in folder.glob('*.npz')}\n"
        "assert set(shapes.values()) == {(17, 64, 64)}, shapes\n"
        "times = {s: [10.0 * int(s[0])] * 3 for s in shapes}\n"
        "(folder / 'times.json').write_text(json.dumps(times))\n"
    )
    time_mmpose(cases, sys.executable, script)
    assert [case.ms["mmpose"] for case in cases] == [[0.0] * 6, [10.0] * 6]

"""Skeletons of config files, with and without MMEngine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ehrpose.keypoint_files import coco_keypoints, load_keypoints
from ehrpose.keypoint_meta import KeypointMeta

ROOT = Path(__file__).parents[1]
NAMES = ("coco", "crowdpose", "five")
FILES = [f"configs/_base_/{kind}/{name}.py" for kind in ("keypoints", "datasets") for name in NAMES]
ALONE = (
    "import json, sys; sys.modules.update(torch=None, mmengine=None, mmcv=None)\n"
    "from ehrpose.keypoint_files import coco_keypoints, load_keypoints\n"
)


def without_mmengine(code):
    return subprocess.run(
        [sys.executable, "-c", ALONE + code], capture_output=True, text=True, check=False, cwd=ROOT
    )


@pytest.mark.parametrize("name", FILES)
def test_the_skeleton_is_mmengines(name):
    config = pytest.importorskip("mmengine.config").Config.fromfile(str(ROOT / name))
    ours, theirs = load_keypoints(ROOT / name), KeypointMeta.build(config.keypoints.to_dict())
    for key, value in vars(theirs).items():
        other = getattr(ours, key)
        assert other.tobytes() == value.tobytes() if hasattr(value, "tobytes") else other == value, key


def test_skeletons_are_read_without_mmengine():
    alone = [name for name in FILES if "keypoints" in name or name.endswith("/coco.py")]
    done = without_mmengine(
        f"print(json.dumps([load_keypoints(name).to_dict() for name in {alone}] + [coco_keypoints()]))"
    )
    assert done.returncode == 0, done.stderr
    *read, coco = json.loads(done.stdout)
    assert read == [load_keypoints(ROOT / name).to_dict() for name in alone]
    assert KeypointMeta.build(coco).to_dict() == KeypointMeta.build(coco_keypoints()).to_dict() == read[0]


def test_a_config_that_builds_on_others_needs_mmengine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"_base_ = {str(ROOT / 'configs/_base_/datasets/five.py')!r}\n")
    done = without_mmengine(f"load_keypoints({str(path)!r})")
    assert "ModuleNotFoundError: No module named 'mmengine" in done.stderr
    pytest.importorskip("mmengine")
    assert load_keypoints(path).names[0] == "nose"


def test_a_skeleton_may_be_made_by_a_program(tmp_path):
    path = tmp_path / "made {of} parts.py"
    path.write_text(
        "import itertools\nparts = ['nose', *(f'{s}_eye' for s in ('left', 'right'))]\n"
        "here = '{{ fileDirname }}', '{{fileBasenameNoExtension}}'\n"
        "keypoints = dict(dataset_name='|'.join(here), names=parts, swap=[parts[1:]], skeleton=[], sigmas=[0.1] * 3)\n"
    )
    assert load_keypoints(path).dataset_name == f"{tmp_path.as_posix()}|made {{of}} parts"


@pytest.mark.parametrize("text", ["keypoints = (", "1 / 0", "raise SystemError('no')", "\0"])
def test_what_cannot_be_run_is_named(tmp_path, text):
    path = tmp_path / "a.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"config .*a\.py cannot be read: \w+Error"):
        load_keypoints(path)

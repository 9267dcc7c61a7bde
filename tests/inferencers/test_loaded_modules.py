"""Finding people imports little, and no training code."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from outcomes import people_of

from ehrpose.inferencers.inferencer import PoseInferencer

OPEN = """
import json, sys
from ehrpose import PoseInferencer
inferencer = PoseInferencer({model!r}, cfg_options={options!r}, device="cpu")
opened = [name for name in sys.modules if name.split(".")[0] == "ehrpose"]
{then}
print(json.dumps([opened, [name for name in sys.modules if name.split(".")[0] == "ehrpose"]]))
"""


def modules_of(root, model, options, then=""):
    code = OPEN.format(model=str(model), options=options, then=then)
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [set(names) for names in json.loads(done.stdout.splitlines()[-1])]


def rooms(names):
    return {name.split(".")[1] for name in names if "." in name}


def test_opening_a_model_loads_at_most_76_modules_and_no_training(root):
    config = root / "configs/ehrnet/h-4_coco-384.py"
    opened, _ = modules_of(root, config, {"phi": -8, "codec.input_size": 64})
    assert len(opened) <= 76, sorted(opened)
    assert not rooms(opened) & {"engine", "evaluation", "analysis", "deploy", "tracking", "web", "commands"}
    assert not {name for name in opened if name.startswith("ehrpose.visualization.")}, "drawing"
    for training in ("datasets.transforms.mixing", "datasets.transforms.photometric", "models.target_batch"):
        assert f"ehrpose.{training}" not in opened


def test_drawing_and_tracking_are_loaded_when_asked_for(root):
    config = root / "configs/ehrnet/h-4_coco-384.py"
    options = {"phi": -8, "codec.input_size": 64}
    photo = "import numpy as np; photo = np.zeros((64, 64, 3), np.uint8)\n"
    drawing = "list(inferencer(photo, return_vis=True))\nassert 'ehrpose.tracking' not in sys.modules\n"
    following = "list(inferencer([photo], fps=5, tracker=True))"
    opened, used = modules_of(root, config, options, photo + drawing + following)
    assert "ehrpose.visualization.openpose_style" in used - opened
    assert "tracking" in rooms(used) - rooms(opened)


def test_an_error_in_a_lazy_module_is_not_hidden(monkeypatch):
    import ehrpose.models
    from ehrpose.lazy import lazy_attributes

    assert ehrpose.models.AEHead.__name__ == "AEHead"
    with pytest.raises(AttributeError, match=r"'ehrpose\.models' has no attribute 'AEHed'"):
        _ = ehrpose.models.AEHed
    get = lazy_attributes("package", {"part": "ehrpose.no_such_module"})
    with pytest.raises(ModuleNotFoundError, match=r"ehrpose\.no_such_module"):
        get("part")


def test_every_lazy_name_is_there():
    import ehrpose
    import ehrpose.datasets.transforms
    import ehrpose.media
    import ehrpose.models
    import ehrpose.models.heads

    for package in (
        ehrpose,
        ehrpose.datasets.transforms,
        ehrpose.media,
        ehrpose.models,
        ehrpose.models.heads,
    ):
        for name in package.__all__:
            assert getattr(package, name) is not None


def test_options_are_checked_when_the_inferencer_is_called(lively_model):
    inferencer, photo = PoseInferencer(lively_model), np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(TypeError, match="did you mean 'num_instances'"):
        inferencer(photo, num_instance=1)
    with pytest.raises(ValueError, match="color_by: expected one of"):
        inferencer(photo, color_by="mood")
    assert people_of(inferencer(photo, batch_size=1, bbox_thr=2.0)) == [[]]

"""Inference checks and loads only what it needs of a config."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ehrpose.config import INFERENCE_PARTS, load_config

CONFIG = "configs/ehrnet/small_coco-320.py"
# Training code, which inference does not need.
TRAINING = (
    "ehrpose.engine",
    "ehrpose.evaluation",
    "ehrpose.datasets.synthetic",
    "ehrpose.engine.visualizer",
    "mmengine.runner",
)
LOADED = """
import sys
from ehrpose import PoseInferencer
PoseInferencer("ehrnet-small", device="cpu")
print(*sorted(sys.modules))
"""


def test_inference_loads_no_training_code():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = done.stdout.split()
    assert not set(TRAINING) & set(loaded)
    assert len([name for name in loaded if name.split(".")[0] == "ehrpose"]) <= 85


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model.backbone.type": "EfficentNetLite"}, "did you mean 'EfficientNetLite'"),
        ({"model.backbone.drop_conect": 0.1}, "did you mean 'drop_connect'"),
        ({"model.init_cfg.type": "Pretraind"}, "did you mean 'Pretrained'"),
        ({"codec.sigmaa": 1}, "did you mean 'sigma'"),
        ({"codec.keypoints": "$keypoint"}, "did you mean 'keypoints'"),
        (
            {"test_dataloader.batch_sze": 2},
            "test_dataloader has no key 'batch_sze'; did you mean 'batch_size'",
        ),
        ({"test_dataloader.sampler.type": "DefaultSamplr"}, "did you mean 'DefaultSampler'"),
        ({"test_dataloader.sampler.shufle": True}, "did you mean 'shuffle'"),
        ({"test_dataloader.dataset.type": "CocoPoseDatset"}, "did you mean 'CocoPoseDataset'"),
        ({"test_dataloader.dataset.pipeline.1.type": "BottomUpResise"}, "did you mean 'BottomUpResize'"),
        ({"test_dataloader.dataset.pipeline.1.size_diviser": 32}, "did you mean 'size_divisor'"),
        ({"channel_last": True}, "did you mean 'channels_last'"),
    ],
)
def test_mistakes_in_what_inference_reads_are_named_as_ever(root, options, message):
    for parts in (INFERENCE_PARTS, None):
        with pytest.raises(ValueError, match=message):
            load_config(root / CONFIG, options, parts)


def test_training_parts_are_left_to_training(root):
    options = {"val_evaluator.type": "CocoMetrik"}
    load_config(root / CONFIG, options, INFERENCE_PARTS)
    with pytest.raises(ValueError, match="did you mean 'CocoMetric'"):
        load_config(root / CONFIG, options)


FRESH = """
import sys
from ehrpose.config import INFERENCE_PARTS, load_config
assert not any(name.startswith("ehrpose.models") for name in sys.modules)
load_config("configs/ehrnet/small_five-128.py", None, INFERENCE_PARTS if sys.argv[1] == "inference" else None)
"""


@pytest.mark.parametrize("parts", ["inference", "all"])
def test_components_that_replace_mmengines_are_known_before_anything_else_is_imported(root, parts):
    done = subprocess.run(
        [sys.executable, "-c", FRESH, parts], cwd=root, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_network_built_by_mmengine_alone_loads_only_plain_data(root):
    code = (
        "from mmengine.registry import WEIGHT_INITIALIZERS\n"
        "from ehrpose.registry import MODELS\n"
        "MODELS.get('EfficientNetLite')\n"
        "print(WEIGHT_INITIALIZERS.get('Pretrained').__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "ehrpose.models.weights.checkpoint", done.stderr[-2000:]

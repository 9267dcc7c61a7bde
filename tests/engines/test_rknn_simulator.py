"""RKNN's form on Rockchip's simulator: it has the model's maps within float16, and finds its people."""

import os
from pathlib import Path

import numpy as np
import pytest

from ehrpose.config_names import find_config, weights_of
from ehrpose.deploy.export import parity
from ehrpose.deploy.export.converters.rknn import PYTHON
from ehrpose.deploy.pipeline import ExportOptions, drawn_scene, export
from ehrpose.deploy.runtime import PoseRuntime

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON not in os.environ, reason=f"make test-engines, which sets {PYTHON}"),
]
SIZES_WH = ((480, 320), (320, 480))
# Largest differences of the maps as a fraction of their range.
ALLOWED = {"fp16": 0.05, "int8": 0.3}


def exported(folder, options):
    return export(
        str(find_config("ehrnet-small")), str(weights_of("ehrnet-small", None)), folder, options
    ).path


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    options = ExportOptions(input_dtype="float32", shapes_wh=SIZES_WH)
    return exported(tmp_path_factory.mktemp("float32"), options)


@pytest.mark.parametrize("precision", ALLOWED)
def test_the_simulator_finds_the_models_people(precision, network):
    from elsewhere import RknnSimulator, opened

    with PoseRuntime(network) as exact, opened(network, RknnSimulator) as runtime:
        scenes = [drawn_scene(exact.codec.meta, size_wh) for size_wh in SIZES_WH]
        for scene in scenes:
            runtime(scene)
        images = [batch[0] for batch in runtime.backend.inputs] if precision == "int8" else ()
        runtime.backend.compute(precision, images)
        for batch, found in zip(runtime.backend.inputs, runtime.backend.outputs):
            for name, values in exact.backend.run(batch).items():
                assert found[name].shape == values.shape
                assert np.abs(found[name] - values).max() <= ALLOWED[precision] * np.ptp(values), name
        pairs = [(runtime(scene), exact(scene)) for scene in scenes]
    change = parity.change_of_people(pairs, SIZES_WH[0])
    assert change.num_people > 0
    assert change.share <= 0.5, change.describe()


@pytest.mark.parametrize("target", ["rk3588", "rk3566"])
def test_files_for_a_chip_are_written(target, tmp_path):
    path = exported(tmp_path, ExportOptions("rknn", "fp16", target=target))
    assert sorted(item.name for item in Path(tmp_path).iterdir()) == ["end2end.rknn", "end2end.rknn.json"]
    assert path.read_bytes()[:4] == b"RKNN"

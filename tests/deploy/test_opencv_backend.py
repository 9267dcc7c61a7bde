"""Networks in OpenCV's dnn: equal to ONNX Runtime's, and refused where a version is known to be wrong."""

import threading

import cv2
import numpy as np
import pytest

from ehrpose.deploy.backends import opencv
from ehrpose.deploy.pipeline import ExportOptions, export
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError

CONFIG = "configs/ehrnet/demo_synthetic-128.py"
NEEDS = pytest.mark.skipif(opencv.opencv_version() < (5, 0), reason="OpenCV 5 runs both forms")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("opencv")
    return {
        decode: export(CONFIG, None, folder, ExportOptions("opencv", decode=decode, name=decode)).path
        for decode in ("none", "peaks")
    }


@NEEDS
@pytest.mark.parametrize("size_wh", [(128, 128), (192, 128), (128, 256)])
def test_maps_are_those_of_onnxruntime(networks, size_wh):
    images = np.random.default_rng(0).integers(0, 256, (1, 3, *size_wh[::-1])).astype(np.uint8)
    found, wanted = (
        PoseRuntime(networks["none"], name).backend.run(images) for name in ("opencv", "onnxruntime")
    )
    for name, values in wanted.items():
        assert found[name].shape == values.shape
        np.testing.assert_allclose(found[name], values, atol=1e-4 * max(np.ptp(values), 1e-12))


@NEEDS
def test_candidates_are_those_of_onnxruntime(networks):
    images = np.random.default_rng(1).integers(0, 256, (1, 3, 128, 192)).astype(np.uint8)
    found, wanted = (
        PoseRuntime(networks["peaks"], name).backend.run(images) for name in ("opencv", "onnxruntime")
    )
    np.testing.assert_allclose(found["peak_scores"], wanted["peak_scores"], atol=1e-6)


@NEEDS
def test_threads_take_turns(networks):
    images = [np.full((1, 3, 128, 128), value, np.uint8) for value in range(0, 240, 30)]
    with PoseRuntime(networks["none"]) as runtime:
        alone = [runtime.backend.run(image) for image in images]
        together = [None] * len(images)

        def run(index):
            together[index] = runtime.backend.run(images[index])

        threads = [threading.Thread(target=run, args=(index,)) for index in range(len(images))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for one, other in zip(alone, together, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("version", "decode", "message"),
    [
        ("4.5.5", "none", "expected OpenCV 4.8 or newer for maps"),
        ("4.10.0", "peaks", "expected OpenCV 5.0 or newer for candidates"),
        ("4.13.0", "peaks", "does not run .* correctly"),
    ],
)
def test_versions_known_to_be_wrong_are_refused(networks, monkeypatch, version, decode, message):
    monkeypatch.setattr(cv2, "__version__", version)
    with pytest.raises(DeployError, match=message):
        PoseRuntime(networks[decode])


def test_a_closed_network_says_so(networks):
    if opencv.opencv_version() < (4, 8):
        pytest.skip("this OpenCV does not open the file")
    runtime = PoseRuntime(networks["none"])
    runtime.close()
    with pytest.raises(DeployError, match="was closed"):
        runtime.backend.run(np.zeros((1, 3, 128, 128), np.uint8))

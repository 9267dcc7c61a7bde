"""Every row of the table of engines: exported, run, and compared with the same network in ONNX Runtime.

``make test-engines`` installs the engines and sets EHRPOSE_ENGINE; without it those that are installed are tried.
"""

import contextlib
import importlib.util
import os

import cv2
import numpy as np
import pytest

from ehrpose.backend_table import BACKEND_TABLE
from ehrpose.config_names import find_config, weights_of
from ehrpose.deploy.export import parity
from ehrpose.deploy.pipeline import ExportOptions, drawn_scene, export
from ehrpose.deploy.runtime import PoseRuntime

pytestmark = pytest.mark.slow
ENGINE = os.environ.get("EHRPOSE_ENGINE", "")
ROWS = [
    (info.name, precision)
    for info in BACKEND_TABLE.values()
    for precision in info.precisions
    if ENGINE in ("", info.name)
]
# Largest difference of the maps, as a fraction of their range; int8 and 16 bits are judged by the people.
EXACT = 5e-4
SIZES_WH = [(448, 320), (320, 448)]


def skip_if_absent(info):
    if info.not_run:
        pytest.skip(f"{info.title}: {info.not_run}")
    missing = [name for name in (info.module, *info.export_packages) if not _is_there(name)]
    if missing and not ENGINE:
        pytest.skip(f"not installed: {', '.join(missing)}: make test-engines")


def _is_there(package):
    return importlib.util.find_spec(package.split("==")[0].replace("-", "_")) is not None


@pytest.fixture(scope="module")
def exact_forms(tmp_path_factory):
    """ONNX Runtime's float32 networks, by the form of their output: candidates are decoded otherwise than maps."""
    folder, config = tmp_path_factory.mktemp("exact"), str(find_config("ehrnet-small"))
    weights = str(weights_of("ehrnet-small", None))
    with contextlib.ExitStack() as stack:
        yield {
            decode: stack.enter_context(
                PoseRuntime(export(config, weights, folder, ExportOptions(decode=decode, name=decode)).path)
            )
            for decode in ("none", "peaks")
        }


@pytest.fixture(scope="module")
def exact(exact_forms):
    return exact_forms["none"]


@pytest.fixture(scope="module")
def scenes(exact):
    return [
        np.ascontiguousarray(drawn_scene(exact.codec.meta, size)[: size[1], : size[0]]) for size in SIZES_WH
    ]


@pytest.fixture(scope="module")
def photos(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, scene in enumerate(scenes):
        for flipped in (False, True):
            cv2.imwrite(str(folder / f"{number}{int(flipped)}.png"), scene[:, ::-1] if flipped else scene)
    return folder


@pytest.mark.parametrize(("name", "precision"), ROWS)
def test_the_engine_finds_the_people_of_onnxruntime(name, precision, exact_forms, scenes, photos, tmp_path):
    info = BACKEND_TABLE[name]
    skip_if_absent(info)
    for decode in info.decodes if precision == "fp32" else info.decodes[:1]:
        options = ExportOptions(
            name, precision, decode=decode, calib_data=str(photos) if precision == "int8" else None
        )
        done = export(
            str(find_config("ehrnet-small")),
            str(weights_of("ehrnet-small", None)),
            tmp_path / decode,
            options,
        )
        exact = exact_forms[decode]
        with PoseRuntime(done.path, trust_pt2=True) as runtime:
            pairs = [(runtime(scene), exact(scene)) for scene in scenes]
            if precision == "fp32" and decode == "none":
                _check_maps(runtime, exact, scenes)
        change = parity.change_of_people(pairs, SIZES_WH[0])
        assert change.num_people > 0
        # What a fixed size changes is no fault of the engine.
        same_input = info.sizes == "any"
        assert change.share <= (0.0 if precision == "fp32" and same_input else 0.5), change.describe()


def _check_maps(runtime, exact, scenes):
    for scene in scenes:
        pixels, _ = runtime.prepare(scene)
        if not exact.sidecar.takes(pixels.shape[1:]):
            continue
        found = runtime.backend.run(pixels[None])
        wanted = exact.backend.run(pixels[None].astype(np.uint8))
        for output, values in wanted.items():
            assert found[output].shape == values.shape
            assert np.abs(found[output] - values).max() <= EXACT * np.ptp(values), output


def test_the_engine_asked_for_is_installed():
    if not ENGINE:
        pytest.skip("for make test-engines")
    info = BACKEND_TABLE[ENGINE]
    assert _is_there(info.module) or info.not_run

"""Core ML's package: what it says about itself, and the program in it, computed by torch, finds the model's people."""

import importlib.util

import numpy as np
import pytest

from ehrpose.config_names import find_config, weights_of
from ehrpose.deploy.backends.coreml import unpacked_package
from ehrpose.deploy.export import parity
from ehrpose.deploy.pipeline import ExportOptions, drawn_scene, export
from ehrpose.deploy.runtime import PoseRuntime

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("coremltools") is None, reason="make test-engines"),
]
SIZES_WH = [(448, 320), (320, 448)]
# Largest differences of the maps as a fraction of their range.
ALLOWED = {"fp32": 1e-5, "fp16": 0.05, "int8": 0.1}


def exported(folder, options):
    return export(
        str(find_config("ehrnet-small")), str(weights_of("ehrnet-small", None)), folder, options
    ).path


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    with PoseRuntime(exported(tmp_path_factory.mktemp("exact"), ExportOptions())) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def scenes(exact):
    return [drawn_scene(exact.codec.meta, size_wh) for size_wh in SIZES_WH]


@pytest.mark.parametrize("precision", ALLOWED)
def test_the_program_finds_the_models_people(precision, exact, scenes, tmp_path):
    import cv2
    from elsewhere import CoreMlInTorch, opened

    for number, scene in enumerate(scenes):
        cv2.imwrite(str(tmp_path / f"{number}.png"), scene)
    calib_data = str(tmp_path) if precision == "int8" else None
    path = exported(tmp_path / "out", ExportOptions("coreml", precision, calib_data=calib_data))
    with opened(path, CoreMlInTorch) as runtime:
        for scene in scenes:
            pixels, _ = runtime.prepare(scene)
            found = runtime.backend.run(pixels[None])
            wanted = exact.backend.run(pixels[None].astype(np.uint8))
            for name, values in wanted.items():
                assert np.abs(found[name] - values).max() <= ALLOWED[precision] * np.ptp(values), name
        change = parity.change_of_people([(runtime(scene), exact(scene)) for scene in scenes], SIZES_WH[0])
    assert change.num_people > 0
    assert change.share <= (0.0 if precision == "fp32" else 0.5), change.describe()


def test_the_package_describes_its_input_and_outputs(tmp_path):
    from coremltools.models import MLModel

    following = ExportOptions("coreml", "fp16", name="people")
    fixed = ExportOptions("coreml", "fp16", name="people", input_wh=(256, 128), batch_size=2)
    for folder, options in (("following", following), ("fixed", fixed)):
        path = exported(tmp_path / folder, options)
        assert sorted(item.name for item in path.parent.iterdir()) == [
            "people.mlpackage.zip", "people.mlpackage.zip.json",
        ]  # fmt: skip
        package = unpacked_package(path, tmp_path / folder / "unpacked")
        spec = MLModel(str(package), skip_model_load=True).get_spec()
        (images,) = spec.description.input
        kind = images.type.multiArrayType
        assert images.name == "input"
        assert kind.dataType == kind.ArrayDataType.Value("FLOAT32")
        assert [item.name for item in spec.description.output] == ["heat4", "tag4", "heat2"]
        ranges = [(part.lowerBound, part.upperBound) for part in kind.shapeRange.sizeRanges]
        if options is fixed:
            assert list(kind.shape) == [2, 3, 128, 256]
            assert not ranges
        else:
            assert list(kind.shape) == [1, 3, 320, 448]
            assert ranges == [(1, 1), (3, 3), (32, 2560), (32, 2560)]

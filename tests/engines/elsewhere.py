"""Networks for engines that do not run here, computed by what does: torch for Core ML, its simulator for RKNN.

As a program it measures AP: python tests/engines/elsewhere.py FILE --ann-file JSON --img-dir FOLDER. FILE is a
``.mlpackage.zip``; or an ``.onnx`` with float32 input of one size or several, which RKNN's simulator computes.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path

import numpy as np

from ehrpose.deploy.backends import Backend
from ehrpose.deploy.backends.coreml import unpacked_package
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.registry import BACKENDS


class CoreMlInTorch(Backend):
    """The program of a Core ML package, computed by torch."""

    name = "coreml_in_torch"
    suffixes = (".zip",)

    def _load(self):
        from mil_in_torch import open_program

        with tempfile.TemporaryDirectory() as folder:
            self._program = open_program(unpacked_package(self.path, Path(folder)))

    def _run(self, images):
        from mil_in_torch import run

        return run(self._program, images)


class RknnSimulator(Backend):
    """The form of a float32 ONNX network for RKNN, on the toolkit's simulator.

    Building takes seconds, so all inputs are computed at once: a first pass notes them, ``compute`` runs them, and a
    second pass gets the outputs in the same order.
    """

    name = "rknn_simulator"
    suffixes = (".onnx",)

    def _load(self):
        self.inputs, self.outputs = [], []

    def compute(self, precision, images=()):
        from ehrpose.deploy.export.converters import Source
        from ehrpose.deploy.export.converters.rknn import simulate

        source = Source(self.path, self.sidecar, "network", precision, images, "rk3588")
        self.outputs = simulate(source, self.inputs)

    def _run(self, images):
        if self.outputs:
            return self.outputs.pop(0)
        self.inputs.append(images)
        layout = self.sidecar.outputs.items()
        height, width = self.sidecar.input["shape"][2:]
        return {
            name: np.zeros(
                (*shape[:2], shape[2] * images.shape[2] // height, shape[3] * images.shape[3] // width),
                np.float32,
            )
            for name, shape in layout
        }


@contextlib.contextmanager
def opened(path, backend):
    """Yield the runtime of a network with one of the backends above, which is registered meanwhile."""
    BACKENDS.register_module(name=backend.name, module=backend)
    try:
        with PoseRuntime(path, backend.name) as runtime:
            yield runtime
    finally:
        del BACKENDS.module_dict[backend.name]


def _measured(path, ann_file, img_dir, max_images, calib_data):
    from ehrpose.analysis.speed.exported_ap import evaluate_runtime
    from ehrpose.deploy.export.quantization import calibration_images

    backend = RknnSimulator if path.endswith(".onnx") else CoreMlInTorch
    with opened(path, backend) as runtime:
        if backend is RknnSimulator:
            evaluate_runtime(runtime, ann_file, img_dir, max_images)
            images = ()
            if calib_data is not None:
                with PoseRuntime(path, "onnxruntime") as exact:
                    images = calibration_images(exact, calib_data, 64)[0]
            runtime.backend.compute("fp16" if calib_data is None else "int8", images)
        return evaluate_runtime(runtime, ann_file, img_dir, max_images)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path")
    parser.add_argument("--ann-file", required=True)
    parser.add_argument("--img-dir", required=True)
    parser.add_argument("--max-images", type=int)
    parser.add_argument("--calib-data", help="RKNN in int8, calibrated on the photos in this folder")
    found = _measured(**vars(parser.parse_args()))
    print(" ".join(f"{name} {found[f'coco/{name}']:.4f}" for name in ("AP", "AP50", "AP75")))


if __name__ == "__main__":
    main()

"""A machine with a recording tensorrt and libcudart."""

from __future__ import annotations

import sys

import cv2
import numpy as np
from fake_cudart import FakeCudart
from fake_tensorrt import PLAN, make_tensorrt, write_onnx
from trt_api import RELEASES

from ehrpose.deploy.build_engine import BuildOptions, build_engine
from ehrpose.deploy.tensorrt import cuda

JETSON, TRT_10, TRT_11, RTX = RELEASES[0], RELEASES[3], RELEASES[4], RELEASES[5]
WEAK = RELEASES[:4]


class Machine:
    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch = folder, monkeypatch
        self.use()

    def use(self, release=JETSON, fail=(), **options):
        self.cudart = FakeCudart(**options)
        self.trt = make_tensorrt(release, self.cudart, fail, PLAN)
        self.backend = "tensorrt_rtx" if release == RTX else "tensorrt"
        self.monkeypatch.setitem(sys.modules, self.backend, self.trt)
        self.monkeypatch.setattr(cuda, "load_library", lambda: self.cudart)

    def build(self, onnx=None, out=None, **options):
        onnx = write_onnx(self.folder) if onnx is None else onnx
        return build_engine(onnx, out, BuildOptions(backend=self.backend, **options))

    def calls(self, name):
        return [arguments for called, arguments in self.trt.record if called == name]

    def flags(self):
        return [flag.split(".")[1] for (flag,) in self.calls("IBuilderConfig.set_flag()")]

    def files(self):
        return sorted(path.name for path in self.folder.iterdir())


def photos(machine, broken=0, whole=3):
    folder = machine.folder / "photos"
    (folder / "deeper").mkdir(parents=True, exist_ok=True)
    for number in range(broken):
        (folder / f"{number}.jpg").write_bytes(b"\xff\xd8\xffbroken")
    for number in range(whole):
        cv2.imwrite(str(folder / "deeper" / f"{number}.png"), np.full((32, 64, 3), number + 1, np.uint8))
    return folder

"""Backends that run exported networks, registered in BACKENDS by name."""

from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.backends.coreml import CoreMlBackend
from ehrpose.deploy.backends.executorch import ExecuTorchBackend
from ehrpose.deploy.backends.litert import LiteRtBackend
from ehrpose.deploy.backends.mnn import MnnBackend
from ehrpose.deploy.backends.ncnn import NcnnBackend
from ehrpose.deploy.backends.onnxruntime import OnnxRuntimeBackend
from ehrpose.deploy.backends.opencv import OpenCvBackend
from ehrpose.deploy.backends.openvino import OpenVinoBackend
from ehrpose.deploy.backends.pytorch import TorchBackend
from ehrpose.deploy.backends.rknn import RknnBackend
from ehrpose.deploy.backends.tensorrt import TensorRTBackend, TensorRTRTXBackend

__all__ = [
    "Backend",
    "CoreMlBackend",
    "ExecuTorchBackend",
    "LiteRtBackend",
    "MnnBackend",
    "NcnnBackend",
    "OnnxRuntimeBackend",
    "OpenCvBackend",
    "OpenVinoBackend",
    "RknnBackend",
    "TensorRTBackend",
    "TensorRTRTXBackend",
    "TorchBackend",
]

"""What runs an exported network; each is registered in BACKENDS by name."""

from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.backends.onnxruntime import OnnxRuntimeBackend
from ehrpose.deploy.backends.openvino import OpenVinoBackend

__all__ = ["Backend", "OnnxRuntimeBackend", "OpenVinoBackend"]

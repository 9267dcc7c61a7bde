"""Running an ONNX or OpenVINO file that ehrpose did not export: only its inputs and outputs are known (no torch)."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar, List, Optional, Sequence, Tuple, Union

import cv2
import numpy as np

from ehrpose.deploy.backends.onnxruntime import session_options
from ehrpose.deploy.sidecar import DeployError
from ehrpose.image_io import check_image
from ehrpose.keypoint_files import coco_keypoints
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import People
from ehrpose.threads import default_threads

BACKENDS = ("onnxruntime", "openvino")
# Compiled networks that OpenVINO keeps, one for each size of the input.
_MAX_SHAPES = 4


class ForeignNetwork:
    """Base of the predictors in this package: opens the file and runs photos one by one.

    Args:
        path: ``.onnx`` file, or ``.xml`` of OpenVINO.
        backend: ``"onnxruntime"`` or ``"openvino"``; None: OpenVINO for ``.xml``, else ONNX Runtime.
        num_threads: CPU threads; None leaves it to the backend.
        device: ``"cpu"`` or None; others are refused.
        meta: The skeleton; None: COCO's.
        size: Side of the input, px; None: the file's own, else ``default_size``.
        min_score: People of a lower score are dropped; None: ``default_min_score``.

    Attributes:
        name: File name and backend.
        meta: The skeleton.

    Raises:
        FileNotFoundError: The file does not exist.
        DeployError: It cannot be loaded, is of another family, or the backend is not installed.
        ValueError: An argument is out of range.
    """

    default_size: ClassVar[int] = 640
    default_min_score: ClassVar[float] = 0.05

    def __init__(
        self,
        path: Union[str, os.PathLike[str]],
        backend: Optional[str] = None,
        num_threads: Optional[int] = None,
        device: Optional[str] = None,
        meta: Any = None,
        size: Optional[int] = None,
        min_score: Optional[float] = None,
    ):
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"network not found: {self.path}")
        backend = backend or ("openvino" if self.path.suffix.lower() == ".xml" else "onnxruntime")
        if backend not in BACKENDS:
            raise DeployError(f"{self.path}: expected a backend of {', '.join(BACKENDS)}, got {backend!r}")
        if device not in (None, "cpu"):
            raise DeployError(f"{self.path}: runs on the CPU only, got device {device!r}")
        if min_score is not None and not 0 <= min_score <= 1:
            raise ValueError(f"min_score: expected a number from 0 to 1, got {min_score}")
        if size is not None and (size < 32 or size % 32):
            raise ValueError(f"size: expected a multiple of 32, got {size}")
        self.meta = KeypointMeta.build(coco_keypoints() if meta is None else meta)
        self.min_score = self.default_min_score if min_score is None else float(min_score)
        runner = _OpenVino if backend == "openvino" else _OnnxRuntime
        self._network: Any = runner(self.path, num_threads)
        self.size = size or self._fixed_size() or self.default_size
        self.name = f"{self.path.name} {backend}"
        self._check()

    def predict(self, images: Sequence[np.ndarray]) -> List[People]:
        """Return the people of each (H, W, 3) uint8 BGR photo, in its pixels, best first."""
        return [self._predict(check_image(image)) for image in images]

    def close(self) -> None:
        """Free the network's memory."""
        self._network = None

    def _predict(self, photo: np.ndarray) -> People:
        raise NotImplementedError

    def _check(self) -> None:
        """Raise DeployError if inputs or outputs are not those of the family."""

    def _run(self, pixels: np.ndarray) -> List[np.ndarray]:
        network = self._network
        if network is None:
            raise DeployError(f"{self.path} was closed")
        try:
            return network.run(pixels)
        except DeployError:
            raise
        except Exception as error:  # the engines raise their own types
            raise DeployError(f"{self.path}: the network failed: {str(error).splitlines()[0]}") from error

    def _fixed_size(self) -> Optional[int]:
        """Return the side that the file's square input is fixed to, px."""
        shape = self._network.input_shape
        sides = shape[1:3] if len(shape) == 4 and shape[3] == 3 else shape[2:4]
        return int(sides[0]) if all(isinstance(side, int) and side > 0 for side in sides) and sides else None

    def _wrong(self, expected: str, got: Any) -> DeployError:
        return DeployError(f"{self.path}: expected {expected}, got {got}: is it a file of another family?")

    def _people(self, keypoints: np.ndarray, keypoint_scores: np.ndarray, scores: np.ndarray) -> People:
        """Return the people at or above the least score, best first."""
        kept = np.flatnonzero(scores >= self.min_score)
        kept = kept[np.argsort(-scores[kept], kind="stable")]
        arrays = (keypoints[kept], keypoint_scores[kept], scores[kept])
        return People(*(np.ascontiguousarray(array, np.float32) for array in arrays))


def letterboxed(
    photo: np.ndarray, size: int, fill: int, centred: bool, interpolation: int = cv2.INTER_LINEAR
) -> Tuple[np.ndarray, float, np.ndarray]:
    """Return a photo fitted into a square, its scale, and the (2,) x, y, px, of its corner in the square."""
    height, width = photo.shape[:2]
    scale = size / max(height, width)
    new_wh = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = ((size - new_wh[0]) // 2, (size - new_wh[1]) // 2) if centred else (0, 0)
    square = np.full((size, size, 3), fill, np.uint8)
    resized = cv2.resize(photo, new_wh, interpolation=interpolation)
    square[top : top + new_wh[1], left : left + new_wh[0]] = resized
    return square, scale, np.array([left, top], np.float32)


class _OnnxRuntime:
    """Runs in several threads at once."""

    def __init__(self, path: Path, num_threads: Optional[int]):
        try:
            import onnxruntime
        except ImportError as error:
            raise DeployError("ONNX Runtime is not installed: pip install onnxruntime") from error
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), session_options(num_threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise DeployError(f"ONNX Runtime cannot load {path}: {str(error).splitlines()[0]}") from error
        if len(self._session.get_inputs()) != 1:
            raise DeployError(f"{path}: expected one input, got {len(self._session.get_inputs())}")
        self._input = self._session.get_inputs()[0].name
        self.input_shape = list(self._session.get_inputs()[0].shape)
        self.output_names = [output.name for output in self._session.get_outputs()]

    def run(self, pixels: np.ndarray) -> List[np.ndarray]:
        return list(self._session.run(None, {self._input: pixels}))


class _OpenVino:
    """A compiled network for each size of the input: one for all sizes is much slower."""

    def __init__(self, path: Path, num_threads: Optional[int]):
        try:
            import openvino
        except ImportError as error:
            raise DeployError("OpenVINO is not installed: pip install openvino") from error
        self._core = openvino.Core()
        self._settings: Any = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        threads = num_threads or default_threads()
        if threads is not None:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        self._path = path
        try:
            model = self._core.read_model(str(path))
        except Exception as error:
            raise DeployError(f"OpenVINO cannot load {path}: {str(error).splitlines()[0]}") from error
        if len(model.inputs) != 1:
            raise DeployError(f"{path}: expected one input, got {len(model.inputs)}")
        shape = model.input(0).get_partial_shape()
        self.input_shape = [side.get_length() if side.is_static else -1 for side in shape]
        self.output_names = [next(iter(output.names), "") for output in model.outputs]
        self._compiled: OrderedDict[Tuple[int, ...], Any] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, pixels: np.ndarray) -> List[np.ndarray]:
        with self._lock:
            compiled = self._compiled.pop(pixels.shape, None)
            if compiled is None:
                model = self._core.read_model(str(self._path))
                if -1 in self.input_shape:
                    model.reshape(list(pixels.shape))
                compiled = self._core.compile_model(model, "CPU", self._settings)
                while len(self._compiled) >= _MAX_SHAPES:
                    self._compiled.popitem(last=False)
            self._compiled[pixels.shape] = compiled
            request = compiled.create_infer_request()  # threads must not share one
        request.infer([pixels])
        return [np.array(request.get_output_tensor(index).data) for index in range(len(compiled.outputs))]

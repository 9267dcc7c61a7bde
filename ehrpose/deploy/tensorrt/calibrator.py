"""Int8 calibration on photos, for networks without Q/DQ, up to TensorRT 10 (no torch, Python 3.8).

TensorRT 11 and later have no calibrator; a network with Q/DQ in its ONNX file works with all releases.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Optional

from ehrpose.counted import counted
from ehrpose.deploy.network_input import prepare_image
from ehrpose.deploy.sidecar import DeployError, Sidecar
from ehrpose.deploy.tensorrt.cuda import TO_DEVICE, Cuda
from ehrpose.image_io import IMAGE_SUFFIXES, ImageReadError


def make_calibrator(trt: Any, cuda: Optional[Cuda], sidecar: Sidecar, folder: str) -> Any:
    """Return a calibrator that feeds TensorRT the photos in a folder, in the network's batch size.

    Args:
        trt: The module ``tensorrt``.
        cuda: Owner of the memory; close it after the build.
        sidecar: The network's sidecar, with a fixed batch.
        folder: Folder with at least one batch of photos.

    Returns:
        The calibrator. After the build, ``calibrator.batches.check()`` raises an error from inside calibration.

    Raises:
        DeployError: The folder is missing or contains too few photos.
    """
    if cuda is None:
        raise DeployError("calibration runs the network, which needs a GPU: build on the device")
    photos = PhotoBatches(cuda, sidecar, folder)

    class Calibrator(trt.IInt8EntropyCalibrator2):
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)
            self.batches = photos

        def get_batch_size(self) -> int:
            return photos.size

        def get_batch(self, names: List[str]) -> Optional[List[int]]:
            return photos.next()

        def read_calibration_cache(self) -> None:
            return None

        def write_calibration_cache(self, cache: Any) -> None:
            return None

    return Calibrator()


class PhotoBatches:
    """Photos in a folder, batch by batch in GPU memory; see ``make_calibrator``."""

    def __init__(self, cuda: Cuda, sidecar: Sidecar, folder: str):
        shape = tuple(sidecar.input["shape"])
        self.size, self.sidecar, self.folder = shape[0], sidecar, folder
        self._waiting = _photos(folder, self.size)
        self._cuda, self._host = cuda, cuda.pinned_array(shape, sidecar.input["dtype"])
        self._device, self._stream = cuda.device_memory(self._host.nbytes), cuda.stream()
        self._done = 0
        self._broken: List[str] = []
        self._error: Optional[Exception] = None

    def next(self) -> Optional[List[int]]:
        """Return the address of the next batch, None after the last.

        TensorRT calls this from C++, where an exception would end the program: it is kept for ``check``.
        """
        try:
            if not self._fill():
                return None
            address, num_bytes = self._host.ctypes.data, self._host.nbytes
            self._cuda.copy_async(self._device, address, num_bytes, TO_DEVICE, self._stream)
            self._cuda.synchronize(self._stream)
        except Exception as error:
            self._error = error
            return None
        self._done += 1
        return [self._device]

    def check(self) -> None:
        """Raise DeployError if calibration failed."""
        if self._error is not None:
            raise DeployError(f"calibration with {self.folder} failed: {self._error}") from self._error
        if not self._done:
            raise DeployError(f"no batch of {self.folder} could be used: {'; '.join(self._broken[:3])}")

    def _fill(self) -> bool:
        """Read the next batch, skipping broken files; return whether it was filled."""
        filled = 0
        while filled < self.size and self._waiting:
            try:
                self._host[filled] = prepare_image(self._waiting.pop(0), self.sidecar)[0]
                filled += 1
            except ImageReadError as error:
                self._broken.append(str(error))
        return filled == self.size


def _photos(folder: str, at_least: int) -> List[Path]:
    root = Path(folder)
    if not root.is_dir():
        raise DeployError(f"folder of calibration images not found: {root}")
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if len(files) < at_least:
        raise DeployError(
            f"{root}: expected at least {counted(at_least, 'image')} ({', '.join(IMAGE_SUFFIXES)}), better 500, got "
            f"{len(files)}: give another folder with `calib_data`"
        )
    return files

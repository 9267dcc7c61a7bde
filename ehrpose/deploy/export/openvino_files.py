"""OpenVINO's own files: float16 weights, int8 by NNCF, and errors that say which file failed and why."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.deploy.sidecar import INPUT_NAME, DeployError
from ehrpose.deploy.signal_stack import kept_signal_stack
from ehrpose.files import WriteError, explained, temporary_folder

_PROBE = 1 << 20


def save_openvino(network: Any, target: Path, compress_to_fp16: bool) -> None:
    """Write a network: ``target`` (.xml) and the .bin next to it.

    Raises:
        WriteError: The disk is full or fails. OpenVINO's error has no number: a second file tells whether the disk is
            full, otherwise it is an input/output error.
    """
    import openvino

    try:
        openvino.save_model(network, str(target), compress_to_fp16=compress_to_fp16)
    except RuntimeError as error:
        with explained(target):
            target.with_suffix(".bin").write_bytes(bytes(_PROBE))
        last = str(error).strip().splitlines()[-1]
        reason = f"{target} could not be written: {os.strerror(errno.EIO)} ({last})"
        raise WriteError(errno.EIO, reason) from error


def compressed_openvino(path: Path, name: str) -> dict[str, bytes]:
    """Convert an ONNX network to OpenVINO files with float16 weights: ``name``.xml and ``name``.bin.

    Raises:
        DeployError: OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise DeployError(f"openvino is not installed ({error}): pip install openvino") from error
    with temporary_folder() as folder, kept_signal_stack():
        target = folder / f"{name}.xml"
        save_openvino(openvino.Core().read_model(str(path)), target, compress_to_fp16=True)
        return {part.name: part.read_bytes() for part in (target, target.with_suffix(".bin"))}


def quantize_openvino(
    path: Path, batches: Sequence[np.ndarray], target: Path, half_range: bool = False
) -> None:
    """Write an int8 OpenVINO network (``.xml`` and ``.bin``) from an ONNX file, using NNCF.

    Args:
        path: The float32 network.
        batches: Calibration batches.
        target: The ``.xml`` file.
        half_range: 7-bit weights, see ``ExportOptions``.

    Raises:
        DeployError: openvino or nncf is missing.
    """
    try:
        import nncf
        import openvino
    except ImportError as error:
        raise DeployError(f"int8 for OpenVINO needs nncf: pip install openvino nncf ({error})") from error
    network = openvino.Core().read_model(str(path))
    dataset = nncf.Dataset(list(batches), lambda batch: {INPUT_NAME: batch})
    # NNCF's default halves the range of the first layer only.
    overflow_fix = nncf.OverflowFix.ENABLE if half_range else nncf.OverflowFix.FIRST_LAYER
    quantized = nncf.quantize(
        network, dataset, subset_size=len(batches), preset=nncf.QuantizationPreset.MIXED,
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=overflow_fix),
    )  # fmt: skip
    save_openvino(quantized, target, compress_to_fp16=False)

"""Writing OpenVINO's files, whose library says neither which file failed nor why."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from ehrpose.files import WriteError, explained

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

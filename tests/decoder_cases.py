"""What the decoders in C++ and JavaScript are compared on: sidecars of codecs, and the people that Python finds."""

from __future__ import annotations

import warnings

from ehrpose.codecs.settings import DecodeSettings, option_parameters
from ehrpose.structures import PeakMaps


def codec_config(codec):
    """Return the config of a codec as a sidecar holds it."""
    options = {
        option.name: getattr(codec.settings, option.name) for option in option_parameters(DecodeSettings)
    }
    keypoints = {**codec.meta.to_dict(), "sigmas": [float(sigma) for sigma in codec.meta.sigmas]}
    return {
        "type": "AssociativeEmbedding", "keypoints": keypoints, "input_size": codec.input_size,
        "strides": list(codec.strides), "tag_strides": list(codec.tag_strides), "unbiased": codec.unbiased,
        "cell_offset": codec.cell_offset, "mode": codec.mode, **options,
    }  # fmt: skip


def sidecar_of(codec, peaks=False):
    """Return the content of a sidecar for a codec, whose input follows the photo."""
    names = PeakMaps._fields if peaks else codec.output_names
    return {
        "format": 2, "name": "drawn", "backend": "onnxruntime", "precision": "fp32",
        "input": {
            "shape": [1, 3, 64, 64], "dtype": "uint8", "layout": "NCHW", "color": "BGR",
            "sides": {"short": 64, "divisor": 32, "max_aspect": 8.0},
        },
        "outputs": {name: [1, 5, 16, 16] for name in names},
        "decode": "peaks" if peaks else "none", "codec": codec_config(codec), "sha256": {"drawn.onnx": "0" * 64},
    }  # fmt: skip


def decoded(case):
    """Return the people that Python finds, or None where it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return case.decode()
        except ValueError:
            return None


def is_described(case):
    """Whether a sidecar can describe the codec, and decoders in other languages know its mode."""
    values = [value for value in vars(case.codec.settings).values() if isinstance(value, float)]
    return case.codec.mode == "fast" and not isinstance(case.maps, list) and max(map(abs, values)) <= 1e15

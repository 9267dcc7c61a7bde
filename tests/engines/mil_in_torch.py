"""Computes the program of a Core ML package with torch, as Core ML itself runs on macOS only.

The meaning of each operation is that of the MIL reference of coremltools (``coremltools.converters.mil.mil.ops``).
"""

import numpy as np
import torch
from coremltools.converters.mil.frontend.milproto.load import load
from coremltools.models import MLModel
from torch.nn import functional


def open_program(package):
    """Return the main function of an ``.mlpackage`` folder."""
    model = MLModel(str(package), skip_model_load=True)
    spec = model.get_spec()
    return load(spec, spec.specificationVersion, str(model.weights_dir)).functions["main"]


def run(function, image):
    """Return name to float32 array of the outputs for one input array."""
    (name,) = function.inputs
    values = {name: torch.from_numpy(np.asarray(image))}

    def value(variable):
        if variable.name in values:
            return values[variable.name]
        return (
            torch.from_numpy(np.array(variable.val)) if isinstance(variable.val, np.ndarray) else variable.val
        )

    for operation in function.operations:
        if operation.op_type == "const":
            continue
        given = {
            key: [value(item) for item in part] if isinstance(part, (list, tuple)) else value(part)
            for key, part in operation.inputs.items()
            if part is not None
        }
        (output,) = operation.outputs
        values[output.name] = _OPERATIONS[operation.op_type](**given)
    return {output.name: values[output.name].float().numpy() for output in function.outputs}


def _in_float32(operation):
    """Compute in float32 and round the result to the operands' type, as processors with float16 do."""

    def computed(x, **given):
        floats = {
            key: part.float() if torch.is_tensor(part) and part.is_floating_point() else part
            for key, part in given.items()
        }
        return operation(x.float(), **floats).to(x.dtype)

    return computed


def _conv(x, weight, strides, pad_type, pad, dilations, groups, bias=None):
    assert str(pad_type) in ("custom", "valid"), pad_type
    top, bottom, left, right = [int(p) for p in pad] if str(pad_type) == "custom" else (0, 0, 0, 0)
    padded = functional.pad(x, (left, right, top, bottom))
    steps, spread = tuple(map(int, strides)), tuple(map(int, dilations))
    return functional.conv2d(padded, weight, bias, steps, 0, spread, int(groups))


def _conv_transpose(x, weight, strides, pad_type, pad, dilations, groups, bias=None, output_shape=None):
    assert str(pad_type) == "custom"
    assert output_shape is None
    top, bottom, left, right = map(int, pad)
    full = functional.conv_transpose2d(
        x, weight, bias, tuple(map(int, strides)), 0, 0, int(groups), tuple(map(int, dilations))
    )
    return full[:, :, top : full.shape[2] - bottom, left : full.shape[3] - right]


def _pad(x, pad, mode, constant_val):
    assert str(mode) == "constant"
    pairs = np.asarray(pad).reshape(-1, 2)[::-1]
    return functional.pad(x, [int(number) for pair in pairs for number in pair], value=float(constant_val))


def _slice(x, begin, end, stride=None, begin_mask=None, end_mask=None, squeeze_mask=None):
    assert squeeze_mask is None or not any(map(bool, squeeze_mask))
    parts = []
    for axis in range(x.ndim):
        first = None if begin_mask is not None and bool(begin_mask[axis]) else int(begin[axis])
        last = None if end_mask is not None and bool(end_mask[axis]) else int(end[axis])
        parts.append(slice(first, last, None if stride is None else int(stride[axis])))
    return x[tuple(parts)]


def _upsample(x, scale_factor_height, scale_factor_width):
    scale = (int(scale_factor_height), int(scale_factor_width))
    return x.repeat_interleave(scale[0], 2).repeat_interleave(scale[1], 3)


def _dequantize(quantized_data, zero_point, scale, axis):
    shape = [1] * quantized_data.ndim
    shape[int(axis)] = -1
    factor, zero = (torch.as_tensor(part) for part in (scale, zero_point))
    if factor.ndim:
        factor = factor.reshape(shape)
    if zero.ndim:
        zero = zero.reshape(shape)
    return ((quantized_data.float() - zero.float()) * factor.float()).to(factor.dtype)


def _cast(x, dtype):
    return x.to({"fp16": torch.float16, "fp32": torch.float32, "int32": torch.int32}[str(dtype)])


_OPERATIONS = {
    "add": _in_float32(lambda x, y: x + y),
    "cast": _cast,
    "clip": _in_float32(lambda x, alpha, beta: x.clamp(float(alpha), float(beta))),
    "concat": lambda values, axis, interleave: torch.cat(values, int(axis)),
    "constexpr_affine_dequantize": _dequantize,
    "conv": _in_float32(_conv),
    "conv_transpose": _in_float32(_conv_transpose),
    "pad": _pad,
    "relu": torch.relu,
    "slice_by_index": _slice,
    "upsample_nearest_neighbor": _upsample,
}

"""A small writer of TensorFlow Lite files, to test the reader: constants of one graph, nothing else."""

from __future__ import annotations

import struct

import numpy as np

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "int8": 9}


class Writer:
    """Writes tables front to back: what a table refers to comes after it."""

    def __init__(self):
        self.data = bytearray(struct.pack("<I4s", 0, b"TFL3"))

    def _align(self, to=8):
        self.data += bytes(-len(self.data) % to)

    def table(self, fields):
        """Write a table of numbers (form, value) and references (functions that write); return its position."""
        self._align()
        count = max(fields, default=-1) + 1
        size = 4 + 8 * count
        vtable = len(self.data)
        self.data += struct.pack("<HH", 4 + 2 * count, size)
        for number in range(count):
            self.data += struct.pack("<H", 4 + 8 * number if number in fields else 0)
        self._align(4)
        start = len(self.data)
        self.data += struct.pack("<i", start - vtable) + bytes(8 * count)
        for number, content in fields.items():
            place = start + 4 + 8 * number
            if callable(content):
                target = content()
                self.data[place : place + 4] = struct.pack("<I", target - place)
            else:
                form, value = content
                struct.pack_into(form, self.data, place, value)
        return start

    def array(self, values, dtype):
        def write():
            self._align()
            start = len(self.data) + 4  # so that the values are aligned
            self.data += bytes(4) + struct.pack("<I", len(values)) + np.asarray(values, dtype).tobytes()
            return start

        return write

    def tables(self, contents):
        def write():
            self._align(4)
            start = len(self.data)
            self.data += struct.pack("<I", len(contents)) + bytes(4 * len(contents))
            for i, fields in enumerate(contents):
                place = start + 4 + 4 * i
                position = self.table(fields)
                self.data[place : place + 4] = struct.pack("<I", position - place)
            return start

        return write


def write_tflite(path, constants):
    """Write constants, name to (array, scales, zero points, axis of the scales), to a file; return its path."""
    writer = Writer()
    buffers, tensors = [{}], []
    for name, (values, scales, zeros, axis) in constants.items():
        raw = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        buffers.append({0: writer.array(raw, "u1")})
        tensor = {
            0: writer.array(values.shape, "<i4"),
            1: ("<b", TYPES[str(values.dtype)]),
            2: ("<I", len(buffers) - 1),
            3: writer.array(np.frombuffer(name.encode(), np.uint8), "u1"),
        }
        if scales is not None:
            quantisation = {2: writer.array(scales, "<f4"), 3: writer.array(zeros, "<i8"), 6: ("<i", axis)}
            tensor[4] = lambda quantisation=quantisation: writer.table(quantisation)
        tensors.append(tensor)
    # A tensor without values, such as the input.
    tensors.append({0: writer.array((1, 4), "<i4"), 3: writer.array(list(b"input"), "u1")})
    root = writer.table(
        {0: ("<I", 3), 2: writer.tables([{0: writer.tables(tensors)}]), 4: writer.tables(buffers)}
    )
    writer.data[:4] = struct.pack("<I", root)
    path.write_bytes(bytes(writer.data))
    return path


def posenet_constants(rng, width=8, last=16, num_keypoints=17):
    """Return constants of a PoseNet under the names of its published files, quantised with random scales."""
    scope = "tower_0/MobilenetV1"
    wide = [(2, 1), (4, 2), (4, 1), (8, 2), (8, 1), *[(16, 1)] * 6, (32, 2), (32, 1)]
    layers = {"Conv2d_0": ((width, 3, 3, 3), "Conv2D_Fold")}
    channels = width
    for i, (factor, _) in enumerate(wide, 1):
        layers[f"Conv2d_{i}_depthwise"] = ((1, 3, 3, channels), "depthwise_Fold")
        out = min(factor * width, last)
        layers[f"Conv2d_{i}_pointwise"] = ((out, 1, 1, channels), "Conv2D_Fold")
        channels = out
    k, e = num_keypoints, num_keypoints - 1
    for name, rows in (
        ("heatmap", k),
        ("offset", 2 * k),
        ("displacement_fwd", 2 * e),
        ("displacement_bwd", 2 * e),
    ):
        layers[f"{name}_2"] = ((rows, 1, 1, channels), "Conv2D")
    constants = {}
    for layer, (shape, bias) in layers.items():
        rows = shape[3] if layer.endswith("depthwise") else shape[0]
        constants[f"{scope}/{layer}/weights_quant/FakeQuantWithMinMaxVars"] = (
            rng.integers(0, 256, shape).astype(np.uint8), [rng.uniform(0.001, 0.01)], [128], 0,
        )  # fmt: skip
        scope_of_bias = "MobilenetV1" if bias == "Conv2D" else scope
        constants[f"{scope_of_bias}/{layer}/{bias}_bias"] = (
            rng.integers(-1000, 1000, rows).astype(np.int32), [1e-4], [0], 0,
        )  # fmt: skip
    return constants

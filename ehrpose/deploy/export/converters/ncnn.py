"""ncnn's files, by pnnx."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ehrpose.deploy.export.converters import Source, missing_package, run_converter
from ehrpose.deploy.sidecar import DeployError
from ehrpose.files import temporary_folder

# pnnx writes several files beside its input, named after it.
_STEM = "network"


def convert(source: Source) -> dict[str, bytes]:
    """Return ``NAME.ncnn.param`` and ``NAME.ncnn.bin``; float16 weights only if asked for, unlike pnnx's default."""
    found = importlib.util.find_spec("pnnx")
    if found is None or found.origin is None:
        raise missing_package("ncnn", ImportError("No module named 'pnnx'"))
    program = Path(found.origin).parent / "pnnx"
    with temporary_folder() as folder:
        (folder / f"{_STEM}.onnx").write_bytes(source.path.read_bytes())
        # Two sizes make it an input of any size.
        shapes = [_shape(source.sidecar.size_wh, swapped) for swapped in (False, True)]
        sizes = [f"inputshape={shapes[0]}"]
        if source.sidecar.sides is not None or len(source.sidecar.shapes_wh) > 1:
            sizes.append(f"inputshape2={shapes[1] if shapes[1] != shapes[0] else _shape((64, 128), False)}")
        half = int(source.precision == "fp16")
        command = [str(program), f"{_STEM}.onnx", f"fp16={half}", *sizes]
        printed = run_converter("ncnn", command, folder)
        files = {
            f"{source.name}.ncnn{suffix}": folder / f"{_STEM}.ncnn{suffix}" for suffix in (".param", ".bin")
        }
        missing = [path.name for path in files.values() if not path.is_file()]
        if missing:
            raise DeployError(f"pnnx wrote no {missing[0]}: {printed.strip().splitlines()[-1]}")
        return {name: path.read_bytes() for name, path in files.items()}


def _shape(size_wh: tuple[int, int], swapped: bool) -> str:
    width, height = size_wh[::-1] if swapped else size_wh
    return f"[1,3,{height},{width}]f32"

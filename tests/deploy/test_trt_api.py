"""Every TensorRT name that our code uses exists in the supported releases."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from trt_api import RELEASES, TABLE

_NAMES = (
    "build_engine",
    "tensorrt/network",
    "tensorrt/build_config",
    "tensorrt/calibrator",
    "backends/tensorrt",
    "tensorrt/execution",
)
FILES = [f"ehrpose/deploy/{name}.py" for name in _NAMES]
# Variable names that the code uses for objects of each class, and the classes that its methods return.
VARIABLES = {"trt": "", "builder": "Builder", "config": "IBuilderConfig", "network": "INetworkDefinition",
             "parser": "OnnxParser", "problem": "ParserError", "layer": "ILayer", "tensor": "ITensor",
             "profile": "IOptimizationProfile", "cache": "ITimingCache", "kinds": "LayerType",
             "_runtime": "Runtime", "_engine": "ICudaEngine", "loaded": "ICudaEngine",
             "_context": "IExecutionContext"}  # fmt: skip
RESULTS = {"get_output": "ITensor", "get_input": "ITensor", "get_layer": "ILayer"}
# Names that some releases lack, used without getattr or hasattr: only if the second name was found.
GUARDS = {"ILayer.precision": "BuilderFlag.OBEY_PRECISION_CONSTRAINTS",
          "ILayer.set_output_type": "BuilderFlag.OBEY_PRECISION_CONSTRAINTS",
          "IInt8EntropyCalibrator2": "BuilderFlag.INT8", "IBuilderConfig.int8_calibrator": "BuilderFlag.INT8",
          "IBuilderConfig.builder_optimization_level": "IBuilderConfig.builder_optimization_level"}  # fmt: skip
WHEELS = "EHRPOSE_TENSORRT_WHEELS"


def class_of(node):
    """Return the TensorRT class of an expression, "" for the module, None for anything else."""
    if isinstance(node, ast.Name):
        return VARIABLES.get(node.id)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return RESULTS.get(node.func.attr)
    if isinstance(node, ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return VARIABLES.get(node.attr)
        return name_of(node)
    return None


def name_of(node):
    owner = class_of(node.value)
    return None if owner is None else f"{owner}.{node.attr}".lstrip(".")


def names_used(path):
    """Return the names that a file requires, and those that it checks with getattr or hasattr."""
    needed, optional = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and not node.attr.startswith("__"):
            name = name_of(node)
            if name is not None:
                needed.add(name)
        is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if is_call and node.func.id in ("getattr", "hasattr") and isinstance(node.args[1], ast.Constant):
            owner = class_of(node.args[0])
            if owner is not None:
                optional.add(f"{owner}.{node.args[1].value}".lstrip("."))
    return needed, optional


def test_the_code_uses_only_names_of_the_table(root):
    needed, optional = map(set().union, *(names_used(root / file) for file in FILES))
    assert len(needed) > 60
    assert sorted((needed | optional) - set(TABLE)) == []
    # Not found by name: types looked up by label, and classes that only contain listed names.
    unused = {
        n for n in TABLE if n not in needed | optional and not n.startswith(("DataType.", "TensorIOMode."))
    }
    assert {name for name in unused if "." in name} == {"ILogger.log"}
    somewhere = {name for name in needed if "-" in TABLE[name]}
    assert sorted(somewhere - set(GUARDS)) == []
    assert sorted(name for name in optional if "-" not in TABLE[name]) == []
    for name in somewhere:
        for here, guard in zip(TABLE[name], TABLE[GUARDS[name]]):
            assert here == "y" or guard == "-", name
        assert GUARDS[name] in optional, name


def test_labels_of_types_are_in_the_table():
    from ehrpose.deploy.tensorrt.execution import _DTYPES

    assert {f"DataType.{label}" for label in _DTYPES} <= set(TABLE)
    assert all(len(row) == len(RELEASES) and set(row) <= set("y-") for row in TABLE.values())


PROBE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location(sys.argv[1], sys.argv[2])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for name in sys.argv[3:]:
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    print("-" if found is None else "y", end="")
"""


def stub_libraries(binding, folder):
    """Build stubs of the libraries that a binding needs, with only the functions that it names."""

    def read(*command):
        return subprocess.run([*command, str(binding)], capture_output=True, text=True, check=True).stdout

    wanted = re.findall(r"\[(lib(?:nv|tensorrt)[^\]]*)\]", read("readelf", "-d"))
    functions = re.findall(r" U (\w*(?:_INTERNAL|PluginRegistry|NvOnnx\w*|initLib\w*|nvuff\w*|nvcaffe\w*))\n",
                           read("nm", "-D", "--undefined-only"))  # fmt: skip
    source = folder / "stub.c"
    source.write_text("".join(f"void* {name}(void) {{ return 0; }}\n" for name in functions))
    assert wanted
    for name in wanted:
        subprocess.run(["gcc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)],
                       check=True)  # fmt: skip


def column_of(version, is_rtx):
    """Return the table's column for a version of the bindings, None if there is none."""
    for index, release in enumerate(RELEASES):
        if release.startswith("rtx") == is_rtx and release.split()[-1].startswith(version):
            return index
    return None


@pytest.mark.slow
def test_table_is_that_of_the_real_bindings(tmp_path):
    folder = os.environ.get(WHEELS)
    if folder is None or not all(map(shutil.which, ("gcc", "nm", "readelf"))):
        pytest.skip(
            f"{WHEELS} names no folder of bindings, or gcc and binutils are missing: pip download --no-deps "
            "tensorrt-bindings==8.6.1 tensorrt-cu12-bindings==10.16.1.11"
        )
    tag, compared = "cp{}{}".format(*sys.version_info), []
    for wheel in sorted(Path(folder).glob(f"*bindings-*-{tag}-*.whl")):
        column = column_of(wheel.name.split("-")[1], "rtx" in wheel.name)
        if column is None:
            continue
        place = tmp_path / wheel.stem
        zipfile.ZipFile(wheel).extractall(place)
        (binding,) = (path for path in place.rglob("tensorrt*.so"))
        stub_libraries(binding, place)
        result = subprocess.run(
            [sys.executable, "-c", PROBE, binding.stem, str(binding), *TABLE], capture_output=True, text=True,
            env={**os.environ, "LD_LIBRARY_PATH": str(place)}, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        found = dict(zip(TABLE, result.stdout))
        assert found == {name: row[column] for name, row in TABLE.items()}, wheel.name
        compared.append(RELEASES[column])
    if not compared:
        pytest.skip(f"{folder} holds no bindings of {RELEASES} for {tag}")


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"decode": "peaks"}, {"dynamic_batch": True}], ids=str)
def test_the_real_rtx_builder_takes_exported_networks(exported, tmp_path, options):
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt-rtx, whose builder needs no GPU, is not installed: make test-deploy")
    from ehrpose.deploy.build_engine import BuildOptions, build_engine
    from ehrpose.deploy.sidecar import read_sidecar

    onnx = exported(backend="tensorrt_rtx", **options)
    most = {"max_batch": 3} if options.get("dynamic_batch") else {}
    engine = build_engine(onnx, tmp_path / "a.engine", BuildOptions(backend="tensorrt_rtx", **most))
    sidecar = read_sidecar(engine)
    assert engine.stat().st_size > 100_000
    assert sidecar.engine["max_batch"] == most.get("max_batch", 1)
    assert sidecar.decode == options.get("decode", "none")

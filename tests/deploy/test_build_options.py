"""Options, commands and the command line of the builder."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from fake_tensorrt import PLAN, write_onnx

from ehrpose.deploy import build_engine as builder
from ehrpose.deploy.build_engine import BuildOptions, commands, describe_engine
from ehrpose.deploy.sidecar import read_sidecar, sidecar_path
from ehrpose.registry import BACKENDS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bf16"}, "expected a precision in"),
        ({"backend": "onnxruntime"}, "and a backend in"),
        ({"workspace_mib": 0}, "`workspace_mib` must be at least 1, got 0"),
        ({"max_batch": 0}, "`max_batch` must be at least 1"),
        ({"optimization_level": 6}, "`optimization_level` must be 0 to 5, got 6"),
        ({"gpu_fallback": True}, "`gpu_fallback` needs a `dla_core`"),
        ({"calib_data": "photos"}, "`calib_data` is for precision int8, got None"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BuildOptions(**options)


def test_commands():
    assert commands("work dirs/end2end.onnx", "fp16") == (
        "python -m ehrpose.deploy.build_engine 'work dirs/end2end.onnx' --precision fp16",
        "/usr/src/tensorrt/bin/trtexec '--onnx=work dirs/end2end.onnx' '--saveEngine=work dirs/end2end.engine' "
        "--memPoolSize=workspace:1024 '--timingCacheFile=work dirs/timing.cache' --fp16",
    )
    options = BuildOptions(
        "int8", workspace_mib=64, dla_core=0, gpu_fallback=True, max_batch=2, optimization_level=1
    )
    ours, theirs = commands("a.onnx", None, "b.engine", options, ("input", [1, 3, 8, 8]))
    assert ours.endswith(
        "a.onnx --precision int8 --workspace-mib 64 --dla-core 0 --gpu-fallback --max-batch 2 --optimization-level 1 "
        "--out b.engine"
    )
    assert theirs.endswith(
        "--saveEngine=b.engine --memPoolSize=workspace:64 --timingCacheFile=timing.cache --int8 --fp16 --useDLACore=0 "
        "--allowGPUFallback --minShapes=input:1x3x8x8 --optShapes=input:2x3x8x8 --maxShapes=input:2x3x8x8 "
        "--builderOptimizationLevel=1"
    )
    # Our own command is understood by our own command line.
    args = builder.parse_args(ours.split()[3:])
    assert (args.precision, args.dla_core, args.max_batch, args.out) == ("int8", 0, 2, "b.engine")


def test_engine_built_by_trtexec_gets_its_sidecar(machine):
    onnx = write_onnx(machine.folder)
    engine = machine.folder / "trtexec.engine"
    with pytest.raises(FileNotFoundError, match=r"engine not found: .*trtexec --saveEngine="):
        describe_engine(onnx, engine, BuildOptions("fp16"))
    engine.write_text(json.dumps(PLAN))
    builder.main([str(onnx), "--describe", str(engine), "--precision", "fp16"])
    assert (read_sidecar(engine).precision, read_sidecar(engine).engine["sm"]) == ("fp16", "7.2")
    BACKENDS.build({"type": "tensorrt", "path": str(engine)}).close()
    assert machine.cudart.alive == {}


def test_command_line(machine, capsys):
    onnx = write_onnx(machine.folder)
    builder.main([str(onnx), "--precision", "fp16", "--out", str(machine.folder / "b.engine")])
    shown = capsys.readouterr().out
    assert "/usr/src/tensorrt/bin/trtexec --onnx=" in shown
    assert "b.engine: 0.0 MiB, built in 0.0 s" in shown
    assert sidecar_path(machine.folder / "b.engine").is_file()


def test_runs_as_a_module_without_torch_and_onnx(root, tmp_path):
    blocked = (
        "import sys; sys.modules.update(torch=None, onnx=None, cv2=None, mmengine=None, tensorrt=None); "
    )
    run = f"import runpy; sys.argv[1:] = [{str(write_onnx(tmp_path))!r}]; "
    code = blocked + run + "runpy.run_module('ehrpose.deploy.build_engine', run_name='__main__')"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("error: TensorRT is not installed")
    assert len(result.stderr.splitlines()) == 1

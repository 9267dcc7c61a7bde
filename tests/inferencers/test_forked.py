"""Processes forked after torch computed with several threads: OpenMP's threads stay in the parent."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.pipeline import export
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.models.loading import init_model

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
PHOTO = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
# Large enough for torch to use its threads.
OPTIONS = {"codec.input_size": 256, "phi": -8, "codec.min_score": 0.01}


def in_a_fork(work):
    """Return what ``work`` returns, or its ValueError as text, in a forked process; None if it does not come back."""

    def run():
        try:
            sender.send(work())
        except ValueError as error:
            sender.send(str(error))

    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    found = receiver.recv() if receiver.poll(120) else None
    process.kill()
    process.join()
    return found


def expect(work, expected) -> None:
    found = in_a_fork(work)
    assert found == expected, f"expected {str(expected)[:80]}, got {str(found)[:80]}"


def people(result) -> list:
    return [rows.tolist() for rows in result[0].to_fields().values()]


def with_two_threads(work):
    torch.set_num_threads(2)
    return work()


def check_torch_models(config: str, weights: str) -> None:
    torch.set_num_threads(1)
    arguments = {"pose2d": config, "pose2d_weights": weights, "cfg_options": OPTIONS}
    ours = PoseInferencer(**arguments)
    images = torch.zeros(1, 3, 256, 256)

    def kept():
        return people(ours.predictor.predict([PHOTO]))

    def opened(**changes):
        return people(PoseInferencer(**arguments, **changes).predictor.predict([PHOTO]))

    def forward():
        return ours.predictor.model(images).heat4.shape[1]

    in_one_thread = kept()
    assert len(in_one_thread[0]) > 0
    torch.set_num_threads(4)
    expect(torch.get_num_threads, 4)  # torch's threads have not been used yet
    kept()
    expect(torch.get_num_threads, 1)
    expect(kept, in_one_thread)
    expect(opened, in_one_thread)
    expect(lambda: opened(num_threads=1), in_one_thread)
    expect(forward, 17)
    expect(lambda: in_a_fork(kept), in_one_thread)
    refused = in_a_fork(lambda: opened(num_threads=2))
    assert refused.startswith("`num_threads`: expected 1, got 2; this process was forked after")
    assert "'spawn'" in refused
    for work in (kept, opened, forward):
        refused = in_a_fork(partial(with_two_threads, work))
        assert refused.startswith("torch.set_num_threads: expected 1, got 2; this process was forked after")
    assert torch.get_num_threads() == 4  # the parent keeps its threads


def check_opening(config: str, weights: str) -> None:
    torch.set_num_threads(4)
    init_model("configs/ehrnet/small_coco-320.py")  # copies its weights with several threads
    expect(lambda: (torch.ones(1_000_000) + 1).shape[0], 1_000_000)


def check_exported_file(config: str, weights: str) -> None:
    folder = Path(weights).parent / "exported"
    torch.set_num_threads(1)
    options = ExportOptions(
        backend="torch", input_wh=(256, 256)
    )  # three times as fast as for inputs of any size
    path = export(config, weights, folder, options, (), OPTIONS).path
    ours = PoseRuntime(path, trust_pt2=True)

    def kept():
        return people(ours.predict([PHOTO]))

    in_one_thread = kept()
    torch.set_num_threads(4)
    kept()
    expect(kept, in_one_thread)
    expect(lambda: people(PoseRuntime(path, trust_pt2=True).predict([PHOTO])), in_one_thread)
    assert "expected 1, got 3" in in_a_fork(lambda: PoseRuntime(path, num_threads=3, trust_pt2=True))
    assert "expected 1, got 2" in in_a_fork(lambda: with_two_threads(kept))


@pytest.mark.parametrize("check", [check_torch_models, check_opening, check_exported_file])
def test_forked_process_computes_like_its_parent(check, demo_config, tmp_path, root):
    torch.manual_seed(0)
    model = init_model(demo_config, cfg_options=OPTIONS)
    for layer in [*model.neck.modules(), *model.head.modules()]:
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            torch.nn.init.kaiming_normal_(layer.weight)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "model.pth")
    # In a fresh process, since the tests before this one may have used torch's threads.
    code = f"import sys; from test_forked import *; {check.__name__}(*sys.argv[1:])"
    paths = os.pathsep.join([str(root), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", code, str(demo_config), str(tmp_path / "model.pth")],
        cwd=root, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

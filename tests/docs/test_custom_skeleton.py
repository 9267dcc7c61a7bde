"""The commands on the page about custom skeletons do what it says."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
from mmengine.config import Config
from pages import ROOT, blocks, commands

from ehrpose.cli import parse_command
from ehrpose.structures import People

PAGE = ROOT / "docs/custom_skeleton.md"
# Shortens the page's commands; the slow test runs them unchanged.
SHORT = {
    "synthetic_to_coco.py": ["--length", "12", "--val-length", "4"],
    "train.py": ["--cfg-options", "max_iters=4", "train_dataloader.num_workers=0",
                 "train_dataloader.persistent_workers=False", "train_dataloader.batch_size=4"],
    "test.py": [],
    "browse_dataset.py": ["--max-item-per-dataset", "2"],
    "image_demo.py": [],
    "deploy.py": [],
}  # fmt: skip


def run_page(short: bool) -> None:
    """Run the page's commands in the current folder, except those that need a user's own labels."""
    ran = []
    for words in commands(PAGE):
        script = Path(words[1]).name if words[0] == "python" else ""
        if script not in SHORT or len(words) < 3:
            continue
        changes = SHORT[script] if short else []
        words = [re.sub(r"iter_400\b", "iter_4", word) if short else word for word in words]
        load(ROOT / words[1])([str(ROOT / w) if w.startswith("configs/") else w for w in words[2:]] + changes)
        ran.append(script)
    assert sorted(set(ran)) == sorted(SHORT)


def load(path: Path):
    spec = importlib.util.spec_from_file_location(f"page_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if hasattr(module, "main"):
        return module.main
    return lambda words: module.command.run(parse_command(None, module.command, words))  # one of the commands


def check_results() -> People:
    """Check what the page promises; return the people of one photo, from the exported network."""
    from ehrpose import PoseRuntime

    assert len(list(Path("outputs/five").glob("*.jpg"))) == len(list(Path("data/five/val2017").iterdir()))
    assert list(Path("outputs/browse").glob("*"))
    cases = json.loads(Path("work_dirs/small_five-128/badcase/badcases.json").read_text())
    assert 0 < len(cases) <= 10
    runtime = PoseRuntime("work_dirs/five-onnx/end2end.onnx")
    assert runtime.sidecar.codec["keypoints"]["names"] == [
        *("nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"),
    ]
    return runtime(str(sorted(Path("data/five/val2017").iterdir())[0]))


def test_the_page_shows_the_data_set_file_as_it_is():
    (shown,) = [block for block in blocks(PAGE, "python") if block.startswith("_base_")]
    contents = []
    for text in (shown, (ROOT / "configs/_base_/datasets/five.py").read_text()):
        values: dict = {}
        exec(text, {}, values)
        contents.append({key: value for key, value in values.items() if not key.startswith("__")})
    assert contents[0] == contents[1]
    alias = Config.fromfile(str(ROOT / "configs/_base_/keypoints/five.py")).keypoints.to_dict()
    keypoints = contents[0]["keypoints"]
    assert alias.keys() == keypoints.keys() - {"_delete_"}
    assert alias["names"] == keypoints["names"]


def test_the_page_runs(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    run_page(short=True)
    people = check_results()
    assert people.keypoints.shape[1:] == (5, 2)


@pytest.mark.slow
def test_the_page_reaches_what_it_says(tmp_path, monkeypatch, capfd):
    """Five minutes on two cores."""
    monkeypatch.chdir(tmp_path)
    run_page(short=False)
    (log,) = Path("work_dirs/small_five-128").glob("*/vis_data/scalars.json")
    aps = [json.loads(line).get("coco/AP") for line in log.read_text().splitlines()]
    assert max(ap for ap in aps if ap is not None) > 0.5
    assert len(check_results().keypoints) >= 1

from __future__ import annotations

import importlib.util
import re

import cv2
import numpy as np
import pytest

from ehrpose.cli import run_cli
from ehrpose.structures import People


@pytest.fixture
def tool(root):
    path = root / "tools/analysis_tools/compare_models.py"
    spec = importlib.util.spec_from_file_location("compare_models", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_a_sheet_has_a_row_for_each_photo_and_a_column_for_each_model(
    tool, scenes, tiny_config, tiny_checkpoint, tiny_options, tmp_path, capsys
):
    photos, labels = scenes
    model = f"{tiny_config}:{tiny_checkpoint}"
    out = tmp_path / "new" / "sheet.png"
    tool([str(photos), "--models", f"one={model}", f"two={model}", "--out", str(out), "--ann-file", str(labels),
          "--cell-size", "96", "64", "--score-thr", "-1", *tiny_options])  # fmt: skip
    sheet = cv2.imread(str(out))
    assert sheet.shape == (2 * (64 + 18 + 6) + 6, 3 * 102 + 6, 3)
    for row in range(2):
        photo = cv2.imread(str(photos / f"{row}.png")).astype(int)
        top = 6 + row * 88
        cells = [sheet[top : top + 64, 6 + 102 * c : 102 + 102 * c].astype(int) for c in range(3)]
        np.testing.assert_array_equal(cells[1], cells[2])
        differs = [(np.abs(cell - photo).max(axis=2) > 3).mean() for cell in cells]
        assert all(0.005 < share < 0.9 for share in differs), "people on the photo"
        assert (cells[0] != cells[1]).any()
    printed = capsys.readouterr().out
    found = re.findall(r"(\d)\.png: (one|two): (\d+) (?:people|person), (\d+) ms", printed)
    assert [(photo, name) for photo, name, _, _ in found] == [
        ("0", "one"), ("1", "one"), ("0", "two"), ("1", "two"),
    ]  # fmt: skip
    assert found[0][2] == found[2][2] != "0"


def test_exported_networks_stand_on_the_sheet(tool, scenes, tiny_config, tmp_path, capsys, monkeypatch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")
    pytest.importorskip("onnx", reason="onnx is in the extra 'deploy'")
    from ehrpose.analysis.codec.maps_from_labels import perfect_maps
    from ehrpose.datasets.coco_json import read_coco_json
    from ehrpose.deploy.export.options import ExportOptions
    from ehrpose.deploy.pipeline import export
    from ehrpose.deploy.runtime import PoseRuntime
    from ehrpose.image_warp import warp_points

    photos, labels = scenes
    path = export(str(tiny_config), None, tmp_path / "deploy", ExportOptions()).path
    pixels = [cv2.imread(str(photos / f"{i}.png")) for i in range(2)]
    prepare, run = PoseRuntime.prepare, PoseRuntime.run
    seen = []

    def prepare_and_note(runtime, image):
        item = next((i for i, photo in enumerate(pixels) if np.array_equal(photo, image)), 0)  # warm-up: any
        result = prepare(runtime, image)
        seen.append((item, result[1]))
        return result

    def perfect(runtime, batch):
        assert run(runtime, batch).heat4 is not None, "the network itself runs"
        number, warp = seen[-1]
        item = read_coco_json(labels, runtime.codec.meta).items[number]
        maps = perfect_maps(
            runtime.codec, warp_points(item["keypoints"], warp), item["visible"], runtime.sidecar.size_wh
        )
        return type(maps)(*(None if field is None else field[None] for field in maps))

    monkeypatch.setattr(PoseRuntime, "prepare", prepare_and_note)
    monkeypatch.setattr(PoseRuntime, "run", perfect)
    out = tmp_path / "sheet.png"
    tool([str(photos / "1.png"), str(photos / "0.png"), "--models", f"onnx={path}", "--out", str(out),
          "--ann-file", str(labels), "--cell-size", "96", "64"])  # fmt: skip
    assert re.findall(r"(\d)\.png: onnx: (\d) people", capsys.readouterr().out) == [("1", "2"), ("0", "2")]
    sheet = cv2.imread(str(out)).astype(int)
    for top in (6, 94):
        truth, found = sheet[top : top + 64, 6:102], sheet[top : top + 64, 108:204]
        drawn = [(np.abs(cell - cell.mean(axis=(0, 1))).max(axis=2) > 90) for cell in (truth, found)]
        overlap = (drawn[0] & drawn[1]).sum() / (drawn[0] | drawn[1]).sum()
        assert overlap > 0.6, "the people found lie where those of the annotations do"


def test_mistakes_end_in_one_line_and_no_sheet(
    tool, scenes, tiny_config, tiny_checkpoint, tiny_options, tmp_path, capsys
):
    photos, labels = scenes
    model = f"a={tiny_config}:{tiny_checkpoint}"
    other = tmp_path / "other.png"
    cv2.imwrite(str(other), np.zeros((8, 8, 3), np.uint8))
    resized = tmp_path / "elsewhere" / "0.png"
    resized.parent.mkdir()
    cv2.imwrite(str(resized), np.zeros((8, 8, 3), np.uint8))
    sheet = ["--out", str(tmp_path / "s.jpg")]
    for arguments, message in (
        ([str(photos), "--models", model, "--out", str(tmp_path / "s.docx")], "docx"),
        ([str(photos), "--models", "a=none.onnx", *sheet], "none.onnx"),
        ([str(photos), "--models", f"a={tiny_config}", *sheet], "a config without weights"),
        ([str(photos), "--models", f"a={tiny_config}:none.pth", *sheet], "none.pth"),
        ([str(tmp_path / "nowhere"), "--models", model, *sheet], "nowhere"),
        ([str(other), "--models", model, "--ann-file", str(labels), *sheet], "photo other.png not found"),
        ([str(resized), "--models", model, "--ann-file", str(labels), *sheet], "8 x 8 px"),
        ([str(photos), "--models", model, "--cell-size", "9", "9", *sheet], "at least 32 px"),
        ([str(photos), "--models", model, "--cell-size", "400", "40000", *sheet], "over 65000 px"),
    ):
        with pytest.raises(SystemExit) as stop:
            run_cli(lambda arguments=arguments: tool([*arguments, *tiny_options]))
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1
    assert not list(tmp_path.glob("s.*"))


def test_one_person_is_no_people(tool, scenes, tiny_config, tiny_checkpoint, tiny_options, tmp_path, capsys):
    from ehrpose.analysis.pictures import model_comparison

    photos, _ = scenes
    person = People(np.full((1, 17, 2), 20, np.float32), np.ones((1, 17), np.float32), np.ones(1, np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_comparison, "_timed", lambda find, photo: (person, 7.4))
        tool([str(photos / "0.png"), "--models", f"a={tiny_config}:{tiny_checkpoint}",
              "--out", str(tmp_path / "s.jpg"), *tiny_options])  # fmt: skip
    assert "0.png: a: 1 person, 7 ms" in capsys.readouterr().out

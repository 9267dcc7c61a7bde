"""The pictures that the options of demo/image_demo.py and tools/misc/draw_styles.py draw."""

from __future__ import annotations

import importlib.util

import cv2
import numpy as np
import pytest

from ehrpose.cli import run_cli


@pytest.fixture
def load(root):
    def load_main(script):
        path = root / script
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    return load_main


@pytest.fixture
def draw(load, scenes, tiny_config, tiny_checkpoint, tiny_options, tmp_path):
    """Return a function that draws a photo with the demo's options."""
    demo = load("demo/image_demo.py")

    def run(*options):
        out = tmp_path / "drawn.png"
        demo([str(scenes[0] / "0.png"), str(tiny_config), str(tiny_checkpoint), "--out-file", str(out),
              "--score-thr", "-1", "--kpt-thr", "0.01", *options, *tiny_options])  # fmt: skip
        return cv2.imread(str(out))

    return run


@pytest.mark.parametrize(
    "options",
    [["--style", "openpose"], ["--color-by", "person"], ["--fade"], ["--show-score"], ["--draw-heatmap"]],
    ids=lambda options: options[0],
)
def test_each_option_of_the_demo_changes_the_picture(draw, options):
    plain, drawn = draw(), draw(*options)
    assert drawn.shape == plain.shape
    assert (drawn != plain).any()


def test_tags_lie_on_a_dimmed_photo_as_strong_colours(draw, scenes):
    drawn = draw("--draw-tags", "--kpt-thr", "1e9")
    photo = cv2.imread(str(scenes[0] / "0.png"))
    saturation = [cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)[..., 1].mean() for picture in (photo, drawn)]
    assert saturation[1] > 1.5 * saturation[0], "random weights respond nearly everywhere"


def test_heatmaps_and_tags_hide_each_other(draw, capsys):
    with pytest.raises(SystemExit):
        run_cli(lambda: draw("--draw-tags", "--draw-heatmap"))
    assert "hide each other" in capsys.readouterr().err


def test_the_picture_of_the_docs_can_be_made_again(load, tiny_config, tmp_path):
    out = tmp_path / "styles.png"
    load("tools/misc/draw_styles.py")([str(tiny_config), "--out", str(out)])
    sheet = cv2.imread(str(out))
    width, step = 384 + 6, sheet.shape[0] // 2
    cells = [
        sheet[6 + step * row :, 6 + width * column :][:288, :384] for row in (0, 1) for column in range(4)
    ]
    assert all(cell.shape == (288, 384, 3) for cell in cells)
    assert len({cell.tobytes() for cell in cells}) == 8
    assert np.median(cells[5]) == 0, "the one on black"


def test_every_way_of_drawing_is_timed(load, tiny_config, capsys):
    tool = load("tools/misc/draw_styles.py")
    with pytest.raises(ValueError, match="--out, --time"):
        tool([str(tiny_config)])
    tool([str(tiny_config), "--time"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert rows[0] == "| 10 people, 1280 x 720 px | ms |"
    assert len(rows) == 7
    assert all(float(row.split("|")[2]) > 0 for row in rows[1:])

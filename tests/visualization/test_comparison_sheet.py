from __future__ import annotations

import numpy as np
import pytest

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.visualization.comparison_sheet import SheetCell, caption_height, compose_sheet, draw_cell

WHITE = np.full((96, 128, 3), 255, np.uint8)


@pytest.mark.parametrize("photo_wh", [(400, 100), (100, 400), (64, 48)])
def test_photos_of_any_shape_are_whole_and_centred(five_keypoints, photo_wh):
    meta = KeypointMeta.build(five_keypoints)
    photo = np.zeros((photo_wh[1], photo_wh[0], 3), np.uint8)
    center = (np.array(photo_wh) - 1) / 2
    points, scores = np.tile(center, (1, 5, 1)), np.array([[1, 0, 0, 0, 0]])
    cell = draw_cell(photo, points, scores, meta, (128, 96))
    assert cell.shape == (96, 128, 3)
    covered = (cell != 232).any(axis=2)
    scale = min(128 / photo_wh[0], 96 / photo_wh[1])
    assert covered.any(axis=1).sum() == pytest.approx(photo_wh[1] * scale, abs=2)
    assert covered.any(axis=0).sum() == pytest.approx(photo_wh[0] * scale, abs=2)
    rows, columns = np.nonzero(cell.max(axis=2) - cell.min(axis=2) > 100)
    assert abs(rows.mean() - 47.5) < 1, "the keypoint is in the middle of the cell"
    assert abs(columns.mean() - 63.5) < 1


def test_each_picture_has_its_caption_below(rng):
    pictures = [rng.integers(0, 200, (96, 128, 3), np.uint8) for _ in range(3)]
    captions = ["H-4: 3 people, 12 ms", "", "a caption that is far too long for a cell of this width " * 3]
    cells = [SheetCell(*pair) for pair in zip(pictures, captions)]
    sheet = compose_sheet([cells[:2], cells[2:]])
    step_y = 96 + caption_height(128) + 6
    assert sheet.shape == (2 * step_y + 6, 2 * 134 + 6, 3)
    np.testing.assert_array_equal(sheet[6:102, 6:134], pictures[0])
    np.testing.assert_array_equal(sheet[6:102, 140:268], pictures[1])
    np.testing.assert_array_equal(sheet[6 + step_y : 102 + step_y, 6:134], pictures[2])
    assert sheet[102:step_y, 6:134].min() < 100, "text"
    assert (sheet[102:step_y, 134:] == 255).all(), "no text"
    long = sheet[102 + step_y : 2 * step_y]
    assert long[:, 6:134].min() < 100
    assert (long[:, 134:] == 255).all(), "it ends within its cell"
    assert (sheet[step_y + 6 :, 140:] == 255).all(), "no picture"


def test_letters_that_the_font_does_not_have_do_no_harm():
    assert compose_sheet([[SheetCell(WHITE, "Größe 3 µs")]]).min() < 100


def test_pictures_of_different_shapes_or_none_are_refused():
    with pytest.raises(ValueError, match="same shape"):
        compose_sheet([[SheetCell(WHITE, "a"), SheetCell(WHITE[:50], "b")]])
    with pytest.raises(ValueError, match="at least one"):
        compose_sheet([[]])

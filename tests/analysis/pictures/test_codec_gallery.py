from __future__ import annotations

import importlib.util

import cv2
import numpy as np
import pytest

from ehrpose.analysis.codec.maps_from_labels import Noise, noisy_maps
from ehrpose.analysis.pictures.codec_gallery import codec_cells, draw_tag_line
from ehrpose.codecs import AssociativeEmbedding
from ehrpose.visualization.person_colors import color_of_person

SIZE_WH = (160, 128)
QUIET = Noise(peak=0.9, missed=0.0, floor=0.0, pixel=0.0, shift=0.0, tag=0.0)


@pytest.fixture
def codec(five_keypoints):
    return AssociativeEmbedding(128, five_keypoints, mode="fast", unbiased=True)


@pytest.fixture
def maps(codec):
    """Two people, all keypoints visible and far apart."""
    pose = np.array([[30, 15], [12, 50], [48, 50], [20, 110], [42, 110]], np.float32)
    keypoints = np.stack([pose, pose + np.float32([90, 0])]).astype(np.float32)
    visible = np.full((2, 5), 2, np.uint8)
    return noisy_maps(codec, keypoints, visible, SIZE_WH, np.random.default_rng(0), QUIET)


def test_the_chart_has_a_dot_of_each_persons_colour_in_every_row(codec, maps):
    people = codec.decode(maps)
    assert len(people) == 2
    chart = draw_tag_line(codec, maps, people, SIZE_WH[::-1])
    for number in range(2):
        color = color_of_person(number)[::-1]
        found = np.all(chart == color, axis=2).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(found)
        assert count - 1 == 5
        # One tag per person: the dots are in one column.
        assert np.ptp(stats[1:, cv2.CC_STAT_LEFT]) <= 1


def test_candidates_of_no_person_are_grey(codec, maps):
    people = codec.decode(maps)
    no_people = people.select(np.zeros(len(people), bool))
    chart = draw_tag_line(codec, maps, no_people, SIZE_WH[::-1])
    assert np.all(chart == 170, axis=2).sum() > 10 * 20
    assert not np.all(chart == color_of_person(0)[::-1], axis=2).any()


def test_every_step_has_a_picture_of_the_inputs_size(codec, maps):
    image = np.full((*SIZE_WH[::-1], 3), 90, np.uint8)
    cells = codec_cells(image, codec, maps)
    assert [cell.picture.shape for cell in cells] == [image.shape] * 6
    assert cells[-1].caption == "6. 2 people"
    assert all((cell.picture != image).any() for cell in cells)


def test_the_command_writes_the_sheet(root, tmp_path):
    path = root / "tools/misc/draw_codec.py"
    spec = importlib.util.spec_from_file_location("draw_codec", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main([str(root / "configs/ehrnet/h0_coco-512.py"), "--out", str(tmp_path / "codec.jpg")])
    assert cv2.imread(str(tmp_path / "codec.jpg")).shape[1] > 3 * 384

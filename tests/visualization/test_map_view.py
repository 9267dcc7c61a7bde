from __future__ import annotations

import cv2
import numpy as np
import pytest

from ehrpose.analysis.codec.maps_from_labels import perfect_maps
from ehrpose.codecs import AssociativeEmbedding
from ehrpose.image_warp import centred_warp, warp_points
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import Maps
from ehrpose.visualization.map_view import draw_heatmaps, draw_tags, maps_of_photo

IMAGE = np.full((96, 160, 3), (60, 120, 60), np.uint8)
PEOPLE = np.array(
    [[[20, 16], [12, 40], [28, 40], [14, 80], [26, 80]], [[120, 16], [112, 40], [128, 40], [114, 80], [126, 80]]],
    np.float32,
)  # fmt: skip


@pytest.fixture
def meta(five_keypoints):
    return KeypointMeta.build(five_keypoints)


@pytest.fixture
def maps(meta):
    return perfect_maps(AssociativeEmbedding(160, meta), PEOPLE, np.full((2, 5), 2), (160, 96))


def hue_at(picture, xy):
    x, y = np.round(xy).astype(int)
    return int(cv2.cvtColor(picture[y : y + 1, x : x + 1], cv2.COLOR_BGR2HSV)[0, 0, 0])


def test_a_person_has_one_colour_and_the_other_another(maps):
    picture = draw_tags(IMAGE, maps)
    hues = np.array([[hue_at(picture, xy) for xy in person] for person in PEOPLE])
    assert np.ptp(hues, axis=1).max() <= 2
    assert abs(hues[0, 0] - hues[1, 0]) > 30
    background = picture[:, 60:90]
    assert (background == background[..., :1]).all(), "grey where nothing responds"
    assert background.max() < 120


def test_one_person_with_unsteady_tags_has_one_colour(maps, rng):
    tags = maps.tag4 * 0 + rng.uniform(-0.2, 0.2, maps.tag4.shape).astype(np.float32)
    picture = draw_tags(IMAGE, tags, maps.heat2)
    hues = [hue_at(picture, xy) for xy in PEOPLE.reshape(-1, 2)]
    assert np.ptp(hues) <= 20


def test_arrays_and_maps_give_the_same_and_of_two_tags_the_first_counts(maps, rng):
    expected = draw_tags(IMAGE, maps)
    np.testing.assert_array_equal(expected, draw_tags(IMAGE, maps.tag4, maps.heat2))
    more = rng.normal(0, 9, maps.tag4.shape).astype(np.float32)
    np.testing.assert_array_equal(
        expected, draw_tags(IMAGE, maps._replace(tag4=np.concatenate([maps.tag4, more])))
    )
    coarse = draw_tags(IMAGE, maps._replace(heat2=None))
    assert abs(hue_at(coarse, PEOPLE[0, 0]) - hue_at(expected, PEOPLE[0, 0])) <= 2


def test_one_keypoint_by_index_or_name_keeps_its_persons_colour(maps, meta):
    both = draw_tags(IMAGE, maps)
    nose = draw_tags(IMAGE, maps, keypoint=0)
    np.testing.assert_array_equal(nose, draw_tags(IMAGE, maps, keypoint="nose", meta=meta))
    assert hue_at(nose, PEOPLE[1, 0]) == hue_at(both, PEOPLE[1, 0])
    x, y = PEOPLE[0, 3].astype(int)
    assert np.ptp(nose[y, x]) == 0
    heat = draw_heatmaps(IMAGE, maps, keypoint="nose", meta=meta)
    np.testing.assert_array_equal(heat, draw_heatmaps(IMAGE, maps.heat2, keypoint=0))
    np.testing.assert_array_equal(heat, draw_heatmaps(IMAGE, maps.heat2[:1]))
    assert heat[16, 20, 2] > 120 > heat[80, 14, 2]


def test_maps_of_a_photo_lie_over_it(meta):
    photo_wh, input_wh = (80, 96), (160, 96)  # bars left and right
    warp = centred_warp(photo_wh, input_wh, 1.0)
    people = warp_points(PEOPLE[:1], warp)
    maps = perfect_maps(AssociativeEmbedding(160, meta), people, np.full((1, 5), 2), input_wh)
    cut = maps_of_photo(maps, warp, photo_wh)
    assert cut.heat2.shape == (5, 48, 40)
    assert cut.tag4.shape == (5, 24, 20)
    assert cut.tag2 is None
    picture = draw_heatmaps(IMAGE[:, :80], cut)
    for x, y in PEOPLE[0].astype(int):
        assert picture[y, x, 2] > picture[y, 50, 2] + 60


def test_a_photo_of_one_pixel_keeps_a_map(maps):
    cut = maps_of_photo(maps, np.array([[1.0, 0, 50], [0, 1, 50]]), (1, 1))
    assert draw_heatmaps(IMAGE[:1, :1], cut).shape == (1, 1, 3)
    assert draw_tags(IMAGE[:1, :1], cut).shape == (1, 1, 3)


def test_flat_maps_change_nothing_but_the_photos_colour():
    flat = Maps(np.zeros((2, 8, 8), np.float32), np.zeros((2, 8, 8), np.float32))
    picture = draw_tags(IMAGE, flat)
    assert (picture == picture[0, 0]).all()


def test_mistakes_are_named(maps, meta):
    cases = [
        ({"keypoint": 5}, "from 0 to 4"),
        ({"keypoint": -1}, "from 0 to 4"),
        ({"keypoint": "tail", "meta": meta}, "keypoint 'tail' not found"),
        ({"keypoint": "nose"}, "meta"),
    ]
    for options, message in cases:
        for draw in (draw_heatmaps, draw_tags):
            with pytest.raises(ValueError, match=message):
                draw(IMAGE, maps, **options)
    with pytest.raises(ValueError, match=r"maps\.image\(0\)"):
        draw_heatmaps(IMAGE, maps.heat2[None])
    with pytest.raises(ValueError, match="pass heatmaps too, or Maps"):
        draw_tags(IMAGE, maps.tag4)
    with pytest.raises(ValueError, match="omit the argument heatmaps"):
        draw_tags(IMAGE, maps, maps.heat2)
    with pytest.raises(ValueError, match=r"expected tags \(T\*5, h, w\)"):
        draw_tags(IMAGE, maps.tag4[:3], maps.heat2)

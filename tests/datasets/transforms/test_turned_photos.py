"""LoadImage on photos that their EXIF turns: which frame the keypoints lie in."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from ehrpose.datasets.coco import CocoPoseDataset
from ehrpose.datasets.transforms import LoadImage
from ehrpose.image_io import ImageReadError

Image = pytest.importorskip("PIL.Image", reason="Pillow writes the orientation")

# Stored 60 x 40, upright 40 x 60.
STORED, UPRIGHT = (60, 40), (40, 60)
IN_BOTH, ONLY_STORED, ONLY_UPRIGHT, IN_NEITHER = (30, 20), (55, 20), (20, 55), (90, 20)


def write_photo(path, orientation=6, stored=STORED, fmt="PNG"):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", stored, (200, 10, 10)).save(path, fmt, exif=exif)
    return str(path)


def item(path, size, *points, raw=True):
    keypoints = np.array(points, np.float32).reshape(min(len(points), 1), len(points), 2)
    visible = np.full(keypoints.shape[:2], 2, np.uint8)
    if raw:  # the visibility of what is outside is gone from the arrays
        visible[((keypoints < 0) | (keypoints > size)).any(axis=2)] = 0
    flat = [value for point in points for value in (*point, 2)]
    anns = {"raw_anns": [{"id": 1, "keypoints": flat}, {"id": 2, "iscrowd": 1}]} if raw else {}
    return {
        "img_path": path,
        "width": size[0],
        "height": size[1],
        "keypoints": keypoints,
        "visible": visible,
        **anns,
    }


@pytest.mark.parametrize("raw", [True, False], ids=["annotations", "arrays"])
@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize(
    ("size", "points", "wanted"),
    [
        (UPRIGHT, [], UPRIGHT),
        (UPRIGHT, [IN_BOTH], UPRIGHT),
        (UPRIGHT, [IN_BOTH, ONLY_UPRIGHT], UPRIGHT),
        (UPRIGHT, [IN_BOTH, IN_NEITHER], UPRIGHT),
        (
            UPRIGHT,
            [IN_BOTH, ONLY_STORED],
            "its annotation states the upright size, but .* fit only the stored photo",
        ),
        (STORED, [], STORED),
        (STORED, [(0, 0), ONLY_STORED], STORED),
        (
            STORED,
            [IN_BOTH],
            r"states the stored size, but its keypoints fit both: write 40 x 60 into the json",
        ),
        (
            STORED,
            [IN_BOTH, ONLY_UPRIGHT],
            r"states the stored size, but its keypoints do not fit it: write 40 x 60",
        ),
        (STORED, [IN_NEITHER], r"its keypoints do not fit it"),
        (STORED, [ONLY_UPRIGHT, ONLY_STORED], r"its keypoints do not fit it"),
    ],
)
def test_sizes_and_keypoints_decide(tmp_path, size, points, wanted, fmt, raw):
    path = write_photo(tmp_path / "turned.img", fmt=fmt)
    results = item(path, size, *points, raw=raw)
    if isinstance(wanted, str):
        with pytest.raises(ImageReadError, match=rf"turned\.img is turned by its EXIF.*{wanted}") as caught:
            LoadImage()(results)
        assert "\n" not in str(caught.value)
    else:
        assert LoadImage()(results)["img"].shape[1::-1] == wanted


def test_unlabelled_keypoints_count_only_where_they_were_cut_off(tmp_path):
    """The reader takes the visibility of what is outside the annotated size: here, of an upright label."""
    path = write_photo(tmp_path / "turned.png")
    results = item(path, STORED, ONLY_UPRIGHT, (10, 10))
    results["raw_anns"][0]["keypoints"][2] = 0
    with pytest.raises(ImageReadError, match="do not fit it"):
        LoadImage()(results)
    results["raw_anns"][0]["keypoints"] = [0, 0, 0] * 2
    assert LoadImage()(results)["img"].shape[1::-1] == STORED


@pytest.mark.parametrize("point", [IN_BOTH, ONLY_UPRIGHT, ONLY_STORED])
def test_the_stored_frame_can_be_asked_for(tmp_path, point):
    path = write_photo(tmp_path / "turned.png")
    results = LoadImage(stored_labels=True)(item(path, STORED, point))
    assert results["img"].shape[1::-1] == STORED
    assert LoadImage(stored_labels=True)(item(path, UPRIGHT, IN_BOTH))["img"].shape[1::-1] == UPRIGHT


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_photos_that_keep_their_sides_are_read_as_before(tmp_path, orientation):
    path = write_photo(tmp_path / "a.png", orientation)
    for points in ([IN_BOTH], [ONLY_STORED], [ONLY_UPRIGHT], [IN_NEITHER], []):
        assert LoadImage()(item(path, STORED, *points))["img"].shape[1::-1] == STORED
    with pytest.raises(ImageReadError, match=r"is 60 x 40 px, but its annotation says 40 x 60"):
        LoadImage()(item(path, UPRIGHT, IN_BOTH))


def test_a_square_photo_is_read_upright(tmp_path):
    path = write_photo(tmp_path / "square.png", stored=(40, 40))
    for point in (IN_BOTH, IN_NEITHER):
        assert LoadImage()(item(path, (40, 40), point))["img"].shape[1::-1] == (40, 40)


@pytest.mark.parametrize("test_mode", [False, True])
def test_a_data_set_names_the_photo_and_the_reason(tmp_path, five_keypoints, test_mode):
    (tmp_path / "train2017").mkdir()
    names = five_keypoints["names"]
    images, annotations = [], []
    for number, (orientation, point) in enumerate([(1, IN_BOTH), (6, IN_BOTH), (6, ONLY_UPRIGHT)]):
        write_photo(tmp_path / "train2017" / f"{number}.png", orientation)
        images.append({"id": number, "file_name": f"{number}.png", "width": 60, "height": 40})
        labels = [*point, 2, 5, 5, 2] + [0] * 3 * (len(names) - 2)
        annotations.append({"id": number + 1, "image_id": number, "category_id": 1, "iscrowd": 0, "area": 300,
                            "bbox": [5, 5, 30, 30], "num_keypoints": 2, "keypoints": labels})  # fmt: skip
    categories = [{"id": 1, "name": "person", "keypoints": list(names), "skeleton": []}]
    (tmp_path / "a.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    dataset = CocoPoseDataset(
        "a.json", five_keypoints, str(tmp_path), pipeline=[{"type": "LoadImage"}], test_mode=test_mode
    )
    assert dataset[0]["img"].shape[:2] == (40, 60)
    for index, reason in ((1, "fit both"), (2, "do not fit it")):
        with pytest.raises(ImageReadError, match=re.escape(reason)):
            dataset[index]

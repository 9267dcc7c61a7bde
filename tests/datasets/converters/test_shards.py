"""Photos and labels in shards: sizes, labels that follow the photos, damage, and training data that stays the same."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from ehrpose.datasets.coco import CocoPoseDataset
from ehrpose.datasets.converters.scaled_labels import scaled_annotation
from ehrpose.datasets.converters.shards import INDEX, are_unpacked, pack_photos, unpack_photos
from ehrpose.image_io import ImageReadError

FOUR = [[10, 20, 90, 20, 90, 60, 10, 60]]


@pytest.fixture
def folder(tmp_path, coco_keypoints):
    """Six photos of 400 x 200 px with a square at a keypoint; the last one has no keypoint."""
    photos, images, people = tmp_path / "coco/train2017", [], []
    photos.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(6):
        x, y = 60 + 40 * i, 50 + 20 * i
        # Noise of large patches: photos that a JPEG does not shrink to nothing.
        picture = cv2.resize(rng.integers(0, 60, (50, 100, 3), np.uint8), (400, 200))
        picture[y - 8 : y + 9, x - 8 : x + 9] = 255
        cv2.imwrite(str(photos / f"{i}.png"), picture)
        images.append({"id": i + 1, "file_name": f"{i}.png", "width": 400, "height": 200, "license": 3})
        points = [0.0] * 51
        if i < 5:
            points[3:6] = [float(x), float(y), 2]
        person = {"id": i + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0, "keypoints": points,
                  "num_keypoints": int(i < 5), "bbox": [10, 20, 80, 40], "area": 3200.0,
                  "segmentation": FOUR}  # fmt: skip
        people.append(person)
    runs = [0, 4000, 76000]  # the left 20 columns
    people.append({"id": 7, "image_id": 1, "category_id": 1, "iscrowd": 1, "keypoints": [0] * 51, "area": 4000,
                   "num_keypoints": 0, "bbox": [0, 0, 20, 200],
                   "segmentation": {"size": [200, 400], "counts": runs}})  # fmt: skip
    names = coco_keypoints["names"]
    labels = {
        "images": images,
        "annotations": people,
        "categories": [{"id": 1, "name": "person", "keypoints": names}],
    }
    (tmp_path / "coco/annotations").mkdir()
    (tmp_path / "coco/annotations/person_keypoints_train2017.json").write_text(json.dumps(labels))
    return tmp_path / "coco"


def pack(folder: Path, out: Path, **options):
    labels = folder / "annotations/person_keypoints_train2017.json"
    return pack_photos(labels, folder / "train2017", out, **options)


def test_labels_follow_the_photos(folder, tmp_path, coco_keypoints):
    packed = pack(folder, tmp_path / "shards", side=100)
    assert (packed.photos, packed.people, packed.skipped) == (5, 6, {})
    assert unpack_photos(tmp_path / "shards", tmp_path / "small") == 5
    dataset = CocoPoseDataset(
        "annotations/person_keypoints_train2017.json",
        coco_keypoints,
        data_root=str(tmp_path / "small"),
        data_prefix={"img": "train2017/"},
        pipeline=[],
    )
    assert len(dataset) == 5
    for i in range(5):
        item = dataset[i]
        photo = cv2.imread(item["img_path"], cv2.IMREAD_GRAYSCALE)
        assert photo.shape == (100, 200) == (item["height"], item["width"])
        # The keypoint is still in the middle of the square.
        weight = np.maximum(photo.astype(float) - 75, 0)
        ys, xs = np.indices(photo.shape)
        middle = [(xs * weight).sum() / weight.sum(), (ys * weight).sum() / weight.sum()]
        np.testing.assert_allclose(item["keypoints"][0, 1], middle, atol=0.1)
        np.testing.assert_allclose(item["bbox"][0], [5, 10, 45, 30])
        assert item["area"][0] == 800
    labels = json.loads((tmp_path / "small/annotations/person_keypoints_train2017.json").read_text())
    assert labels["annotations"][0]["segmentation"] == [[v / 2 for v in FOUR[0]]]
    crowd = next(ann for ann in labels["annotations"] if ann["iscrowd"])
    assert crowd["segmentation"] == {"size": [100, 200], "counts": [0, 1000, 19000]}
    assert labels["images"][0]["license"] == 3


def test_photos_are_never_enlarged_and_shards_are_small(folder, tmp_path):
    packed = pack(folder, tmp_path / "shards", side=1000, quality=95, max_mib=0.06)
    assert len(packed.shards) > 1
    assert all(size <= 0.06 * 2**20 for size in packed.shards.values())
    assert {path.stat().st_size for path in (tmp_path / "shards").glob("*.tar")} == set(
        packed.shards.values()
    )
    again = pack(folder, tmp_path / "again", side=1000, quality=95, max_mib=0.06)
    assert again == packed
    assert (tmp_path / "again" / INDEX).read_text() == (tmp_path / "shards" / INDEX).read_text()
    unpack_photos(tmp_path / "shards", tmp_path / "same")
    labels, before = (
        json.loads((root / "annotations/person_keypoints_train2017.json").read_text())
        for root in (tmp_path / "same", folder)
    )
    assert [ann["keypoints"] for ann in labels["annotations"] if not ann["iscrowd"]] == [
        ann["keypoints"] for ann in before["annotations"][:5]
    ]
    assert cv2.imread(str(tmp_path / "same/train2017/0.jpg")).shape == (200, 400, 3)
    with pytest.raises(ValueError, match="less than a shard"):
        pack(folder, tmp_path / "none", max_mib=0.005)
    assert not (tmp_path / "none").exists()


def test_chosen_and_bad_photos(folder, tmp_path):
    assert pack(folder, tmp_path / "two", image_ids=[2, 4, 6]).photos == 2  # the last has no keypoint
    with pytest.raises(ValueError, match="1 of the 2 image_ids not found"):
        pack(folder, tmp_path / "none", image_ids=[1, 99])
    (folder / "train2017/1.png").write_bytes(b"no photo")
    with pytest.raises(ImageReadError, match=r"1\.png"):
        pack(folder, tmp_path / "none")
    packed = pack(folder, tmp_path / "four", skip_bad=True)
    assert packed.photos == 4
    assert list(packed.skipped) == ["1.png"]
    assert not (tmp_path / "none").exists()
    for bad in ({"side": 10}, {"quality": 0}, {"max_mib": 0}):
        with pytest.raises(ValueError, match="expected side from 32"):
            pack(folder, tmp_path / "none", **bad)


@pytest.mark.parametrize("damage", ["cut", "missing", "no index", "format", "path", "link"])
def test_damage_is_noticed_and_leaves_nothing(folder, tmp_path, damage):
    shards = tmp_path / "shards"
    pack(folder, shards, side=100)
    first, index = shards / "photos-000.tar", json.loads((shards / INDEX).read_text())
    error: type[Exception] = ValueError
    if damage == "cut":
        first.write_bytes(first.read_bytes()[:-600])
        expected = "is damaged: its SHA-256"
    elif damage == "missing":
        first.unlink()
        error, expected = FileNotFoundError, "copy all files"
    elif damage == "no index":
        (shards / INDEX).unlink()
        error, expected = FileNotFoundError, "pack_photos.py"
    elif damage == "format":
        (shards / INDEX).write_text(json.dumps({**index, "format": 2}))
        expected = "expected format 1, got 2"
    elif damage == "path":
        (shards / INDEX).write_text(json.dumps({**index, "photos": "../elsewhere"}))
        expected = "plain file names"
    else:
        import hashlib

        with tarfile.open(first, "w") as tar:
            link = tarfile.TarInfo("1.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "elsewhere"
            tar.addfile(link)
        index["shards"]["photos-000.tar"] = hashlib.sha256(first.read_bytes()).hexdigest()
        (shards / INDEX).write_text(json.dumps(index))
        expected = "plain files, got '1.jpg'"
    with pytest.raises(error, match=expected):
        unpack_photos(shards, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_photos_of_other_shards_are_noticed(folder, tmp_path):
    one, other, photos = tmp_path / "one", tmp_path / "other", tmp_path / "photos"
    pack(folder, one, side=100)
    pack(folder, other, side=150)
    assert not are_unpacked(one, photos)
    unpack_photos(one, photos)
    assert are_unpacked(one, photos)
    with pytest.raises(ValueError, match="does not have the photos of"):
        are_unpacked(other, photos)
    (photos / INDEX).unlink()
    with pytest.raises(ValueError, match="does not have the photos of"):
        are_unpacked(one, photos)


@pytest.mark.parametrize("keypoints", [["a", 1, 2] * 17, [1.0] * 50])
def test_a_bad_annotation_is_named(folder, tmp_path, keypoints):
    path = folder / "annotations/person_keypoints_train2017.json"
    labels = json.loads(path.read_text())
    labels["annotations"][6]["keypoints"] = keypoints
    path.write_text(json.dumps(labels))
    with pytest.raises(ValueError, match="annotation 7: "):
        pack(folder, tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_a_keypoint_on_the_border_stays_in_the_photo():
    points = [0.0, 200, 2, 400, 0, 1, -30, 50, 2, 0, 0, 0]
    scaled = scaled_annotation({"id": 1, "keypoints": points}, (400, 200), (200, 100))["keypoints"]
    assert scaled == [0, 99.75, 2, 199.75, 0, 1, -15.25, 24.75, 2, 0, 0, 0]


def test_the_tool_packs_and_unpacks(folder, tmp_path, root, capsys):
    import importlib.util

    spec = importlib.util.spec_from_file_location(
        "pack_photos", root / "tools/dataset_converters/pack_photos.py"
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    ids = tmp_path / "ids.txt"
    ids.write_text("1\n3\n")
    tool.main([str(folder), "--out", str(tmp_path / "shards"), "--side", "100", "--image-ids", str(ids)])
    assert "2 photos, 3 annotations" in capsys.readouterr().out
    shutil.rmtree(folder)
    tool.main([str(tmp_path / "shards"), "--unpack", "--out", str(tmp_path / "small")])
    assert "2 photos" in capsys.readouterr().out
    assert len(list((tmp_path / "small/train2017").iterdir())) == 2

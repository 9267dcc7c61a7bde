"""SyntheticPeople: reproducible scenes whose annotations agree with the drawn pixels."""

from __future__ import annotations

import errno
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from torch.utils.data import DataLoader

from ehrpose.datasets.synthetic.dataset import SyntheticPeople
from ehrpose.datasets.synthetic.scene import KEYPOINT_NAMES, render_scene
from ehrpose.files import WriteError

NUM_SCENES = 25


@pytest.fixture(scope="module")
def dataset(coco_keypoints):
    return SyntheticPeople(coco_keypoints, length=NUM_SCENES, seed=3, image_size=(160, 128))


@pytest.fixture(scope="module")
def items(dataset):
    return [dataset[i] for i in range(len(dataset))]


@pytest.fixture(scope="module")
def converter(root):
    path = root / "tools/dataset_converters/synthetic_to_coco.py"
    spec = importlib.util.spec_from_file_location("synthetic_to_coco", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def same(first, second):
    arrays = ("img", "keypoints", "visible", "bbox", "area")
    return all(np.array_equal(first[key], second[key]) for key in arrays) and (
        first["raw_anns"] == second["raw_anns"]
    )


def test_a_scene_depends_on_seed_and_index_only(dataset, items, coco_keypoints):
    # Another object, another length, read backwards.
    again = SyntheticPeople(coco_keypoints, length=NUM_SCENES + 9, seed=3, image_size=(160, 128))
    assert all(same(again[i], items[i]) for i in reversed(range(6)))
    assert same(dataset[4], items[4])
    other_seed = SyntheticPeople(coco_keypoints, length=2, seed=4, image_size=(160, 128))
    assert not np.array_equal(items[0]["img"], other_seed[0]["img"])
    assert len({item["img"].tobytes() for item in items}) == NUM_SCENES


def test_other_processes_read_the_same_scenes(dataset, items):
    loader = DataLoader(dataset, batch_size=2, num_workers=2, collate_fn=list, sampler=range(4))
    read = [item for batch in loader for item in batch]
    assert len(read) == 4
    assert all(same(a, b) for a, b in zip(read, items))


def test_items_have_the_fields_of_a_photo(items):
    assert sum(len(item["keypoints"]) for item in items) > NUM_SCENES
    for i, item in enumerate(items):
        count = len(item["keypoints"])
        assert (item["img_id"], item["width"], item["height"]) == (i + 1, 160, 128)
        assert item["img"].shape == (128, 160, 3)
        assert item["img"].dtype == np.uint8
        assert item["keypoints"].shape == (count, 17, 2)
        assert item["visible"].shape == (count, 17)
        assert item["bbox"].shape == (count, 4)
        assert item["area"].shape == (count,)
        assert count + len(item["mask_regions"]) == len(item["raw_anns"])
        assert "img_path" not in item


def test_every_visibility_occurs_and_most_keypoints_are_visible(items):
    shares = np.bincount(np.concatenate([item["visible"].ravel() for item in items]), minlength=3)
    shares = shares / shares.sum()
    assert (shares > 0.005).all()
    assert shares[2] > 0.5


def test_labelled_keypoints_are_inside_the_image(items):
    for item in items:
        xy, labelled = item["keypoints"], item["visible"] > 0
        assert (xy[labelled] >= 0).all()
        assert (xy[labelled] <= (159, 127)).all()
        assert (xy[~labelled] == 0).all()


def test_visible_keypoints_lie_on_their_person():
    rng = np.random.default_rng(5)
    num_visible = 0
    for _ in range(15):
        _, people = render_scene(rng, (160, 128), num_people=(2, 4), occlusion=0.8)
        for person in people:
            x, y = np.round(person.keypoints[person.visible == 2]).astype(int).T
            assert person.mask[y, x].all()
            num_visible += len(x)
        assert np.sum([person.mask for person in people], axis=0).max() <= 1
    assert num_visible > 200


def test_area_and_box_are_those_of_the_mask(items):
    anns = [ann for item in items for ann in item["raw_anns"]]
    assert len({ann["id"] for ann in anns}) == len(anns)
    for ann in anns:
        mask = coco_mask.decode(ann["segmentation"])
        y, x = np.nonzero(mask)
        assert ann["area"] == mask.sum() > 0
        box = [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]
        assert ann["bbox"] == box
        assert ann["num_keypoints"] == np.count_nonzero(ann["keypoints"][2::3])
        assert json.loads(json.dumps(ann)) == ann


def test_left_is_where_it_is_in_photos():
    """With both eyes visible, a person faces the camera: their left is on the right of the image."""
    index = {name: i for i, name in enumerate(KEYPOINT_NAMES)}
    eyes = [index["left_eye"], index["right_eye"]]
    shoulders = [index["left_shoulder"], index["right_shoulder"]]
    rng = np.random.default_rng(1)
    facing, away = [], []
    for _ in range(60):
        _, people = render_scene(rng, (128, 128), num_people=(1, 1), occlusion=0, clutter=0)
        for person in people:
            gap = (person.keypoints[shoulders[0], 0] - person.keypoints[shoulders[1], 0]) / person.height
            if abs(gap) > 0.1:
                (facing if (person.visible[eyes] == 2).all() else away).append(gap)
    assert len(facing) > 10
    assert np.mean(np.array(facing) > 0) > 0.9
    assert np.mean(np.array(away) < 0) > 0.3


def test_what_cannot_be_guessed_is_not_annotated():
    rng = np.random.default_rng(8)
    num_hidden = 0
    for _ in range(25):
        _, people = render_scene(rng, (160, 128), num_people=(2, 4), occlusion=1.0)
        for person in people:
            y, x = np.nonzero(person.mask)
            for keypoint in person.keypoints[person.visible == 1]:
                gap = np.maximum(abs(x - keypoint[0]), abs(y - keypoint[1])).min()
                assert gap <= 0.15 * person.height + 2
                num_hidden += gap > 1
    assert num_hidden > 10


def test_occluders_and_overlap_come_with_occlusion():
    def mean_share(occlusion):
        rng = np.random.default_rng(2)
        shares = []
        for _ in range(15):
            _, people = render_scene(rng, (128, 128), num_people=(3, 3), occlusion=occlusion)
            shares += [person.mask.sum() / person.whole_area for person in people]
        return np.mean(shares)

    assert mean_share(1.0) < mean_share(0.0) - 0.05


def test_pose_variety_goes_from_upright_and_facing_to_anything():
    def upright_and_facing(variety):
        people = [
            person
            for seed in range(30)
            for person in render_scene(
                np.random.default_rng(seed),
                (64, 64),
                (1, 2),
                occlusion=0.0,
                clutter=0.0,
                pose_variety=variety,
            )[1]
        ]
        at = {
            name: np.array([p.keypoints[KEYPOINT_NAMES.index(name)] for p in people])
            for name in KEYPOINT_NAMES
        }
        facing = at["left_shoulder"][:, 0] > at["right_shoulder"][:, 0]
        upright = (at["left_shoulder"][:, 1] < at["left_hip"][:, 1]) & (
            at["left_hip"][:, 1] < at["left_knee"][:, 1]
        )
        return np.mean(facing & upright)

    shares = [upright_and_facing(variety) for variety in (0.0, 0.5, 1.0)]
    assert shares[0] > 0.98
    assert shares[0] > shares[1] > shares[2]


def test_a_skeleton_of_five_gets_the_same_keypoints(five_keypoints, items):
    five = SyntheticPeople(five_keypoints, length=4, seed=3, image_size=(160, 128))
    columns = [KEYPOINT_NAMES.index(name) for name in five_keypoints["names"]]
    assert five.metainfo["keypoints"].num_keypoints == 5
    for i in range(4):
        assert np.array_equal(five[i]["img"], items[i]["img"])
        for ann, full in zip(five[i]["raw_anns"], items[i]["raw_anns"]):
            wanted = np.reshape(full["keypoints"], (-1, 3))[columns]
            assert np.array_equal(np.reshape(ann["keypoints"], (-1, 3)), wanted)


def test_scenes_without_people_have_empty_fields(coco_keypoints):
    item = SyntheticPeople(coco_keypoints, length=1, image_size=64, num_people=(0, 0))[0]
    assert item["keypoints"].shape == (0, 17, 2)
    assert item["visible"].shape == (0, 17)
    assert item["bbox"].shape == (0, 4)
    assert item["raw_anns"] == item["mask_regions"] == []


def test_a_hidden_person_becomes_a_mask_region(dataset):
    _, people = render_scene(np.random.default_rng(0), (160, 128), num_people=(1, 1), occlusion=0)
    person = people[0]
    person.mask[:, :] = False
    person.mask[10, 20:23] = True
    ann = dataset._annotate(person, index=7, number=0)
    item = dataset._collect([ann])
    assert ann["num_keypoints"] == 0
    assert set(ann["keypoints"]) == {0}
    assert ann["area"] == 3
    assert ann["id"] == 701
    assert item["keypoints"].shape == (0, 17, 2)
    assert item["mask_regions"] == [ann["segmentation"]]


def test_pipeline_and_indices_work(coco_keypoints):
    dataset = SyntheticPeople(
        coco_keypoints, length=10, image_size=64, indices=[7, 2], pipeline=[lambda item: item["img_id"]]
    )
    assert [dataset[i] for i in range(len(dataset))] == [8, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0}, "length: expected a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed: expected a whole number of at least 0"),
        ({"image_size": 8}, "at least 16 px, got 8"),
        ({"image_size": (64, 64, 3)}, "image_size: expected"),
        ({"num_people": (3, 2)}, "num_people: expected low <= high"),
        ({"num_people": (1, 500)}, "within 0 to 99"),
        ({"person_height": 0.5}, "person_height: expected low <= high"),
        ({"occlusion": 1.5}, "occlusion: expected"),
        ({"clutter": -0.1}, "clutter: expected"),
    ],
)
def test_bad_arguments_are_named(coco_keypoints, arguments, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        SyntheticPeople(coco_keypoints, **arguments)


def test_unknown_keypoints_are_refused_with_a_list(five_keypoints):
    names = ["tail" if name == "nose" else name for name in five_keypoints["names"]]
    keypoints = {**five_keypoints, "names": names, "skeleton": [("tail", "left_wrist")]}
    with pytest.raises(ValueError, match=r"\['tail'\].*'left_knee'"):
        SyntheticPeople(keypoints)


@pytest.mark.parametrize("size", [(16, 16), (300, 40), (40, 300)])
def test_odd_sizes_can_be_drawn(size):
    rng = np.random.default_rng(0)
    for _ in range(5):
        img, _ = render_scene(rng, size, num_people=(3, 6), person_height=(0.1, 3.0), occlusion=1, clutter=1)
        assert img.shape == (size[1], size[0], 3)


def test_converter_writes_what_coco_tools_read(converter, coco_keypoints, tmp_path, capsys):
    out = tmp_path / "made" / "people"
    options = ["--length", "4", "--val-length", "2", "--seed", "6", "--image-size", "96", "80"]
    converter.main(["--out", str(out), *options, "--num-people", "1", "2"])
    assert str(out) in capsys.readouterr().out
    assert [path.name for path in out.parent.iterdir()] == ["people"]
    for split, seed, length in (("train", 6, 4), ("val", 7, 2)):
        dataset = SyntheticPeople(coco_keypoints, length, seed, (96, 80), (1, 2))
        coco = COCO(out / "annotations" / f"person_keypoints_{split}2017.json")
        assert coco.getImgIds() == list(range(1, length + 1))
        assert coco.loadCats(1)[0]["keypoints"] == list(KEYPOINT_NAMES)
        for info in coco.loadImgs(coco.getImgIds()):
            photo = cv2.imread(str(out / f"{split}2017" / info["file_name"]))
            item = dataset[info["id"] - 1]
            assert photo.shape == (80, 96, 3)
            assert np.abs(photo.astype(int) - item["img"]).mean() < 8
            anns = coco.loadAnns(coco.getAnnIds(info["id"]))
            assert anns == item["raw_anns"]
            assert all(coco.annToMask(ann).sum() == ann["area"] for ann in anns)


def test_converter_refuses_a_folder_in_use(converter, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        converter.main(["--out", str(tmp_path), "--length", "1"])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_broken_conversion_leaves_nothing(converter, tmp_path, monkeypatch):
    def fill_up(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(
        WriteError, match=r"\.jpg could not be written: No space left on device \(\d+ MB free\)"
    ):
        converter.main(["--out", str(tmp_path / "people"), "--length", "1", "--val-length", "0"])
    assert list(tmp_path.iterdir()) == []

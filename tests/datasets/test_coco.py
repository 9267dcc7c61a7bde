from __future__ import annotations

import copy
import pickle
import shutil

import numpy as np
import pytest
from four_photos import (
    CROWD,
    EMPTY,
    HEIGHT,
    LOAD,
    PEOPLE,
    POLYGON,
    RLE,
    UNLABELLED,
    WIDTH,
    K,
    annotation,
    ids,
    labels,
)
from mmengine.registry import init_default_scope

from ehrpose.datasets.coco import CocoPoseDataset
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.registry import DATASETS


def test_training_keeps_photos_with_labelled_people_and_test_keeps_all(build):
    assert ids(build()) == [PEOPLE, CROWD]
    assert ids(build(test_mode=True)) == [PEOPLE, CROWD, UNLABELLED, EMPTY]
    assert ids(build(min_keypoints=3)) == [PEOPLE, CROWD]
    assert ids(build(test_mode=True, indices=2)) == [PEOPLE, CROWD]
    assert ids(build(test_mode=True, indices=-1)) == [EMPTY]
    assert ids(build(test_mode=True, indices=[3, 1])) == [EMPTY, CROWD]


def test_items_have_the_documented_fields(build, folder):
    item = build().get_data_info(0)
    assert item["img_path"] == str(folder / "train2017" / "11.png")
    assert (item["img_id"], item["width"], item["height"]) == (PEOPLE, WIDTH, HEIGHT)
    np.testing.assert_array_equal(item["keypoints"][0], [[10, 8], [15, 11], [20, 14], [25, 17], [30, 20]])
    np.testing.assert_array_equal(item["visible"], [[2] * K, [0, 1, 0, 2, 0]])
    np.testing.assert_array_equal(item["bbox"], [[8, 6, 38, 26]] * 2)
    np.testing.assert_array_equal(item["area"], np.float32([300.5, 300.5]))
    types = {name: item[name].dtype for name in ("keypoints", "visible", "bbox", "area")}
    assert types == {"keypoints": np.float32, "visible": np.uint8, "bbox": np.float32, "area": np.float32}
    assert item["mask_regions"] == []
    wanted = [{k: v for k, v in ann.items() if k != "segmentation"} for ann in labels()["annotations"][:2]]
    assert item["raw_anns"] == wanted


def test_crowds_and_unlabelled_people_become_mask_regions(build):
    dataset = build(test_mode=True)
    items = {item["img_id"]: item for item in map(dataset.get_data_info, range(len(dataset)))}
    assert items[CROWD]["mask_regions"] == [RLE]
    assert len(items[CROWD]["keypoints"]) == 1
    assert [ann["id"] for ann in items[CROWD]["raw_anns"]] == [3, 4]
    assert items[UNLABELLED]["mask_regions"] == [[POLYGON]]
    for image_id in (UNLABELLED, EMPTY):
        assert items[image_id]["keypoints"].shape == (0, K, 2)
        assert items[image_id]["visible"].shape == (0, K)
        assert items[image_id]["bbox"].shape == (0, 4)


def test_a_region_without_outline_is_its_box(build):
    data = labels()
    for segmentation in ([], None, [[1, 2, 3]]):
        data["annotations"][4]["segmentation"] = segmentation
        region = build(data, test_mode=True).get_data_info(2)["mask_regions"]
        assert region == [[[8, 6, 38, 6, 38, 26, 8, 26]]]


def test_metainfo_has_the_skeleton(build, five_keypoints):
    dataset = build(metainfo={"author": "me"})
    assert isinstance(dataset.metainfo["keypoints"], KeypointMeta)
    assert dataset.metainfo["keypoints"].names == tuple(five_keypoints["names"])
    assert dataset.metainfo["dataset_name"] == "five"
    assert dataset.metainfo["author"] == "me"


def test_the_registry_builds_it_with_any_default_scope(build, folder, five_keypoints):
    build()
    config = {"type": "CocoPoseDataset", "data_root": str(folder), "ann_file": "labels.json"}
    init_default_scope("ehrpose")
    dataset = DATASETS.build({**config, "keypoints": five_keypoints, "pipeline": LOAD})
    assert dataset[1]["img"][0, 0].tolist() == [CROWD] * 3


def test_it_survives_being_copied_and_pickled(build):
    dataset = build(pipeline=LOAD)
    assert pickle.loads(pickle.dumps(dataset))[0]["img_id"] == PEOPLE
    assert ids(dataset.get_subset([1])) == [CROWD]
    assert ids(copy.deepcopy(dataset)) == [PEOPLE, CROWD]


@pytest.mark.parametrize("prefix", ["train2017/", "train2017"])
def test_the_layout_with_images_is_found(build, folder, warnings, prefix):
    (folder / "images").mkdir()
    shutil.move(folder / "train2017", folder / "images" / "train2017")
    dataset = build(pipeline=LOAD, data_prefix={"img": prefix})
    assert dataset[0]["img"].shape == (HEIGHT, WIDTH, 3)
    assert [dataset[0]["img_id"], len(warnings)] == [PEOPLE, 1]
    assert "images" in warnings[0]


def test_unknown_settings_are_refused(build):
    with pytest.raises(ValueError, match="ignore"):
        build(on_bad_image="ignore")
    with pytest.raises(ValueError, match="data_prefix"):
        build(data_prefix={"img_path": "train2017/"})


def test_two_hundred_people_in_one_photo(build, five_keypoints):
    data = labels()
    data["annotations"] = [annotation(i, PEOPLE) for i in range(200)]
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": five_keypoints, "max_people": 30}
    pipeline = (*LOAD, {"type": "BottomUpAffine", "codec": codec, "prob": 0}, {"type": "EncodeTargets", "codec": codec},
                {"type": "PackPose"})  # fmt: skip
    sample = build(data, pipeline=pipeline)[0]["data_samples"]
    assert len(sample.gt_instances) == 200
    assert sample.gt_targets["tag_index4"].shape == (30, K)
    assert (sample.gt_targets["tag_index4"] >= 0).any(dim=1).all()


def test_real_labels(coco_mini, coco_keypoints):
    dataset = CocoPoseDataset(
        "annotations/person_keypoints_val2017.json", coco_keypoints, str(coco_mini),
        {"img": "val2017/"}, LOAD, test_mode=True,
    )  # fmt: skip
    items = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert len(items) == 391
    assert sum(len(item["keypoints"]) for item in items) == 1044
    assert sum(int((item["visible"] > 0).sum()) for item in items) == 11064
    first = dataset[0]
    assert first["img"].shape == (first["height"], first["width"], 3)

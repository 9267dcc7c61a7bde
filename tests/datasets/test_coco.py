from __future__ import annotations

import copy
import json
import pickle
import shutil

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from ehrpose.datasets import coco
from ehrpose.datasets.coco import CocoPoseDataset
from ehrpose.datasets.keypoint_meta import KeypointMeta
from ehrpose.image_io import ImageReadError
from ehrpose.registry import DATASETS

K = 5
WIDTH, HEIGHT = 60, 40
PEOPLE, CROWD, UNLABELLED, EMPTY = 11, 12, 13, 14  # image ids

POLYGON = [1, 1, 20, 1, 20, 20]
RLE = {"size": [HEIGHT, WIDTH], "counts": [100, 50, WIDTH * HEIGHT - 150]}


def annotation(id_: int, image_id: int, visible=(2,) * K, **more) -> dict:
    keypoints = []
    for k, v in enumerate(visible):
        keypoints += [10 + 5 * k, 8 + 3 * k, v] if v else [0, 0, 0]
    return {
        "id": id_,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [8, 6, 30, 20],
        "area": 300.5,
        "segmentation": [POLYGON],
        "num_keypoints": sum(v > 0 for v in visible),
        "keypoints": keypoints,
        **more,
    }


def labels() -> dict:
    return {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT}
            for i in (PEOPLE, CROWD, UNLABELLED, EMPTY)
        ],
        "annotations": [
            annotation(1, PEOPLE),
            annotation(2, PEOPLE, (0, 1, 0, 2, 0)),
            annotation(3, CROWD),
            {"id": 4, "image_id": CROWD, "category_id": 1, "iscrowd": 1, "bbox": [0, 0, 9, 9], "area": 50,
             "segmentation": RLE},
            annotation(5, UNLABELLED, (0,) * K),
        ],
        "categories": [{"id": 1, "name": "person"}],
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A data set of four photos in COCO's layout."""
    (tmp_path / "train2017").mkdir()
    for image in labels()["images"]:
        picture = np.full((HEIGHT, WIDTH, 3), image["id"], np.uint8)
        cv2.imwrite(str(tmp_path / "train2017" / image["file_name"]), picture)
    return tmp_path


@pytest.fixture
def build(folder, five_keypoints):
    """Build the data set from the folder, with labels that the test may have changed."""

    def build(changed=None, text=None, **settings):
        (folder / "labels.json").write_text(json.dumps(changed or labels()) if text is None else text)
        settings = {
            "data_root": str(folder),
            "ann_file": "labels.json",
            "keypoints": five_keypoints,
            **settings,
        }
        return CocoPoseDataset(**settings)

    return build


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    """The messages that the data set logs."""
    messages: list[str] = []
    monkeypatch.setattr(coco, "print_log", lambda message, **_: messages.append(message))
    return messages


def ids(dataset) -> list[int]:
    return [dataset.get_data_info(i)["img_id"] for i in range(len(dataset))]


LOAD = ({"type": "LoadImage"},)


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


def test_a_missing_folder_names_both_places(build, folder):
    shutil.rmtree(folder / "train2017")
    with pytest.raises(FileNotFoundError, match=r"neither .*train2017.* nor .*images.train2017"):
        build(pipeline=LOAD)
    assert len(build()) == 2  # labels alone need no photos


def without(key: str, *path) -> dict:
    data = labels()
    node = data
    for step in path:
        node = node[step]
    del node[key]
    return data


def with_value(value, *path) -> dict:
    data = labels()
    node = data
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return data


def with_category(**fields) -> dict:
    return with_value([{"id": 1, "name": "person", **fields}], "categories")


def without_any_keypoints() -> dict:
    data = labels()
    for ann in data["annotations"]:
        ann.pop("keypoints", None)
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({**labels(), "images": [], "annotations": []}, "no photo .* among 0"),
        (without("images"), "a list 'images'"),
        (without("annotations"), "a list 'annotations'"),
        (with_value({}, "images"), "a list 'images'"),
        (without("file_name", "images", 1), "image 12 has no 'file_name'"),
        (without("id", "images", 1), "image number 1 has no 'id'"),
        (without("width", "images", 0), "image 11 has no 'width'"),
        (with_value(0, "images", 0, "height"), "image 11: wanted width and height"),
        (with_value("60", "images", 0, "width"), "image 11: wanted width and height"),
        (with_value(PEOPLE, "images", 1, "id"), "image id 11 is used twice"),
        (without("keypoints", "annotations", 0), "annotation 1 has no 'keypoints'$"),
        (without_any_keypoints(), "annotation 1 has no 'keypoints'; no annotation has"),
        (without("bbox", "annotations", 2), "annotation 3 has no 'bbox'"),
        (without("area", "annotations", 2), "annotation 3 has no 'area'"),
        (without("image_id", "annotations", 2), "annotation 3 has no 'image_id'"),
        (without("id", "annotations", 2), "annotation None has no 'id'"),
        (with_value(99, "annotations", 2, "image_id"), "annotation 3 belongs to image 99"),
        (with_value([1, 2, 2] * 4, "annotations", 1, "keypoints"), r"annotation 2 has 12 numbers.* 3 \* 5 = 15"),
        (with_value([1, 2, 2] * 17, "annotations", 1, "keypoints"), r"annotation 2 has 51 numbers.*'five'"),
        (with_value([1, 2, 3] * K, "annotations", 1, "keypoints"), "annotation 2: visibility of nose is 3"),
        (with_value([1, "x", 2] * K, "annotations", 1, "keypoints"), "annotation 2: 'keypoints' is not all numbers"),
        (with_value([1, None, 2] * K, "annotations", 1, "keypoints"), "annotation 2: .*(NaN|numbers)"),
        (with_value([1, float("nan"), 2] * K, "annotations", 1, "keypoints"), "annotation 2: NaN"),
        (with_value([1, 2, 3], "annotations", 1, "bbox"), "annotation 2 has the 'bbox'"),
        (with_value(None, "annotations", 1, "area"), "annotation 2: .*'area'"),
        (with_value({"size": [WIDTH, HEIGHT], "counts": [1]}, "annotations", 3, "segmentation"), "annotation 4.*RLE"),
        (with_category(keypoints=["nose"] * 17), "no category has the 5 keypoints"),
        (with_category(keypoints=["left_wrist", "nose", "right_wrist", "left_ankle", "right_ankle"]), "in the order"),
        ({**labels(), "annotations": []}, "no photo with a person of at least 1 .* among 4"),
    ],
)  # fmt: skip
def test_bad_labels_are_refused_with_the_file_and_the_place(build, data, message):
    with pytest.raises(ValueError, match=rf"labels\.json.*{message}"):
        build(data)


@pytest.mark.parametrize("text", ["", "{", '{"images": [', "\x00\x01", "[]", "3"])
def test_what_is_no_json_object_is_refused(build, text):
    with pytest.raises(ValueError, match=r"labels\.json.*json"):
        build(text=text)


def test_a_missing_file_is_named(folder, five_keypoints):
    with pytest.raises(FileNotFoundError, match=r"gone\.json"):
        CocoPoseDataset("gone.json", five_keypoints, str(folder))


def test_categories_without_keypoints_are_left_out(build, five_keypoints):
    data = labels()
    data["categories"] = [
        {"id": 1, "name": "person", "keypoints": five_keypoints["names"]},
        {"id": 2, "name": "dog"},
    ]
    data["annotations"].append(
        {"id": 9, "image_id": PEOPLE, "category_id": 2, "bbox": [0, 0, 1, 1], "area": 1}
    )
    assert [ann["id"] for ann in build(data).get_data_info(0)["raw_anns"]] == [1, 2]


def test_test_mode_takes_files_without_annotations(build):
    assert len(build(without("annotations"), test_mode=True)) == 4


def test_keypoints_outside_the_photo_are_counted_and_not_labelled(build, warnings):
    data = labels()
    data["annotations"][0]["keypoints"][:6] = [-1, 5, 2, WIDTH + 1, 5, 1]
    data["annotations"][2]["keypoints"][0] = WIDTH  # the far edge still counts as inside
    data["annotations"][1]["keypoints"] = [5, HEIGHT + 7, 2] + [0, 0, 0] * 4  # nothing of this one is left
    item = build(data).get_data_info(0)
    np.testing.assert_array_equal(item["visible"], [[0, 0, 2, 2, 2]])
    assert item["mask_regions"] == [[POLYGON]]
    assert len(warnings) == 1
    assert "3 labelled keypoint(s) lie outside" in warnings[0]
    assert "annotation 1 has nose at [-1.0, 5.0]" in warnings[0]


def test_raising_names_the_photo(build, folder):
    dataset = build(pipeline=LOAD)
    (folder / "train2017" / "12.png").write_bytes(b"not a photo")
    assert dataset[0]["img_id"] == PEOPLE
    with pytest.raises(ImageReadError, match=r"12\.png"):
        dataset[1]
    (folder / "train2017" / "12.png").unlink()
    with pytest.raises(ImageReadError, match=r"12\.png.*no such file"):
        dataset[1]
    assert dataset.bad_images == {}


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "other size"])
def test_skipping_in_training_takes_another_photo(build, folder, warnings, damage):
    path = folder / "train2017" / "12.png"
    content = path.read_bytes()
    {
        "missing": path.unlink,
        "empty": lambda: path.write_bytes(b""),
        "truncated": lambda: path.write_bytes(content[: len(content) // 2]),
        "other size": lambda: cv2.imwrite(str(path), np.zeros((9, 9, 3), np.uint8)),
    }[damage]()
    dataset = build(pipeline=LOAD, on_bad_image="skip")
    for _ in range(5):
        assert dataset[1]["img_id"] == PEOPLE
    assert list(dataset.bad_images) == [str(path)]
    assert len(warnings) == 1, "a photo is reported once"
    assert "skipped photo 1" in warnings[0]
    assert "12.png" in warnings[0]


def test_skipping_gives_up_when_no_photo_is_usable(build, folder, warnings):
    for path in (folder / "train2017").iterdir():
        path.write_bytes(b"")
    dataset = build(pipeline=LOAD, on_bad_image="skip", max_refetch=20)
    with pytest.raises(ValueError, match=r"21 tries, 2 bad ones.*empty"):
        dataset[0]
    assert [message.split(" that")[0] for message in warnings] == ["skipped photo 1", "skipped photo 2"]


def test_skipping_in_test_puts_a_grey_photo_and_goes_on(build, folder, five_keypoints, warnings):
    (folder / "train2017" / "12.png").write_bytes(b"")
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": five_keypoints}
    pipeline = (*LOAD, {"type": "BottomUpResize", "codec": codec}, {"type": "PackPose"})
    dataset = build(pipeline=pipeline, on_bad_image="skip", test_mode=True)
    items = [dataset[i] for i in (0, 1, 2, 3, 1)]
    assert [item["data_samples"].img_id for item in items] == [PEOPLE, CROWD, UNLABELLED, EMPTY, CROWD]
    for item in (items[1], items[4]):
        sample = item["data_samples"]
        assert "12.png" in sample.bad_image
        assert "img_path" not in sample
        assert sample.ori_shape == (HEIGHT, WIDTH)
        assert [ann["id"] for ann in sample.raw_anns] == [3, 4]
        assert item["inputs"].unique().tolist()[-1] == 128
    assert "bad_image" not in items[0]["data_samples"]
    assert len(dataset.bad_images) == len(warnings) == 1


def test_bad_photos_met_by_workers_are_counted(build, folder, five_keypoints):
    (folder / "train2017" / "12.png").write_bytes(b"")
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": five_keypoints}
    pipeline = (*LOAD, {"type": "BottomUpResize", "codec": codec}, {"type": "PackPose"})
    dataset = build(pipeline=pipeline, on_bad_image="skip", test_mode=True)
    list(DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=list))
    assert dataset.num_bad_images == 1


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

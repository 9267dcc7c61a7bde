"""Converters return the drawn scenes that a labelling tool's file describes."""

from __future__ import annotations

import errno
import importlib.util
import json
import shutil
import zipfile

import cv2
import numpy as np
import pytest
from labelling_tools import LIMBS, NAMES, coco_export, draw_scenes, people_of, write_cvat_xml, write_labelme
from mmengine.config import Config

from ehrpose.datasets.coco import CocoPoseDataset
from ehrpose.files import WriteError


@pytest.fixture(scope="module")
def tool(root):
    def load(name):
        path = root / f"tools/dataset_converters/{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    return load


@pytest.fixture
def skeleton_file(tmp_path, five_keypoints):
    path = tmp_path / "five.py"
    path.write_text(f"keypoints = {five_keypoints!r}\n")
    return path


@pytest.fixture
def labelme(tmp_path, five_keypoints):
    """Folder of photos with labelme's files next to them, and the scenes."""
    items = draw_scenes(five_keypoints, tmp_path / "labels")
    write_labelme(items, tmp_path / "labels")
    return tmp_path / "labels", items


@pytest.fixture
def cvat(tmp_path, five_keypoints):
    """A "CVAT for images" export as a folder, and the scenes."""
    items = draw_scenes(five_keypoints, tmp_path / "cvat/images")
    write_cvat_xml(items, tmp_path / "cvat")
    return tmp_path / "cvat", items


@pytest.fixture
def coco(tmp_path, five_keypoints):
    """A COCO-keypoints export as a folder, and the scenes."""
    items = draw_scenes(five_keypoints, tmp_path / "coco/images/default")
    (tmp_path / "coco/annotations").mkdir()
    path = tmp_path / "coco/annotations/person_keypoints_default.json"
    path.write_text(json.dumps(coco_export(items)))
    return tmp_path / "coco", items


def read_back(out, keypoints, split="train"):
    """Return the items of the new folder by file name, as training reads them."""
    dataset = CocoPoseDataset(
        ann_file=f"annotations/person_keypoints_{split}2017.json",
        keypoints=keypoints,
        data_root=str(out),
        data_prefix={"img": f"{split}2017/"},
        test_mode=True,
    )
    items = [dataset.get_data_info(i) for i in range(len(dataset))]
    return {item["img_path"].rsplit("/", 1)[-1]: item for item in items}


def check_same(out, items, keypoints, with_areas=False):
    found = {**read_back(out, keypoints), **read_back(out, keypoints, "val")}
    assert sorted(found) == [f"scene{i}.png" for i in range(len(items))]
    for i, item in enumerate(items):
        read = found[f"scene{i}.png"]
        wanted = np.array([ann["keypoints"] for ann in people_of(item)]).reshape(-1, 5, 3)
        np.testing.assert_array_equal(read["visible"], wanted[..., 2])
        np.testing.assert_allclose(read["keypoints"], wanted[..., :2], atol=0.006)
        boxes = np.array([ann["bbox"] for ann in people_of(item)]).reshape(-1, 4)
        areas = [ann["area"] for ann in people_of(item)]
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_allclose(read["bbox"], boxes, atol=0.02)
        areas = areas if with_areas else 0.53 * np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        np.testing.assert_allclose(read["area"], areas, rtol=0.01)
        assert cv2.imread(read["img_path"]).shape[:2] == (item["height"], item["width"])


def test_labelme(tool, labelme, skeleton_file, five_keypoints, tmp_path):
    folder, items = labelme
    words = [str(folder), "--keypoints", str(skeleton_file), "--out", str(tmp_path / "out")]
    tool("labelme_to_coco")([*words, "--val-fraction", "0.3"])
    check_same(tmp_path / "out", items, five_keypoints)
    assert len(read_back(tmp_path / "out", five_keypoints, "val")) == 2


@pytest.mark.parametrize("form", ["folder", "zip", "file"])
def test_cvat_xml(tool, cvat, five_keypoints, tmp_path, form):
    export, items = cvat
    source = {
        "folder": export,
        "zip": tmp_path / "export.zip",
        "file": export / "annotations.xml",
    }[form]
    if form == "zip":
        shutil.make_archive(str(tmp_path / "export"), "zip", export)
        shutil.rmtree(export)
    tool("cvat_to_coco")([str(source), "--out", str(tmp_path / "out")])
    check_same(tmp_path / "out", items, five_keypoints)


@pytest.mark.parametrize("form", ["folder", "zip", "file"])
def test_coco_json_in_another_order(tool, coco, skeleton_file, five_keypoints, tmp_path, form):
    export, items = coco
    source = {
        "folder": export,
        "zip": tmp_path / "export.zip",
        "file": export / "annotations/person_keypoints_default.json",
    }[form]
    if form == "zip":
        shutil.make_archive(str(tmp_path / "export"), "zip", export)
        shutil.rmtree(export)
    words = [str(source), "--keypoints", str(skeleton_file), "--out", str(tmp_path / "out")]
    tool("cvat_to_coco")(words)
    check_same(tmp_path / "out", items, five_keypoints, with_areas=True)


@pytest.mark.parametrize("tool_name", ["cvat", "coco"])
def test_the_exports_own_skeleton_is_written_as_a_config(
    tool, request, five_keypoints, tmp_path, tool_name, capsys
):
    export, items = request.getfixturevalue(tool_name)
    tool("cvat_to_coco")([str(export), "--out", str(tmp_path / "out")])
    keypoints = Config.fromfile(str(tmp_path / "out/keypoints.py")).keypoints
    assert sorted(keypoints.names) == sorted(NAMES)
    assert {frozenset(pair) for pair in keypoints.swap} == {
        frozenset(pair) for pair in five_keypoints["swap"]
    }
    assert {frozenset(limb) for limb in keypoints.skeleton} == {
        frozenset((NAMES[i - 1], NAMES[j - 1])) for i, j in LIMBS
    }
    assert dict(zip(keypoints.names, keypoints.sigmas)) == dict(zip(NAMES, five_keypoints["sigmas"]))
    assert "keypoints.py" in capsys.readouterr().out
    if tool_name == "cvat":
        check_same(tmp_path / "out", items, keypoints.to_dict())


def test_photos_may_lie_elsewhere_or_be_linked(tool, coco, five_keypoints, tmp_path):
    export, _items = coco
    (export / "images").rename(tmp_path / "photos")
    source = str(export / "annotations/person_keypoints_default.json")
    with pytest.raises(FileNotFoundError, match=r"photo 'scene0.png' not found .*`folders`"):
        tool("cvat_to_coco")([source, "--out", str(tmp_path / "out")])
    tool("cvat_to_coco")(
        [source, "--out", str(tmp_path / "out"), "--photos", str(tmp_path / "photos"), "--symlink"]
    )
    links = list((tmp_path / "out/train2017").iterdir())
    assert links
    assert all(link.is_symlink() for link in links)
    keypoints = Config.fromfile(str(tmp_path / "out/keypoints.py")).keypoints.to_dict()
    assert len(read_back(tmp_path / "out", keypoints)) == 5


def test_the_split_depends_on_names_and_seed_alone(tool, labelme, skeleton_file, five_keypoints, tmp_path):
    folder, _ = labelme
    words = [str(folder), "--keypoints", str(skeleton_file), "--val-fraction", "0.5"]
    chosen = []
    for run, seed in enumerate((1, 1, 2, 3, 4)):
        out = tmp_path / f"out{run}"
        tool("labelme_to_coco")([*words, "--seed", str(seed), "--out", str(out)])
        chosen.append(tuple(sorted(read_back(out, five_keypoints, "val"))))
        assert not set(chosen[-1]) & set(read_back(out, five_keypoints))
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) > 1


def test_nothing_is_left_behind_where_a_photo_is_broken(
    tool, labelme, skeleton_file, five_keypoints, tmp_path, capsys
):
    folder, _ = labelme
    (folder / "scene2.png").write_bytes(b"no photo")
    words = [str(folder), "--keypoints", str(skeleton_file), "--out", str(tmp_path / "out")]
    with pytest.raises(ValueError, match=r"scene2\.png"):
        tool("labelme_to_coco")(words)
    assert not list(tmp_path.glob("*out*"))
    tool("labelme_to_coco")([*words, "--skip-bad", "--val-fraction", "0"])
    assert "left out: scene2.png" in capsys.readouterr().out
    assert sorted(read_back(tmp_path / "out", five_keypoints)) == [f"scene{i}.png" for i in (0, 1, 3, 4, 5)]
    assert not (tmp_path / "out/train2017/scene2.png").exists()


def test_a_full_disk_is_named_and_nothing_is_left_behind(tool, labelme, skeleton_file, tmp_path, monkeypatch):
    def fill_up(source, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(source), None, str(target))

    folder, _ = labelme
    monkeypatch.setattr(shutil, "copyfile", fill_up)
    with pytest.raises(
        WriteError, match=r"out could not be written: No space left on device \(\d+ MB free\)"
    ):
        tool("labelme_to_coco")(
            [str(folder), "--keypoints", str(skeleton_file), "--out", str(tmp_path / "out")]
        )
    assert not list(tmp_path.glob("*out*"))


def test_a_zip_cannot_be_linked_to(tool, coco, tmp_path):
    export, _ = coco
    shutil.make_archive(str(tmp_path / "export"), "zip", export)
    with pytest.raises(ValueError, match="--symlink would link into the temporary folder of the zip"):
        tool("cvat_to_coco")([str(tmp_path / "export.zip"), "--out", str(tmp_path / "out"), "--symlink"])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no person_keypoints"),
        ({"a.json": "{}", "b.json": "{}"}, r"several annotation files \(a\.json, b\.json\)"),
        ({"a.json": "{"}, "is not valid JSON"),
        ({"a.json": "{}"}, "expected COCO format with the lists images, annotations, categories"),
        (
            {"a.json": '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "x"}]}'},
            "no category has keypoints",
        ),
        ({"annotations.xml": "<annotations>"}, "is not valid XML"),
        (
            {"annotations.xml": "<annotations><track/></annotations>"},
            "This is a video export: export it as 'CVAT for images",
        ),
        ({"annotations.xml": "<annotations><image name='a'/></annotations>"}, "no skeletons found"),
    ],
)
def test_what_is_not_an_export_is_named(tool, tmp_path, files, message):
    (tmp_path / "in").mkdir()
    for name, text in files.items():
        (tmp_path / "in" / name).write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        tool("cvat_to_coco")([str(tmp_path / "in"), "--out", str(tmp_path / "out")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d["annotations"][0]["keypoints"].pop(),
            r"annotation \d+ has 14 numbers in 'keypoints', expected 3 \* 5",
        ),
        (
            lambda d: d["annotations"][0]["keypoints"].__setitem__(2, 7),
            r"annotation \d+: visibility of right_ankle is 7, expected 0",
        ),
        (
            lambda d: d["annotations"][0].update(bbox=[1, 2]),
            r"expected 'bbox' as four numbers x, y, width, height",
        ),
        (
            lambda d: d["images"][0].update(file_name="../scene0.png"),
            "expected a photo's name below the folder",
        ),
        (
            lambda d: d["images"][0].update(width=121),
            r"labelled on a photo of 121 x 96 px, but .* has 120 x 96",
        ),
        (
            lambda d: d["categories"][1]["keypoints"].__setitem__(0, "tail"),
            "`rename` tail=NAME or `ignore` tail",
        ),
    ],
)
def test_broken_annotations_are_named(tool, coco, skeleton_file, tmp_path, change, message):
    export, items = coco
    content = coco_export(items)
    change(content)
    path = export / "annotations/person_keypoints_default.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        tool("cvat_to_coco")([str(path), "--keypoints", str(skeleton_file), "--out", str(tmp_path / "out")])
    assert not list(tmp_path.glob("*out*"))


def test_labels_are_renamed_or_left_out(tool, coco, skeleton_file, five_keypoints, tmp_path):
    export, items = coco
    content = coco_export(items)
    content["categories"][1]["keypoints"][0] = "foot"  # the right ankle
    content["categories"][1]["keypoints"][4] = "snout"
    path = export / "annotations/person_keypoints_default.json"
    path.write_text(json.dumps(content))
    words = [
        str(path),
        "--keypoints",
        str(skeleton_file),
        "--out",
        str(tmp_path / "out"),
        "--val-fraction",
        "0",
    ]
    tool("cvat_to_coco")([*words, "--rename", "snout=nose", "--ignore", "foot"])
    for i, item in enumerate(items):
        read = read_back(tmp_path / "out", five_keypoints)[f"scene{i}.png"]["raw_anns"]
        for ann, wanted in zip(read, people_of(item)):
            assert ann["keypoints"][:3] == pytest.approx(wanted["keypoints"][:3], abs=0.006)
            assert ann["keypoints"][-3:] == [0, 0, 0]


def test_zip_bombs_of_paths_stay_inside(tool, tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../evil.json", "{}")
    with pytest.raises(ValueError, match="leads out of the folder"):
        tool("cvat_to_coco")([str(tmp_path / "evil.zip"), "--out", str(tmp_path / "out")])
    assert not (tmp_path.parent / "evil.json").exists()

"""Folders of classes, ImageNet's layout, and photos without labels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ehrpose.datasets.classification import ImageFolder, ImageNet, UnlabelledPhotos
from ehrpose.image_io import ImageReadError

LOAD = [{"type": "LoadImage"}, {"type": "CenterSquare", "size": 8}, {"type": "PackLabel"}]


def write(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".png", np.full((6, 9, 3), value, np.uint8))[1]
    path.write_bytes(encoded.tobytes())


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(["train/b/1.png", "train/b/deep/2.PNG", "train/a/3.png", "val/b/4.png"]):
        write(tmp_path / name, number)
    (tmp_path / "train/a/notes.txt").write_text("not a photo")
    return tmp_path


def labels(dataset):
    return [dataset.get_data_info(i)["gt_label"] for i in range(len(dataset))]


def test_folders_are_classes(folder):
    dataset = ImageFolder(folder, pipeline=LOAD)
    assert dataset.metainfo["classes"] == ("a", "b")
    assert labels(dataset) == [0, 1, 1]
    sample = dataset[2]["data_samples"]
    assert (sample.gt_label, sample.img_id) == (1, 3)
    assert sample.img_path.endswith("2.PNG")
    assert dataset[2]["inputs"].shape == (3, 8, 8)


def test_a_test_set_takes_the_classes_of_the_training_set(folder):
    assert labels(ImageFolder(folder, "val")) == [0]
    assert labels(ImageFolder(folder, "val", classes="train")) == [1]
    assert labels(ImageFolder(folder, "val", classes=["x", "y", "b"])) == [2]
    (folder / "names.txt").write_text("b\na\n")
    assert labels(ImageFolder(folder, "train", classes="names.txt")) == [1, 0, 0]
    with pytest.raises(ValueError, match=r"1 folder of no class, e.g. b: expected only names among 1 class"):
        ImageFolder(folder, "val", classes=["a"])


def test_a_list_chooses_the_photos(folder):
    (folder / "list.txt").write_text("train/b/1.png\ntrain/a/3.png a\nval/b/4.png 1\n")
    dataset = ImageFolder(folder, list_file="list.txt")
    assert labels(dataset) == [1, 0, 1]
    for line in ("train/c/9.png", "train/b/1.png c", "train/b/1.png 2"):
        (folder / "list.txt").write_text(line)
        with pytest.raises(ValueError, match=r"list\.txt: .*a number below 2"):
            ImageFolder(folder, list_file="list.txt")
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        ImageFolder(folder, list_file="none.txt")
    (folder / "list.txt").write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        ImageFolder(folder, list_file="list.txt")


def test_folders_that_are_not_there(folder):
    with pytest.raises(FileNotFoundError, match=r"folder of classes not found: .*test"):
        ImageFolder(folder, "test")
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="one folder per class, got none"):
        ImageFolder(folder, "empty")
    (folder / "empty/a").mkdir()
    with pytest.raises(ValueError, match=r"no photos in .*empty"):
        ImageFolder(folder, "empty")


def test_unusable_photos_raise_or_are_counted(folder):
    (folder / "train/a/3.png").write_bytes(b"no photo")
    with pytest.raises(ImageReadError, match=r"3\.png"):
        ImageFolder(folder, pipeline=LOAD)[0]
    skipping = ImageFolder(folder, pipeline=LOAD, on_bad_image="skip")
    assert skipping[0]["data_samples"].gt_label == 1
    assert skipping.num_bad_images == 1
    tested = ImageFolder(folder, pipeline=LOAD, on_bad_image="skip", test_mode=True)[0]
    assert "3.png" in tested["data_samples"].bad_image
    assert tested["inputs"].unique().tolist() == [128]
    with pytest.raises(ValueError, match="on_bad_image must be"):
        ImageFolder(folder, on_bad_image="ignore")


@pytest.fixture(params=["", "ILSVRC/Data/CLS-LOC"], ids=["plain", "archive"])
def imagenet(tmp_path, request):
    root = tmp_path / request.param
    for name in ("train/n02/x.JPEG", "train/n01/y.JPEG", "train/n01/z.JPEG"):
        write(root / name)
    for number in (1, 2):
        write(root / f"val/ILSVRC2012_val_{number:08d}.JPEG")
    return tmp_path, root


def test_imagenets_layouts(imagenet):
    root, photos = imagenet
    train = ImageNet(root)
    assert labels(train) == [0, 0, 1]
    assert train.metainfo["classes"] == ("n01", "n02")
    with pytest.raises(FileNotFoundError, match=r"LOC_val_solution\.csv does not exist"):
        ImageNet(root, "val")
    (root / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nILSVRC2012_val_00000002,n02 1 2 3 4 n02 5 6 7 8\n"
        "ILSVRC2012_val_00000001,n01 1 2 3 4\n"
    )
    (root / "LOC_synset_mapping.txt").write_text("n01 tench, Tinca tinca\nn02 goldfish\n")
    val = ImageNet(root, "val", pipeline=LOAD, test_mode=True)
    assert labels(val) == [1, 0]
    assert val.metainfo["classes"] == ("tench, Tinca tinca", "goldfish")
    assert val[0]["data_samples"].img_path.endswith("val_00000002.JPEG")
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\nx,n09 1 2\n")
    with pytest.raises(ValueError, match="expected ImageId and PredictionString with a class"):
        ImageNet(root, "val")
    for path in sorted((photos / "val").iterdir()):
        path.unlink()
    write(photos / "val/n02/a.JPEG")
    assert labels(ImageNet(root, "val")) == [1]


def test_imagenets_mistakes(tmp_path):
    with pytest.raises(FileNotFoundError, match="ImageNet not found: neither"):
        ImageNet(tmp_path)
    with pytest.raises(ValueError, match="'train' or 'val', got 'test'"):
        ImageNet(tmp_path, "test")


def test_photos_without_labels(folder):
    photos = UnlabelledPhotos(folder, pipeline=LOAD)
    assert len(photos) == 4
    assert set(labels(photos)) == {0}
    with pytest.raises(FileNotFoundError, match="photo folder not found"):
        UnlabelledPhotos(folder, "none")
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="no photos"):
        UnlabelledPhotos(folder, "empty")

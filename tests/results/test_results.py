"""Results as objects, and in every format that they are written in."""

from __future__ import annotations

import csv
import json
import os
import pickle
import tracemalloc

import cv2
import numpy as np
import pytest
import yaml

import ehrpose
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.inferencers.options import PREDICTION_FORMATS
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.results.gallery import Gallery
from ehrpose.results.openpose import BODY_25
from ehrpose.results.results import COLUMNS, Results
from ehrpose.results.writers import JSON, WRITERS
from ehrpose.structures import People

SIZE_WH = (200, 100)
# Formats that take photos.
KINDS = sorted(set(WRITERS) - {"trc"})


@pytest.fixture
def meta(coco_keypoints):
    return KeypointMeta.build(coco_keypoints)


def people(count=2, seed=0):
    rng = np.random.default_rng(seed)
    keypoints = (rng.random((count, 17, 2)) * SIZE_WH).astype(np.float32)
    scores = rng.uniform(0.1, 0.9, (count, 17)).astype(np.float32)
    scores[:, 3] = 0
    filled = np.zeros((count, 17), bool)
    filled[:, 5] = True
    return People(keypoints, scores, np.linspace(0.9, 0.5, count).astype(np.float32), None, filled)


@pytest.fixture
def results(meta):
    return Results(people(), meta, SIZE_WH, "photos/000000000139.jpg", 4, None, np.array([7, -1]))


class Finder:
    """Finds as many people as the photo's first pixel says."""

    name = "finder"

    def __init__(self, meta):
        self.meta = meta

    def predict(self, images):
        return [people(int(image[0, 0, 0])) for image in images]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(("000000000139", "a&b", "c")):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((SIZE_WH[1], SIZE_WH[0], 3), number, np.uint8))
    return folder


def test_people_by_name(results):
    first, second = results
    assert len(results) == 2
    assert len(first.keypoints) == 16
    assert "left_ear" not in first.keypoints
    x, y, score = first.keypoints["nose"]
    assert (x, y) == tuple(results.keypoints[0, 0])
    assert score == results.keypoint_scores[0, 0]
    assert (first.id, second.id) == (7, -1)
    assert first.score == pytest.approx(0.9)
    assert repr(results) == "Results(photos/000000000139.jpg: 2 people, 200 x 100 px)"
    assert ehrpose.Results is Results


def test_pickling_is_cheap_and_complete(results):
    content = pickle.dumps(results)
    assert len(content) < 8000
    again = pickle.loads(content)
    assert again.to_dict() == results.to_dict()
    assert again.image is None


def test_rows_and_frames(results):
    rows = results.to_rows()
    assert len(rows) == 32
    assert tuple(rows[0]) == COLUMNS
    assert {row["keypoint"] for row in rows if row["filled"]} == {"left_shoulder"}
    pandas = pytest.importorskip("pandas")
    frame = results.to_df()
    assert isinstance(frame, pandas.DataFrame)
    assert frame[frame.person == 1].x.tolist() == [row["x"] for row in rows[16:]]
    empty = Results(People.empty(17), results.meta, SIZE_WH).to_df()
    assert list(empty.columns) == list(COLUMNS)
    assert len(empty) == 0


def test_a_missing_data_frame_package_is_named(results, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        results.to_df()


def test_coco_results(results):
    first = results.to_coco()[0]
    assert (first["image_id"], first["category_id"]) == (139, 1)
    assert len(first["keypoints"]) == 51
    assert first["keypoints"][9:12] == [0, 0, 0]
    x, y, w, h = first["bbox"]
    x0, y0, x1, y1 = results.boxes[0]
    np.testing.assert_allclose([x, y, x + w, y + h], [x0, y0, x1, y1], atol=0.02)
    assert results.to_coco(image_id=3, category_id=9)[0]["image_id"] == 3


def test_openpose_has_neck_and_middle_of_the_hips(results):
    content = results.to_openpose()
    points = np.array(content["people"][0]["pose_keypoints_2d"]).reshape(25, 3)
    index = {name: k for k, name in enumerate(results.names)}
    shoulders = results.keypoints[0, [index["left_shoulder"], index["right_shoulder"]]]
    np.testing.assert_allclose(points[1, :2], shoulders.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(points[0, :2], results.keypoints[0, 0], atol=1e-3)
    assert (points[19:] == 0).all()
    assert (points[18] == 0).all()  # the left ear, which was not found
    assert len(BODY_25) == 25
    assert content["people"][1]["person_id"] == [-1]


def test_other_skeletons_keep_their_order_in_openpose():
    meta = KeypointMeta.build(
        {"dataset_name": "toy", "names": ["a", "b"], "sigmas": [0.1, 0.1], "swap": [], "skeleton": []}
    )
    one = People(
        np.array([[[1, 2], [3, 4]]], np.float32), np.array([[0.5, 0]], np.float32), np.ones(1, np.float32)
    )
    content = Results(one, meta, SIZE_WH).to_openpose()
    assert content["people"][0]["pose_keypoints_2d"] == [1, 2, 0.5, 0, 0, 0]


def test_drawing_needs_a_photo(results, tmp_path):
    image = np.zeros((100, 200, 3), np.uint8)
    drawn = results.plot(image)
    assert drawn.shape == image.shape
    assert drawn.any()
    np.testing.assert_array_equal(results.with_image(image).plot(), drawn)
    assert results.save(tmp_path / "a.png", image).is_file()
    assert json.loads(results.save(tmp_path / "a.json").read_text())["people"]
    moving = Results(results.people, results.meta, SIZE_WH, "clip.mp4", 3, 0.1)
    with pytest.raises(ValueError, match="has no photo to draw on"):
        moving.plot()


def test_the_inferencer_returns_them(photos, meta):
    inferencer = PoseInferencer(Finder(meta))
    found = [one for batch in inferencer(str(photos), batch_size=2) for one in batch["results"]]
    assert [len(one) for one in found] == [0, 1, 2]
    assert [one.frame for one in found] == [0, 1, 2]
    assert found[1].file.endswith("a&b.png")
    assert found[0].size_wh == SIZE_WH
    assert found[2].plot().shape == (100, 200, 3)


def run(photos, meta, tmp_path, kind, **options):
    inferencer = PoseInferencer(Finder(meta))
    for _ in inferencer(str(photos), pred_out_dir=tmp_path / "out", pred_format=kind, **options):
        pass
    return inferencer.written, tmp_path / "out"


def test_json_lines(photos, meta, tmp_path):
    _, out = run(photos, meta, tmp_path, "jsonl")
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [len(line["people"]) for line in lines] == [0, 1, 2]
    assert (lines[0]["width"], lines[0]["height"]) == SIZE_WH


def test_csv_and_parquet_have_the_same_rows(photos, meta, tmp_path):
    _, out = run(photos, meta, tmp_path, "csv")
    with open(out / "predictions.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 16
    assert tuple(rows[0]) == COLUMNS
    parquet = pytest.importorskip("pyarrow.parquet")
    run(photos, meta, tmp_path, "parquet")
    table = parquet.read_table(out / "predictions.parquet").to_pylist()
    assert [row["keypoint"] for row in table] == [row["keypoint"] for row in rows]
    np.testing.assert_allclose([row["x"] for row in table], [float(row["x"]) for row in rows], atol=1e-3)


def test_coco_list(photos, meta, tmp_path):
    _, out = run(photos, meta, tmp_path, "coco")
    found = json.loads((out / "predictions_coco.json").read_text())
    assert [row["image_id"] for row in found] == [1, 2, 2]


def test_yolo_labels_can_be_read_back(photos, meta, tmp_path):
    written, out = run(photos, meta, tmp_path, "yolo")
    data = yaml.safe_load((out / "data.yaml").read_text())
    assert data["kpt_shape"] == [17, 3]
    assert sorted(data["flip_idx"]) == list(range(17))
    assert (out / "labels" / "000000000139.txt").read_text() == ""
    values = np.loadtxt(out / "labels" / "c.txt")
    points = values[:, 5:].reshape(2, 17, 3)
    wanted = people(2)
    assert (points[:, 3] == 0).all()
    np.testing.assert_allclose(points[0, 0, :2] * SIZE_WH, wanted.keypoints[0, 0], atol=1e-3)
    assert set(points[..., 2].ravel()) == {0, 2}
    assert len(written) == 4


def test_openpose_files(photos, meta, tmp_path):
    _, out = run(photos, meta, tmp_path, "openpose")
    assert len(json.loads((out / "c_keypoints.json").read_text())["people"]) == 2


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"parquet"}))
def test_an_error_leaves_no_file_for_the_run(photos, meta, tmp_path, kind):
    class Breaks(Finder):
        def predict(self, images):
            if images[0][0, 0, 0] == 2:
                raise RuntimeError("broken")
            return super().predict(images)

    with pytest.raises(RuntimeError, match="broken"):
        list(PoseInferencer(Breaks(meta))(str(photos), pred_out_dir=tmp_path / "out", pred_format=kind))
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [name for name in left if name.startswith((".", "predictions", "data"))]


def test_unknown_formats_are_refused(photos, meta):
    assert list(PREDICTION_FORMATS) == [JSON, *WRITERS]
    with pytest.raises(ValueError, match=r"pred_format: expected one of 'json', 'jsonl', .*, got 'xml'"):
        PoseInferencer(Finder(meta))(str(photos), pred_format="xml")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "coco"])
def test_long_videos_take_little_memory(meta, tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    one = Results(people(1), meta, SIZE_WH, "clip.mp4", 0, 0.0)
    writer = WRITERS[kind](tmp_path, "clip")
    for _ in range(400):  # a chunk of Parquet, and more
        writer.add(one, "")
    tracemalloc.start()
    tracemalloc.reset_peak()
    for _ in range(1000):
        writer.add(one, "")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (5_000_000 if kind == "parquet" else 200_000)  # a chunk of 5000 rows
    (path,) = writer.close()
    assert path.stat().st_size > 0


def test_the_page_shows_the_least_certain_first(photos, meta, tmp_path):
    written, _ = run(photos, meta, tmp_path, "json", gallery=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert (tmp_path / "page.html") in written
    assert "3 photos, 3 people, 1 photo without people" in page
    names = ["000000000139.png: 0 people", "c.png: 2 people", "a&amp;b.png: 1 person"]
    assert sorted(names, key=page.index) == names
    assert "http" not in page
    assert page.count("data:image/jpeg;base64,") == 3


def test_names_cannot_break_the_page(meta, tmp_path):
    page = Gallery(tmp_path / "page.html")
    page.add(
        Results(people(1), meta, SIZE_WH), '"><script>alert(1)</script>', np.zeros((4, 900, 3), np.uint8)
    )
    page.close()
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert Gallery(tmp_path / "none.html").close() == []


def test_a_page_of_a_video_is_refused(meta, photos, tmp_path):
    with pytest.raises(ValueError, match="expected photos for `gallery`"):
        list(PoseInferencer(Finder(meta))(str(photos), fps=5, gallery=tmp_path / "a.html"))


def test_objects_are_compared_as_themselves(results, meta):
    other = Results(people(), meta, SIZE_WH, "photos/000000000139.jpg", 4)
    assert results in [other, results]
    assert len({results, other}) == 2


def test_boxes_and_scores_are_drawn_as_by_the_inferencer(results):
    image = np.zeros((100, 200, 3), np.uint8)
    plain = results.plot(image)
    for name in ("draw_bbox", "show_score"):
        assert (results.plot(image, **{name: True}) != plain).any()
        np.testing.assert_array_equal(results.plot(image, **{name: False}), plain)


def test_photos_of_a_sequence_are_read_again(photos, meta):
    found = [one for batch in PoseInferencer(Finder(meta))(str(photos), fps=5) for one in batch["results"]]
    assert found[2].time == pytest.approx(0.4)
    assert found[2].plot().shape == (100, 200, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_are_not_utf8_are_escaped(meta, tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    one = Results(people(1), meta, SIZE_WH, os.fsdecode(b"caf\xe9.jpg"))
    writer = WRITERS[kind](tmp_path, "predictions")
    writer.add(one, "photo")
    assert all(path.stat().st_size for path in writer.close())
    page = Gallery(tmp_path / "page.html")
    page.add(one, one.file, np.zeros((8, 8, 3), np.uint8))
    page.close()
    assert r"caf\udce9.jpg" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_page_that_fails_leaves_nothing(meta, tmp_path, monkeypatch):
    page = Gallery(tmp_path / "page.html")
    page.add(Results(people(1), meta, SIZE_WH), "a", np.zeros((8, 8, 3), np.uint8))

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(page, "_read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        page.close()
    page.abort()
    assert list(tmp_path.iterdir()) == []


def test_labels_of_two_videos_do_not_meet(meta, tmp_path):
    for name in ("a", "b"):
        writer = WRITERS["yolo"](tmp_path, name)
        writer.add(Results(people(1), meta, SIZE_WH, f"{name}.mp4", 0, 0.0), "000000")
        writer.close()
    assert {path.name for path in (tmp_path / "labels").iterdir()} == {"a_000000.txt", "b_000000.txt"}

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ehrpose.media import open_inputs


def test_arrays_and_files_in_one_list_have_names_of_their_own(scene_photos, tmp_path):
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / "0.png"
    twin.write_bytes((scene_photos / "0.png").read_bytes())
    grey = np.full((4, 5, 3), 7, np.uint8)
    frames = list(open_inputs([scene_photos / "0.png", grey, twin, str(scene_photos / "1.png")]))
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.name for frame in frames] == ["000000_0.png", "000001", "000002_0.png", "1"]
    assert frames[1].image is grey
    assert frames[1].path is None


def test_a_broken_photo_is_a_frame_with_an_error(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    (frame,) = open_inputs(tmp_path / "a.jpg")
    assert frame.image is None
    assert "empty" in frame.error


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "empty list"),
        (np.zeros((4, 4), np.uint8), "uint8 BGR array"),
        (np.zeros((4, 4, 3)), "uint8 BGR array"),
        ([np.zeros((0, 4, 3), np.uint8)], "uint8 BGR array"),
        (3, "got int"),
        ([3], "got int"),
        ("https://example.org/a.jpg", "download it first"),
        ("webcam:front", "webcam:N"),
        (["a.mp4"], "give each video separately"),
    ],
)
def test_what_is_no_input_is_named(inputs, message):
    with pytest.raises(ValueError, match=message):
        open_inputs(inputs)


def test_photos_as_the_frames_of_a_video_come_by_their_numbers(tmp_path):
    folder = tmp_path / "walk"
    folder.mkdir()
    for number in (1, 2, 10, 11):
        cv2.imwrite(str(folder / f"frame_{number}.png"), np.full((4, 4, 3), number, np.uint8))
    for inputs in (folder, str(folder / "*.png")):
        source = open_inputs(inputs, fps=5)
        assert (source.kind, source.name, source.fps, source.num_frames) == ("video", "walk", 5, 4)
        got = list(source)
        assert [frame.image[0, 0, 0] for frame in got] == [1, 2, 10, 11]
        assert [frame.timestamp for frame in got] == pytest.approx([0, 0.2, 0.4, 0.6])
    assert open_inputs(open_inputs(folder)).kind == "images"


@pytest.mark.parametrize("fps", [0, -1, float("nan"), 1e6])
def test_a_rate_that_cannot_be(tmp_path, fps):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="fps must be between"):
        open_inputs(tmp_path, fps=fps)


def test_a_camera_that_is_not_there(capfd):
    with pytest.raises(ValueError, match="camera 97 cannot be opened"):
        open_inputs("webcam:97")

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ehrpose.image_io import IMAGE_SUFFIXES, read_image
from ehrpose.media import open_inputs
from ehrpose.media.inputs import list_images


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
        (
            "https://u:s3cret@example.org/a.jpg",
            r"https://\*\*\*@example.org/a.jpg is an address: PoseInferencer.watch",
        ),
        ("ftp://example.org/a.jpg", "download it first"),
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


def test_every_suffix_of_a_photo_in_a_folder_is_taken(tmp_path, capsys):
    for suffix in IMAGE_SUFFIXES:
        (tmp_path / f"a{suffix}").write_bytes(b"")
        (tmp_path / f"b{suffix.upper()}").write_bytes(b"")
    assert len(list_images(tmp_path)) == 2 * len(IMAGE_SUFFIXES)
    assert capsys.readouterr().err == ""


def test_a_phones_mixture_is_read(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    formats = {".jpg": "JPEG", ".jfif": "JPEG", ".gif": "GIF", ".jp2": "JPEG2000", ".bmp": "BMP", ".PPM": "PPM",
               ".tif": "TIFF", ".webp": "WEBP"}  # fmt: skip
    if pytest.importorskip("PIL.features").check("avif"):
        formats[".avif"] = "AVIF"
    photo = image_module.fromarray(np.full((30, 40, 3), (200, 100, 50), np.uint8))
    for suffix, fmt in formats.items():
        photo.save(tmp_path / f"photo{suffix}", fmt)
    frames = list(open_inputs(tmp_path))
    assert {frame.path.suffix for frame in frames} == set(formats)
    for frame in frames:
        assert np.abs(frame.image.astype(int) - (50, 100, 200)).max() < 12, frame.path


def test_of_an_animated_gif_the_first_frame_is_read(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    frames = [image_module.new("RGB", (40, 30), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    for backend in ("opencv", "pillow"):
        assert read_image(tmp_path / "a.gif", backend)[10, 10].tolist() == [0, 0, 255]


def test_what_a_folder_passes_over_is_counted_and_named(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "IMG.MOV").write_bytes(b"")
    assert list_images(tmp_path) == [tmp_path / "a.png"]
    assert capsys.readouterr().err == f"{tmp_path}: passed over 1 entry that is not a photo: IMG.MOV\n"
    (tmp_path / "more.jpg").mkdir()
    for number in range(5):
        (tmp_path / f"{number}.json").write_bytes(b"")
    assert list_images(tmp_path) == [tmp_path / "a.png"]
    (line,) = capsys.readouterr().err.splitlines()
    assert "passed over 7 entries that are not photos: 0.json, " in line
    assert line.endswith("4.json and 2 more")
    assert open_inputs(tmp_path, fps=5).num_frames == 1
    assert "passed over 7" in capsys.readouterr().err
    (tmp_path / "a.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no photos \(.jpg.*\) in the folder .*, only 0.json.* and 2 more"
    ):
        open_inputs(tmp_path)


def test_a_folder_inside_is_named_with_a_slash(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "more").mkdir()
    list_images(tmp_path)
    assert capsys.readouterr().err.endswith("not a photo: more/\n")

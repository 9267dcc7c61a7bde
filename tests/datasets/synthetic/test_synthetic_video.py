"""SyntheticVideo: reproducible frames, people who keep their identity and move smoothly."""

from __future__ import annotations

import numpy as np
import pytest

from ehrpose.datasets.synthetic.video import SyntheticVideo


@pytest.fixture(scope="module")
def video(coco_keypoints):
    return SyntheticVideo(coco_keypoints, num_frames=150, seed=4, num_people=(5, 5), image_size=(320, 240))


@pytest.fixture(scope="module")
def frames(video):
    return list(video)


def tracks(frames):
    """Return (T, P, K, 2) keypoints by identity, NaN where the person is outside."""
    people = 1 + max(frame.ids.max(initial=0) for frame in frames)
    out = np.full((len(frames), people, *frames[0].keypoints.shape[1:]), np.nan)
    for i, frame in enumerate(frames):
        out[i, frame.ids] = frame.keypoints
    return out


def test_frames_can_be_read_in_any_order(video, frames, coco_keypoints):
    again = SyntheticVideo(coco_keypoints, num_frames=150, seed=4, num_people=(5, 5), image_size=(320, 240))
    for i in (149, 3, 77):
        for first, second in zip(again[i], frames[i]):
            assert np.array_equal(first, second)
    assert np.array_equal(video[-1].img, frames[-1].img)
    assert len(video[10:16:2]) == 3
    with pytest.raises(IndexError, match="frame 150 is out of range for a video of 150 frames"):
        video[150]


def test_another_seed_is_another_video(frames, coco_keypoints):
    other = SyntheticVideo(coco_keypoints, num_frames=2, seed=5)
    assert not np.array_equal(other[0].img, frames[0].img)


def test_fields_have_their_shapes(frames):
    for i, frame in enumerate(frames):
        count = len(frame.ids)
        assert frame.img.shape == (240, 320, 3)
        assert frame.img.dtype == np.uint8
        assert frame.keypoints.shape == (count, 17, 2)
        assert frame.visible.shape == (count, 17)
        assert len(set(frame.ids.tolist())) == count
        assert (frame.shares >= 0).all()
        assert (frame.shares <= 1).all()
        assert frame.timestamp == pytest.approx(i / 25)


def test_keypoints_move_smoothly(frames):
    paths = tracks(frames)
    speed = np.linalg.norm(np.diff(paths, axis=0), axis=3)
    bend = np.linalg.norm(np.diff(paths, 2, axis=0), axis=3)
    sizes = np.nanmax(paths.max(axis=2) - paths.min(axis=2), axis=(0, 2))[:, None]
    assert np.nanmax(speed / sizes) < 0.2  # of a body height, in 1/25 s
    assert np.nanmax(bend / sizes) < 0.06
    assert np.nanmedian(speed) > 0.3


def test_limbs_swing_against_each_other(frames):
    paths = tracks(frames)
    hips = paths[:, :, 11:13].mean(axis=2)
    left, right = paths[:, :, 15, 0] - hips[..., 0], paths[:, :, 16, 0] - hips[..., 0]
    together = [
        np.corrcoef(left[good, n], right[good, n])[0, 1]
        for n in range(paths.shape[1])
        if (good := np.isfinite(left[:, n])).sum() > 30
    ]
    assert min(together) < -0.5


def test_people_leave_and_come_back_with_the_same_id(coco_keypoints):
    came_back = 0
    for seed in range(3):
        video = SyntheticVideo(
            coco_keypoints, 400, seed, num_people=(4, 4), image_size=(64, 64), fps=5, clutter=0
        )
        inside = np.isfinite(tracks(video[::8]))[:, :, 0, 0].astype(int)
        came_back += int((np.diff(inside, axis=0) > 0).sum())
    assert came_back >= 3


def test_people_hide_one_another(frames):
    shares = np.concatenate([frame.shares for frame in frames])
    assert (shares < 0.4).any()
    assert (shares > 0.99).mean() > 0.3
    for frame in frames:
        for share, visible in zip(frame.shares, frame.visible):
            if share == 0:
                assert (visible < 2).all()
    hidden = np.concatenate([frame.visible[frame.shares < 0.4] for frame in frames])
    whole = np.concatenate([frame.visible[frame.shares > 0.99] for frame in frames])
    assert (hidden == 2).mean() < 0.5 < (whole == 2).mean()


def test_keypoints_outside_are_not_visible(frames):
    for frame in frames:
        outside = ((frame.keypoints < 0) | (frame.keypoints > (319, 239))).any(axis=2)
        assert (frame.visible[outside] == 0).all()


def test_people_have_many_sizes(frames):
    heights = np.concatenate([np.ptp(frame.keypoints[..., 1], axis=1) for frame in frames])
    assert np.percentile(heights, 95) > 1.5 * np.percentile(heights, 5)


def test_the_background_does_not_move(coco_keypoints):
    video = SyntheticVideo(coco_keypoints, 30, 2, num_people=(0, 0), num_occluders=2)
    first, last = video[0], video[29]
    assert len(first.ids) == 0
    assert first.keypoints.shape == (0, 17, 2)
    noise = first.img.astype(int) - last.img
    assert 0 < np.abs(noise).mean() < 20  # the camera's noise is new in each frame


def test_other_skeletons_can_be_asked_for(five_keypoints, coco_keypoints):
    five, all_of_them = (SyntheticVideo(k, 3, 1)[2] for k in (five_keypoints, coco_keypoints))
    columns = [coco_keypoints["names"].index(name) for name in five_keypoints["names"]]
    assert np.array_equal(five.keypoints, all_of_them.keypoints[:, columns])
    assert np.array_equal(five.visible, all_of_them.visible[:, columns])
    unknown = {**five_keypoints, "names": ["tail", *five_keypoints["names"][1:]], "skeleton": []}
    with pytest.raises(ValueError, match=r"cannot draw the keypoints \['tail'\]"):
        SyntheticVideo(unknown)


@pytest.mark.parametrize(
    "options",
    [
        {"num_frames": 0},
        {"seed": -1},
        {"image_size": (8, 8)},
        {"num_people": (3, 2)},
        {"person_height": (0.9, 0.2)},
        {"fps": 1},
        {"num_occluders": -1},
        {"clutter": 2},
    ],
    ids=lambda options: next(iter(options)),
)
def test_bad_arguments_are_named(coco_keypoints, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}: expected"):
        SyntheticVideo(coco_keypoints, **options)

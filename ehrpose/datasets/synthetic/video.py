"""Synthetic videos of people who walk, cross, leave and come back, with exact keypoints and identities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ehrpose.datasets.synthetic.background import add_clutter, add_occluder, finish, sample_background
from ehrpose.datasets.synthetic.canvas import Canvas
from ehrpose.datasets.synthetic.outfit import sample_outfit
from ehrpose.datasets.synthetic.parts import Plan
from ehrpose.datasets.synthetic.pose import pose_skeleton, sample_body
from ehrpose.datasets.synthetic.scene import KEYPOINT_NAMES, draw_person, keypoint_visibility
from ehrpose.datasets.synthetic.walk import Ground, sample_walk
from ehrpose.keypoint_meta import KeypointMeta

# Mean standing height of a person and height of the camera, m.
_PERSON, _CAMERA = 1.72, 1.5
# Focal length in long sides of the image; the camera's angle above the horizon, degrees.
_FOCAL, _TILT = 1.0, 4.0
# Position of the horizon, as a fraction of the image's height.
_HORIZON = 0.3


class VideoFrame(NamedTuple):
    """One frame and its N people: all with a keypoint inside the image, including those hidden by others.

    Attributes:
        img: (H, W, 3) uint8 BGR.
        keypoints: (N, K, 2) float32 true positions, px, including keypoints that are hidden or outside the image.
        visible: (N, K) uint8: 0 outside the image or hidden with none of the person's visible pixels nearby, 1 hidden,
            2 visible.
        ids: (N,) int64 identities, the same in all frames.
        shares: (N,) float32, visible fraction of the person's pixels inside the image, 0 to 1.
        timestamp: Seconds since the first frame.
    """

    img: np.ndarray
    keypoints: np.ndarray
    visible: np.ndarray
    ids: np.ndarray
    shares: np.ndarray
    timestamp: float


class SyntheticVideo(Sequence[VideoFrame]):
    """A video of synthetic people, rendered frame by frame on access.

    Frame ``i`` depends only on the arguments and on ``i``, so frames may be read in any order. The camera does not
    move. People keep their height and clothes; they appear larger as they approach and smaller as they move away.

    Args:
        keypoints: KeypointMeta or its config; the names must be among COCO's 17.
        num_frames: Number of frames.
        seed: Seed of the video, 0 or greater.
        image_size: (width, height), px.
        num_people: Minimum and maximum number of people; not all are in view all the time.
        person_height: Height of a person at the farthest and at the nearest place, as a fraction of the image's
            short side.
        fps: Frames per second.
        num_occluders: Number of objects in front of the people, such as poles.
        clutter: 0 (plain background) to 1 (busy background).

    Raises:
        ValueError: A keypoint name cannot be drawn, or a number is out of range.
    """

    def __init__(
        self,
        keypoints: KeypointMeta | Mapping[str, Any],
        num_frames: int = 150,
        seed: int = 0,
        image_size: Sequence[int] = (320, 240),
        num_people: Sequence[int] = (3, 6),
        person_height: Sequence[float] = (0.25, 0.7),
        fps: float = 25.0,
        num_occluders: int = 1,
        clutter: float = 0.4,
    ) -> None:
        self.keypoints = KeypointMeta.build(keypoints)
        unknown = [name for name in self.keypoints.names if name not in KEYPOINT_NAMES]
        if unknown:
            raise ValueError(
                f"SyntheticVideo cannot draw the keypoints {unknown}; available: {list(KEYPOINT_NAMES)}"
            )
        _check("num_frames", num_frames >= 1, num_frames, "at least 1")
        _check("seed", seed >= 0, seed, "at least 0")
        _check(
            "image_size",
            len(image_size) == 2 and min(image_size) >= 32,
            image_size,
            "(width, height) >= 32 px",
        )
        _check(
            "num_people", 0 <= num_people[0] <= num_people[1] <= 99, num_people, "low <= high within 0 to 99"
        )
        low, high = person_height
        _check("person_height", 0.02 <= low <= high <= 3, person_height, "low <= high within 0.02 to 3")
        _check("fps", 5 <= fps <= 1000, fps, "5 to 1000")
        _check("num_occluders", num_occluders >= 0, num_occluders, "at least 0")
        _check("clutter", 0 <= clutter <= 1, clutter, "0 to 1")
        self.num_frames, self.seed, self.fps = int(num_frames), int(seed), float(fps)
        self.size_wh = (int(image_size[0]), int(image_size[1]))
        self.num_occluders = int(num_occluders)
        self._columns = [KEYPOINT_NAMES.index(name) for name in self.keypoints.names]
        rng = np.random.default_rng([self.seed, 0])
        self._focal = _FOCAL * max(self.size_wh)
        self._light = np.array([rng.choice([-0.8, 0.8]), -0.6])
        place = Canvas(sample_background(rng, self.size_wh, clutter), self._light)
        add_clutter(place, rng, clutter)
        self._background = place.img
        whole = self._focal * _PERSON / min(self.size_wh)  # distance at which a person fills the short side
        ground = Ground(whole / high, whole / low, 0.5 * self.size_wh[0] / self._focal)
        count = int(rng.integers(num_people[0], num_people[1] + 1))
        # (body, outfit, standing height in m, walk); the index is the identity.
        self._people = [
            (
                sample_body(rng),
                sample_outfit(rng),
                float(_PERSON * np.clip(rng.normal(1, 0.08), 0.75, 1.2)),
                sample_walk(rng, ground, self.num_frames, self.fps),
            )
            for _ in range(count)
        ]
        self._occluder_height = 0.5 * (low + high) * min(self.size_wh)

    def __len__(self) -> int:
        return self.num_frames

    def __getitem__(self, index: Any) -> Any:
        """Render frame ``index``; a slice returns a list of frames."""
        if isinstance(index, slice):
            return [self._draw(i) for i in range(*index.indices(self.num_frames))]
        if not -self.num_frames <= index < self.num_frames:
            raise IndexError(f"frame {index} is out of range for a video of {self.num_frames} frames")
        return self._draw(int(index) % self.num_frames)

    def __iter__(self) -> Iterator[VideoFrame]:
        return (self._draw(i) for i in range(self.num_frames))

    def _plan(self, person: int, frame: int) -> Plan:
        """Return a person's pose and position in a frame."""
        body, outfit, height, walk = self._people[person]
        x, z = walk.places[frame]
        scale = self._focal * height / z
        skeleton = pose_skeleton(walk.pose(frame), body, _TILT)
        # The lower foot stands on the ground.
        sole = max(
            skeleton.joints[f"{side}_{part}"][1] for side in ("left", "right") for part in ("heel", "toe")
        )
        ground = _HORIZON * self.size_wh[1] + self._focal * _CAMERA / z
        origin = np.array([0.5 * self.size_wh[0] + self._focal * x / z, ground - (sole + 0.02) * scale])
        return Plan(body, skeleton, outfit, scale, origin)

    def _draw(self, frame: int) -> VideoFrame:
        canvas = Canvas(self._background.copy(), self._light)
        order = sorted(range(len(self._people)), key=lambda n: -self._people[n][3].places[frame, 1])
        plans = {person: self._plan(person, frame) for person in order}
        rng = np.random.default_rng([self.seed, 1, frame])
        joints, wholes = {}, {}
        for person, plan in plans.items():
            joints[person] = draw_person(canvas, plan, person + 1, rng)
            wholes[person] = np.count_nonzero(canvas.labels >> 5 == person + 1)
        things = np.random.default_rng([self.seed, 2])
        for _ in range(self.num_occluders):
            add_occluder(canvas, things, self._occluder_height)
        left = np.bincount((canvas.labels >> 5).ravel(), minlength=len(self._people) + 1)
        found = []
        for person in sorted(plans):
            keypoints = np.stack([joints[person][name][0][:2] for name in KEYPOINT_NAMES]).astype(np.float32)
            inside = (keypoints >= 0) & (keypoints <= np.array(self.size_wh) - 1)
            if inside.all(axis=1).any():
                scale = plans[person].scale
                visible = keypoint_visibility(canvas.labels, joints[person], keypoints, person + 1, scale)
                found.append((keypoints, visible, person, left[person + 1] / max(wholes[person], 1)))
        img = finish(np.random.default_rng([self.seed, 3]), canvas.img, rng)
        return self._frame(img, found, frame / self.fps)

    def _frame(self, img: np.ndarray, found: list[tuple[Any, ...]], timestamp: float) -> VideoFrame:
        names = len(KEYPOINT_NAMES)
        return VideoFrame(
            img,
            np.array([row[0] for row in found], np.float32).reshape(-1, names, 2)[:, self._columns],
            np.array([row[1] for row in found], np.uint8).reshape(-1, names)[:, self._columns],
            np.array([row[2] for row in found], np.int64),
            np.array([row[3] for row in found], np.float32),
            timestamp,
        )


def _check(name: str, is_good: bool, value: Any, expected: str) -> None:
    if not is_good:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")

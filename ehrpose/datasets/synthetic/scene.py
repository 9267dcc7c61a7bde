"""Draw scenes with several people and their exact keypoints (NumPy and OpenCV).

All randomness comes from one generator, so a scene is a function of its seed. Positions are pixel-index
coordinates; depth grows towards the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ehrpose.datasets.synthetic.background import (
    add_clutter,
    add_occluder,
    add_seat,
    finish,
    sample_background,
)
from ehrpose.datasets.synthetic.canvas import Canvas, hull
from ehrpose.datasets.synthetic.head import FACE_NAMES, draw_head, face_keypoints
from ehrpose.datasets.synthetic.outfit import sample_outfit
from ehrpose.datasets.synthetic.parts import (
    HAIR,
    HEAD,
    LIMBS,
    NECK,
    PELVIS,
    RIGHT,
    SKIRT,
    TORSO,
    Plan,
    person_pieces,
)
from ehrpose.datasets.synthetic.pose import SIDES, sample_body, sample_skeleton

_LIMB_NAMES = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
KEYPOINT_NAMES = (
    "nose",
    *(f"{side}_{part}" for part in ("eye", "ear", *_LIMB_NAMES) for side in ("left", "right")),
)
# A label is 32 * person number (from 1) + part.
PARTS_PER_PERSON = 32
# A hidden keypoint further than this many body heights from the person's visible pixels is not annotated.
_MAX_GUESS = 0.15
# Parts that may cover a keypoint without hiding it.
_OWN_LIMBS = {
    "shoulder": ("upper_arm",),
    "elbow": ("upper_arm", "forearm"),
    "wrist": ("forearm", "hand"),
    "hip": ("thigh",),
    "knee": ("thigh", "shin"),
    "ankle": ("shin", "foot"),
}
# Parts that hide a keypoint only when it is on their far side.
_TRUNK = {"shoulder": (TORSO, NECK, HAIR), "hip": (TORSO, PELVIS, SKIRT), "knee": (SKIRT,)}


@dataclass
class Person:
    """One drawn person.

    Attributes:
        keypoints: (17, 2) float32 true positions in the order of KEYPOINT_NAMES, also outside the image.
        visible: (17,) uint8 as in COCO: 0 outside the image or hidden with none of the person's visible pixels
            nearby, 1 hidden, 2 visible.
        mask: (H, W) bool, the visible pixels.
        whole_area: Number of the person's pixels in the image before others were drawn on top.
        height: Standing height, pixels.
    """

    keypoints: np.ndarray
    visible: np.ndarray
    mask: np.ndarray
    whole_area: int
    height: float


def render_scene(
    rng: np.random.Generator,
    size_wh: tuple[int, int],
    num_people: tuple[int, int] = (1, 4),
    person_height: tuple[float, float] = (0.3, 0.9),
    occlusion: float = 0.5,
    clutter: float = 0.5,
    pose_variety: float = 1.0,
) -> tuple[np.ndarray, list[Person]]:
    """Draw one scene.

    Args:
        rng: Source of randomness, consumed in a fixed order.
        size_wh: Width and height of the image, pixels.
        num_people: Minimum and maximum number of people.
        person_height: Minimum and maximum standing height, as a fraction of the image's short side.
        occlusion: 0 (whole people, apart) to 1 (overlapping, cut off by the border, objects in front).
        clutter: 0 (plain background) to 1 (busy background).
        pose_variety: 0 (all people stand or walk, facing the camera) to 1 (any pose, seen from any side).

    Returns:
        The image, (H, W, 3) uint8 BGR, and the people in painting order (far to near), without those completely
        hidden.
    """
    canvas = Canvas(sample_background(rng, size_wh, clutter), np.array([rng.choice([-0.8, 0.8]), -0.6]))
    add_clutter(canvas, rng, clutter)
    plans = _plan_people(rng, size_wh, num_people, person_height, occlusion, pose_variety)
    found, areas = [], []
    for number, plan in enumerate(plans, start=1):
        found.append(draw_person(canvas, plan, number, rng))
        areas.append(int(np.count_nonzero(canvas.labels >> 5 == number)))
    for _ in range(rng.poisson(0.8 * occlusion)):
        add_occluder(canvas, rng, float(np.mean([plan.scale for plan in plans])) if plans else min(size_wh))
    owners = canvas.labels >> 5
    people = []
    for number, (plan, joints, area) in enumerate(zip(plans, found, areas), start=1):
        mask = owners == number
        if mask.any():
            keypoints = np.stack([joints[name][0][:2] for name in KEYPOINT_NAMES]).astype(np.float32)
            visible = keypoint_visibility(canvas.labels, joints, keypoints, number, plan.scale)
            people.append(Person(keypoints, visible, mask, area, plan.scale))
    return finish(rng, canvas.img), people


def _plan_people(
    rng: np.random.Generator,
    size_wh: tuple[int, int],
    num_people: tuple[int, int],
    person_height: tuple[float, float],
    occlusion: float,
    pose_variety: float,
) -> list[Plan]:
    """Sample the people and their positions; far people first."""
    width, height = size_wh
    tilt = rng.uniform(-4, 18)
    count = int(rng.integers(num_people[0], num_people[1] + 1))
    # People in one scene have similar sizes, as in a group photo.
    log_low, log_high = np.log(person_height[0]), np.log(person_height[1])
    middle = rng.uniform(log_low, log_high)
    taken: list[np.ndarray] = []
    plans: list[Plan] = []
    for _ in range(count):
        log_size = np.clip(middle + rng.normal(0, 0.25), log_low, log_high)
        scale = float(np.exp(log_size) * min(width, height))
        body = sample_body(rng)
        skeleton = sample_skeleton(rng, body, tilt, pose_variety)
        flat = np.stack(list(skeleton.joints.values()))[:, :2] * scale
        low, high = flat.min(0) - 0.06 * scale, flat.max(0) + 0.05 * scale
        for attempt in range(6):
            origin = _sample_origin(rng, size_wh, low, high, occlusion)
            box = np.concatenate([origin + low, origin + high])
            is_needed = attempt == 5 and len(plans) < num_people[0]
            if is_needed or all(_overlap(box, other) < 0.05 + 0.85 * occlusion**1.5 for other in taken):
                taken.append(box)
                plans.append(Plan(body, skeleton, sample_outfit(rng), scale, origin))
                break
    return sorted(plans, key=lambda plan: plan.scale)


def _sample_origin(
    rng: np.random.Generator, size_wh: tuple[int, int], low: np.ndarray, high: np.ndarray, occlusion: float
) -> np.ndarray:
    """Sample a pelvis position; ``low`` and ``high`` are the person's extent around it, pixels."""
    size = np.array(size_wh, float)
    first, last = -low, size - 1 - high
    first, last = np.minimum(first, last), np.maximum(first, last)
    cut = (high - low) * 0.45
    if rng.random() < 0.5 * occlusion:
        first, last = first - (cut[0], 0), last + cut
    # Small people stand anywhere, large ones near the lower border.
    place = rng.uniform(0, 1, 2) ** (1.0, 0.6)
    return first + (last - first) * place


def _overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection area of two xyxy boxes as a fraction of the smaller one."""
    inner = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    smaller = min(np.prod(box[2:] - box[:2]), np.prod(other[2:] - other[:2]))
    return float(np.prod(np.clip(inner, 0, None)) / smaller)


def draw_person(
    canvas: Canvas, plan: Plan, number: int, rng: np.random.Generator
) -> dict[str, tuple[np.ndarray, float]]:
    """Paint a person; return (3,) position in pixels and a facing value (1 for limbs) by keypoint name."""
    offset = np.array([*plan.origin, 0.0])
    joints = {name: xyz * plan.scale + offset for name, xyz in plan.skeleton.joints.items()}
    head = plan.body.head * plan.scale
    pieces = person_pieces(plan, joints)
    if plan.skeleton.legs == "sit" and rng.random() < 0.7:
        seat = joints["pelvis"][:2] + np.array([0, 0.05 * plan.scale])
        floor = max(joints["left_heel"][1], joints["right_heel"][1])
        add_seat(canvas, rng, seat, max(floor - seat[1], 0.1 * plan.scale), 0.1 * plan.scale)
    base = PARTS_PER_PERSON * number
    nearest = pieces[-1].depth
    head_depth = joints["head"][2] + 0.03 * plan.scale
    is_head_done = False
    for piece in pieces:
        if piece.depth > head_depth and not is_head_done:
            draw_head(canvas, joints["head"], plan.skeleton.head, head, plan.outfit, base + HEAD)
            is_head_done = True
        # Parts further back get less light.
        shade = 1.0 - 0.45 * np.clip((nearest - piece.depth) / plan.scale, 0, 0.6)
        canvas.paint(
            piece.outlines,
            piece.material,
            piece.start,
            piece.end,
            piece.half_width,
            0.13 * plan.scale,
            base + piece.part,
            float(shade),
        )
        if piece.part == TORSO:
            _draw_front(canvas, plan, joints)
    if not is_head_done:
        draw_head(canvas, joints["head"], plan.skeleton.head, head, plan.outfit, base + HEAD)
    found = face_keypoints(joints["head"], plan.skeleton.head, head)
    found.update(
        {f"{side}_{part}": (joints[f"{side}_{part}"], 1.0) for side, _ in SIDES for part in _LIMB_NAMES}
    )
    return found


def _draw_front(canvas: Canvas, plan: Plan, joints: dict[str, np.ndarray]) -> None:
    """Paint a tie, buttons or a print if the chest faces the viewer."""
    scale, pose, outfit = plan.scale, plan.skeleton, plan.outfit
    if pose.torso[2, 2] < 0.35 or outfit.front == "none":
        return
    neck = joints["neck"] + pose.torso[:, 2] * 0.05 * scale
    waist = joints["waist"] + pose.torso[:, 2] * 0.06 * scale
    down = waist[:2] - neck[:2]
    across = pose.torso[:2, 0] * scale
    if outfit.front == "print":
        middle = neck[:2] + 0.45 * down
        corners = np.array([[-0.035, -0.18], [0.035, -0.18], [0.03, 0.2], [-0.03, 0.2]])
        canvas.fill(hull((middle + corners[:, :1] * across + corners[:, 1:] * down,)), outfit.accent)
        return
    width = 0.012 if outfit.front == "tie" else 0.003
    corners = np.array([[-width, 0.05], [width, 0.05], [1.5 * width, 0.9], [-1.5 * width, 0.9]])
    color = outfit.accent if outfit.front == "tie" else outfit.top.color * 0.55
    canvas.fill(hull((neck[:2] + corners[:, :1] * across + corners[:, 1:] * down,)), color)


def keypoint_visibility(
    labels: np.ndarray,
    joints: dict[str, tuple[np.ndarray, float]],
    keypoints: np.ndarray,
    number: int,
    scale: float,
) -> np.ndarray:
    """Return (17,) COCO visibility flags from the labels at the keypoints and the keypoints' depths."""
    height, width = labels.shape
    visible = np.zeros(len(KEYPOINT_NAMES), np.uint8)
    middle = {
        part: 0.5 * (joints[f"left_{part}"][0][2] + joints[f"right_{part}"][0][2])
        for part in ("shoulder", "hip", "knee")
    }
    for i, name in enumerate(KEYPOINT_NAMES):
        x, y = keypoints[i]
        if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
            continue
        owner, part = divmod(int(labels[round(float(y)), round(float(x))]), PARTS_PER_PERSON)
        if owner != number and not _is_near(labels, number, x, y, _MAX_GUESS * scale):
            continue
        position, facing = joints[name]
        is_seen = False
        if owner == number and name in FACE_NAMES:
            is_seen = part == HEAD and facing > -0.15
        elif owner == number:
            side, kind = name.split("_")
            shift = 0 if side == "left" else RIGHT
            is_seen = part in [LIMBS[limb] + shift for limb in _OWN_LIMBS[kind]]
            is_near = position[2] - middle.get(kind, 0.0) > -0.5 * 0.11 * scale
            is_seen = is_seen or (part in _TRUNK.get(kind, ()) and is_near)
        visible[i] = 2 if is_seen else 1
    return visible


def _is_near(labels: np.ndarray, number: int, x: float, y: float, reach: float) -> bool:
    """Return whether a visible pixel of the person is within a square of +-reach pixels."""
    top, left = max(0, int(y - reach)), max(0, int(x - reach))
    window = labels[top : int(y + reach) + 2, left : int(x + reach) + 2]
    return bool((window >> 5 == number).any())

"""Random bodies in random poses, as simple 3-D skeletons (NumPy only).

Lengths are in body heights. Camera axes: x to the right of the image, y down, z towards the viewer.
Body axes: x to the person's left, y up, z forward; at yaw 0 a person faces the camera.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np

SIDES = (("left", 1.0), ("right", -1.0))

# Joint angles in degrees, as (low, high). Flexion lifts the limb forward, abduction lifts it sideways,
# twist turns the forearm inward, the last angle bends the elbow.
_ARMS = {
    "down": ((-15, 20), (4, 18), (-20, 40), (4, 35)),
    "bent": ((-10, 30), (4, 25), (0, 60), (50, 120)),
    "on_hip": ((-30, -5), (35, 55), (65, 90), (85, 110)),
    "crossed": ((25, 45), (2, 10), (60, 85), (85, 105)),
    "to_face": ((25, 55), (5, 25), (5, 30), (115, 145)),
    "reach": ((55, 100), (-5, 25), (-20, 40), (0, 45)),
    "raised": ((135, 180), (0, 30), (-30, 30), (0, 70)),
    "sideways": ((-10, 20), (60, 110), (-30, 30), (0, 50)),
    "wave": ((-10, 20), (60, 105), (-105, -60), (40, 115)),
    "back": ((-55, -20), (5, 20), (-10, 20), (0, 40)),
}
_ARM_ODDS = np.array([0.30, 0.14, 0.09, 0.06, 0.07, 0.09, 0.09, 0.05, 0.07, 0.04])
# (left hip flexion, right hip flexion, abduction, left knee, right knee)
_LEGS = {
    "stand": ((-4, 8), (-4, 8), (1, 8), (0, 8), (0, 8)),
    "walk": ((14, 32), (-26, -8), (0, 5), (0, 16), (8, 45)),
    "run": ((38, 80), (-32, 0), (0, 6), (45, 115), (15, 100)),
    "sit": ((72, 95), (72, 95), (2, 18), (65, 100), (65, 100)),
    "squat": ((60, 110), (60, 110), (6, 28), (85, 130), (85, 130)),
    "wide": ((-5, 20), (-5, 20), (14, 30), (0, 30), (0, 30)),
    "kick": ((35, 95), (-8, 8), (0, 15), (0, 80), (0, 15)),
    "kneel": ((75, 100), (-12, 5), (2, 12), (80, 105), (80, 105)),
}
_LEG_ODDS = np.array([0.33, 0.22, 0.12, 0.10, 0.05, 0.08, 0.05, 0.05])
# Poses at variety 0: people stand or walk upright, facing the camera.
_PLAIN_ARMS = ("down", "bent", "on_hip", "raised", "sideways", "wave")
_PLAIN_LEGS = ("stand", "walk", "wide")
_DOWN = np.array([0.0, -1.0, 0.0])
_TO_IMAGE = np.diag([1.0, -1.0, 1.0])


@dataclass
class Body:
    """Proportions of one person, in body heights."""

    build: float
    head: float
    shoulder: float
    hip: float
    trunk: float
    upper_arm: float
    forearm: float
    thigh: float
    shin: float
    waist: float


@dataclass
class Pose:
    """Pose of one body; angles in degrees.

    Attributes:
        legs: Name of the leg pose.
        leg_angles: (2, 3) hip flexion, abduction and knee of the left and the right leg.
        arm_angles: (2, 4) flexion, abduction, twist and elbow of the left and the right arm.
        lean: Forward lean of the trunk.
        roll: Sideways lean of the whole body.
        yaw: Facing direction; 0 faces the camera, 90 the right border of the image.
        chest: Sideways bend and turn of the chest relative to the pelvis.
        head: Turn, nod and tilt of the head relative to the chest.
    """

    legs: str
    leg_angles: np.ndarray
    arm_angles: np.ndarray
    lean: float
    roll: float
    yaw: float
    chest: tuple[float, float]
    head: tuple[float, float, float]


@dataclass
class Skeleton:
    """A posed body.

    Attributes:
        joints: Name to (3,) position in camera axes, origin at the pelvis, in body heights.
        torso: Columns are the chest's left, up and forward directions in camera axes.
        pelvis: The same for the pelvis.
        head: The same for the head.
        legs: Name of the leg pose.
    """

    joints: dict[str, np.ndarray]
    torso: np.ndarray
    pelvis: np.ndarray
    head: np.ndarray
    legs: str


def _rx(degrees: float) -> np.ndarray:
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def _ry(degrees: float) -> np.ndarray:
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def _rz(degrees: float) -> np.ndarray:
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def sample_body(rng: np.random.Generator) -> Body:
    """Sample the proportions of a person; about one in eight is a child with a larger head."""
    child = rng.random() < 0.12
    scale = rng.uniform(0.94, 1.06, 8)
    return Body(
        build=float(rng.uniform(0.85, 1.3)),
        head=0.069 * float(scale[0]) * (1.25 if child else 1.0),
        shoulder=0.104 * float(scale[1]),
        hip=0.062 * float(scale[2]),
        trunk=0.29 * float(scale[3]),
        upper_arm=0.168 * float(scale[4]),
        forearm=0.150 * float(scale[5]),
        thigh=0.245 * float(scale[6]) * (0.92 if child else 1.0),
        shin=0.240 * float(scale[7]) * (0.92 if child else 1.0),
        waist=float(rng.uniform(0.78, 1.0)),
    )


def sample_yaw(rng: np.random.Generator) -> float:
    """Sample the facing direction in degrees: 0 faces the camera, 180 shows the back."""
    kind = rng.random()
    if kind < 0.45:
        return float(rng.normal(0, 25))
    if kind < 0.70:
        return float(rng.choice([-90, 90]) + rng.normal(0, 20))
    if kind < 0.88:
        return float(180 + rng.normal(0, 25))
    return float(rng.uniform(-180, 180))


def _odds(names: Iterable[str], odds: np.ndarray, plain: Sequence[str] | None) -> np.ndarray:
    """Return ``odds`` restricted to the ``plain`` poses; None keeps all."""
    if plain is None:
        return odds
    kept = odds * [name in plain for name in names]
    return kept / kept.sum()


def _sample_limbs(rng: np.random.Generator, plain: bool) -> tuple[str, np.ndarray, np.ndarray, float]:
    """Return the leg pose, leg angles (2, 3), arm angles (2, 4) and the forward lean, in degrees."""
    leg_odds = _odds(_LEGS, _LEG_ODDS, _PLAIN_LEGS if plain else None)
    arm_odds = _odds(_ARMS, _ARM_ODDS, _PLAIN_ARMS if plain else None)
    legs = list(_LEGS)[rng.choice(len(_LEGS), p=leg_odds)]
    low, high = np.array(_LEGS[legs], float).T
    left_flex, right_flex, abduction, left_knee, right_knee = rng.uniform(low, high)
    leg_angles = np.array([[left_flex, abduction, left_knee], [right_flex, abduction, right_knee]])
    arm_styles = list(_ARMS)
    first, second = rng.choice(len(arm_styles), size=2, p=arm_odds)
    if rng.random() < 0.45:
        second = first
    arm_angles = np.stack([_sample_arm(rng, arm_styles[style]) for style in (first, second)])
    lean = float(rng.normal(3, 5))
    if legs in ("walk", "run") and rng.random() < 0.8:
        swing = rng.uniform(12, 35) if legs == "walk" else rng.uniform(25, 55)
        elbow = rng.uniform(5, 40) if legs == "walk" else rng.uniform(70, 110)
        arm_angles[0], arm_angles[1] = (-swing, 6, 15, elbow), (swing, 6, 15, elbow)
        lean += 0 if legs == "walk" else rng.uniform(5, 18)
    elif not plain and legs in ("stand", "wide", "squat") and rng.random() < 0.22:
        lean = float(rng.uniform(25, 85))
        arm_angles[:, 0] += lean * rng.uniform(0.4, 1.0)
    if rng.random() < 0.5:
        leg_angles, arm_angles = leg_angles[::-1], arm_angles[::-1]
    return legs, leg_angles, arm_angles, lean


def _sample_arm(rng: np.random.Generator, style: str) -> np.ndarray:
    low, high = np.array(_ARMS[style], float).T
    return rng.uniform(low, high)


def sample_skeleton(rng: np.random.Generator, body: Body, tilt: float, variety: float = 1.0) -> Skeleton:
    """Sample a pose within the joint limits, seen from a random side.

    Args:
        rng: Source of randomness.
        body: Proportions of the person.
        tilt: Angle of the camera above the horizon, degrees; the same for a whole scene.
        variety: Fraction of people, 0 to 1, in any pose and seen from any side. The others stand or walk upright,
            facing the camera.
    """
    plain = variety < 1 and rng.random() >= variety
    legs, leg_angles, arm_angles, lean = _sample_limbs(rng, plain)
    roll = rng.normal(0, 3) if plain or rng.random() < 0.92 else rng.uniform(-40, 40)
    yaw = rng.normal(0, 20) if plain else sample_yaw(rng)
    chest = (rng.normal(0, 5), rng.normal(0, 10))
    head_lean = -0.4 * lean + rng.normal(4, 10)
    head = (np.clip(rng.normal(0, 25), -65, 65), head_lean, rng.normal(0, 6))
    return pose_skeleton(Pose(legs, leg_angles, arm_angles, lean, roll, yaw, chest, head), body, tilt)


def pose_skeleton(pose: Pose, body: Body, tilt: float) -> Skeleton:
    """Return the body in a pose; ``tilt`` is the camera's angle above the horizon, degrees."""
    pelvis = _rx(tilt) @ _rz(pose.roll) @ _ry(pose.yaw) @ _rx(0.35 * pose.lean)
    torso = pelvis @ _rx(0.65 * pose.lean) @ _rz(pose.chest[0]) @ _ry(pose.chest[1])
    head = torso @ _ry(pose.head[0]) @ _rx(pose.head[1]) @ _rz(pose.head[2])
    joints = {"pelvis": np.zeros(3), "waist": pelvis @ (0, 0.36 * body.trunk, 0)}
    joints["neck"] = joints["waist"] + torso @ (0, 0.64 * body.trunk, 0)
    joints["head"] = joints["neck"] + torso @ (0, 0.035, 0.005) + head @ (0, 0.25 * body.head + 0.055, 0.012)
    for i, (side, sign) in enumerate(SIDES):
        _add_arm(joints, side, sign, pose.arm_angles[i], torso, body)
        _add_leg(joints, side, sign, pose.leg_angles[i], pelvis, body)
    joints = {name: _TO_IMAGE @ xyz for name, xyz in joints.items()}
    return Skeleton(joints, _TO_IMAGE @ torso, _TO_IMAGE @ pelvis, _TO_IMAGE @ head, pose.legs)


def _add_arm(
    joints: dict[str, np.ndarray], side: str, sign: float, angles: np.ndarray, torso: np.ndarray, body: Body
) -> None:
    flexion, abduction, twist, elbow = angles
    upper = torso @ _rx(-flexion) @ _rz(sign * abduction) @ _ry(-sign * twist)
    lower = upper @ _rx(-elbow)
    # A raised arm lifts its shoulder.
    lift = 0.03 * max(0.0, float((torso.T @ upper @ _DOWN)[1]))
    joints[f"{side}_shoulder"] = joints["neck"] + torso @ (sign * body.shoulder, -0.028 + lift, 0)
    joints[f"{side}_elbow"] = joints[f"{side}_shoulder"] + upper @ _DOWN * body.upper_arm
    joints[f"{side}_wrist"] = joints[f"{side}_elbow"] + lower @ _DOWN * body.forearm
    joints[f"{side}_hand"] = joints[f"{side}_wrist"] + lower @ _rx(-12) @ _DOWN * 0.055


def _add_leg(
    joints: dict[str, np.ndarray], side: str, sign: float, angles: np.ndarray, pelvis: np.ndarray, body: Body
) -> None:
    flexion, abduction, knee = angles
    upper = pelvis @ _rx(-flexion) @ _rz(sign * abduction) @ _ry(sign * 6)
    lower = upper @ _rx(knee)
    joints[f"{side}_hip"] = joints["pelvis"] + pelvis @ (sign * body.hip, 0, 0)
    joints[f"{side}_knee"] = joints[f"{side}_hip"] + upper @ _DOWN * body.thigh
    joints[f"{side}_ankle"] = joints[f"{side}_knee"] + lower @ _DOWN * body.shin
    joints[f"{side}_heel"] = joints[f"{side}_ankle"] + lower @ (0, -0.022, -0.018)
    joints[f"{side}_toe"] = joints[f"{side}_ankle"] + lower @ (sign * 0.012, -0.026, 0.088)

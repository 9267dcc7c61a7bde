"""The parts of one person to paint: trunk, legs and arms as capsules and hulls, with their depths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ehrpose.datasets.synthetic.canvas import CIRCLE, capsule, hull
from ehrpose.datasets.synthetic.outfit import Material, Outfit
from ehrpose.datasets.synthetic.pose import SIDES, Body, Skeleton

# Numbers of the parts in the label map; RIGHT is added to a limb's number for the right side.
TORSO, PELVIS, NECK, HEAD, HAIR, SKIRT = 1, 2, 3, 4, 5, 6
LIMBS = {"upper_arm": 8, "forearm": 9, "hand": 10, "thigh": 11, "shin": 12, "foot": 13}
RIGHT = 8


@dataclass
class Plan:
    """A person before drawing: pose, clothes, scale (pixels per body height) and position of the pelvis."""

    body: Body
    skeleton: Skeleton
    outfit: Outfit
    scale: float
    origin: np.ndarray


@dataclass
class Piece:
    """One part to paint; pieces are painted from far to near."""

    depth: float
    outlines: list[np.ndarray]
    material: Material
    start: np.ndarray
    end: np.ndarray
    half_width: float
    part: int


def _level(center: np.ndarray, axes: np.ndarray, half_width: float, half_depth: float) -> np.ndarray:
    """Return the (14, 2) projected outline of a flat ellipse across the trunk; in pixels."""
    return center[:2] + CIRCLE @ np.stack([axes[:2, 0] * half_width, axes[:2, 2] * half_depth])


def _trunk(plan: Plan, joints: dict[str, np.ndarray]) -> list[Piece]:
    """Return neck, torso, pelvis and, if present, long hair and a skirt."""
    scale, body, outfit, pose = plan.scale, plan.body, plan.outfit, plan.skeleton
    b = scale * (0.6 + 0.4 * body.build)
    neck, waist, pelvis, head = joints["neck"], joints["waist"], joints["pelvis"], joints["head"]
    left, right = joints["left_shoulder"][:2], joints["right_shoulder"][:2]
    shoulder = 0.034 * b
    top = [_level(neck, pose.torso, 0.045 * b, 0.04 * b), left + shoulder * CIRCLE, right + shoulder * CIRCLE]
    chest = _level(0.62 * neck + 0.38 * waist, pose.torso, 0.096 * b, 0.066 * b)
    middle = _level(waist, 0.5 * (pose.torso + pose.pelvis), 0.092 * b * body.waist, 0.06 * b)
    hips = _level(pelvis, pose.pelvis, (body.hip + 0.036) * b, 0.066 * b)
    rise = _level(0.7 * pelvis + 0.3 * waist, pose.pelvis, (body.hip + 0.028) * b, 0.066 * b)
    half = max(0.06 * b, 0.5 * float(np.abs(left - right).max()) + shoulder)
    torso = [hull((*top, chest)), hull((chest, middle)), hull((middle, rise if outfit.has_belt else hips))]
    seats = [joints[f"{side}_hip"][:2] + 0.046 * b * CIRCLE for side, _ in SIDES]
    pieces = [
        Piece(waist[2], torso, outfit.top, neck[:2], pelvis[:2], half, TORSO),
        Piece(
            pelvis[2] - 0.01 * scale,
            [hull((rise, hips)), hull((hips, *seats))],
            outfit.bottom,
            waist[:2],
            pelvis[:2],
            0.1 * b,
            PELVIS,
        ),
        Piece(
            min(waist[2], neck[2]) - 0.012 * scale if pose.torso[2, 2] < 0 else waist[2] + 0.002 * scale,
            [capsule(neck[:2], 0.6 * head[:2] + 0.4 * neck[:2], 0.034 * b, 0.031 * b)],
            outfit.skin,
            neck[:2],
            head[:2],
            0.036 * b,
            NECK,
        ),
    ]
    if outfit.hair_style == "long":
        back = head - pose.head[:, 2] * 0.4 * body.head * scale
        end = neck - pose.torso[:, 2] * 0.055 * scale - pose.torso[:, 1] * 0.04 * scale
        outline = capsule(back[:2], end[:2], 0.8 * body.head * scale, 0.05 * scale)
        depth = min(back[2], end[2]) if pose.torso[2, 2] > 0.2 else max(end[2], waist[2] + 0.01 * scale)
        pieces.append(Piece(depth, [outline], outfit.hair, back[:2], end[:2], 0.07 * scale, HAIR))
    if outfit.legwear == "skirt":
        pieces.append(_skirt(plan, joints, hips, b))
    return pieces


def _skirt(plan: Plan, joints: dict[str, np.ndarray], hips: np.ndarray, b: float) -> Piece:
    hem = [0.35 * joints[f"{side}_hip"] + 0.65 * joints[f"{side}_knee"] for side, _ in SIDES]
    middle = 0.5 * (hem[0] + hem[1])
    depth = max(hem[0][2], hem[1][2], joints["left_hip"][2], joints["right_hip"][2]) + 0.012 * plan.scale
    outline = hull((hips, *(point[:2] + 0.058 * b * CIRCLE for point in hem)))
    return Piece(depth, [outline], plan.outfit.bottom, joints["pelvis"][:2], middle[:2], 0.13 * b, SKIRT)


def _limb(
    start: np.ndarray,
    end: np.ndarray,
    radii: tuple[float, float],
    material: Material,
    part: int,
    depth: float,
) -> Piece:
    outline = capsule(start[:2], end[:2], *radii)
    return Piece(depth, [outline], material, start[:2], end[:2], max(radii), part)


def _legs(plan: Plan, joints: dict[str, np.ndarray]) -> list[Piece]:
    scale, outfit = plan.scale, plan.outfit
    b = scale * (0.55 + 0.45 * plan.body.build)
    pieces = []
    for side, sign in SIDES:
        shift = 0 if sign > 0 else RIGHT
        hip, knee, ankle = (joints[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))
        heel, toe = joints[f"{side}_heel"], joints[f"{side}_toe"]
        thigh_depth, shin_depth = 0.5 * (hip[2] + knee[2]), 0.5 * (knee[2] + ankle[2])
        is_long = outfit.legwear == "trousers"
        thigh = outfit.bottom if is_long or outfit.legwear == "shorts" else outfit.skin
        shin = outfit.bottom if is_long else outfit.skin
        pieces += [
            _limb(hip, knee, (0.05 * b, 0.037 * b), thigh, LIMBS["thigh"] + shift, thigh_depth),
            _limb(
                knee, ankle, (0.036 * b, 0.023 * b), shin, LIMBS["shin"] + shift, shin_depth - 0.002 * scale
            ),
            _limb(
                heel,
                toe,
                (0.024 * b, 0.017 * b),
                outfit.shoes,
                LIMBS["foot"] + shift,
                max(0.5 * (heel[2] + toe[2]), shin_depth - 0.001 * scale),
            ),
        ]
        if outfit.legwear == "shorts":
            hem = 0.25 * hip + 0.75 * knee
            pieces[-3] = _limb(
                hip, knee, (0.046 * b, 0.037 * b), outfit.skin, LIMBS["thigh"] + shift, thigh_depth
            )
            cloth = _limb(hip, hem, (0.053 * b, 0.05 * b), thigh, LIMBS["thigh"] + shift, thigh_depth + 1e-3)
            pieces.append(cloth)
    return pieces


def _arms(plan: Plan, joints: dict[str, np.ndarray]) -> list[Piece]:
    scale, outfit = plan.scale, plan.outfit
    b = scale * (0.5 + 0.5 * plan.body.build)
    pieces = []
    for side, sign in SIDES:
        shift = 0 if sign > 0 else RIGHT
        shoulder, elbow, wrist, hand = (
            joints[f"{side}_{part}"] for part in ("shoulder", "elbow", "wrist", "hand")
        )
        upper = outfit.top if outfit.sleeve == "long" else outfit.skin
        depth = 0.5 * (shoulder[2] + elbow[2]) + 0.015 * scale
        fore_depth = 0.5 * (elbow[2] + wrist[2]) + 0.02 * scale
        pieces += [
            _limb(shoulder, elbow, (0.034 * b, 0.026 * b), upper, LIMBS["upper_arm"] + shift, depth),
            _limb(elbow, wrist, (0.026 * b, 0.019 * b), upper, LIMBS["forearm"] + shift, fore_depth),
            _limb(wrist, hand, (0.018 * b, 0.022 * b), outfit.skin, LIMBS["hand"] + shift, fore_depth - 1e-3),
        ]
        if outfit.sleeve == "short":
            hem = 0.42 * shoulder + 0.58 * elbow
            cloth = _limb(
                shoulder, hem, (0.037 * b, 0.037 * b), outfit.top, LIMBS["upper_arm"] + shift, depth + 1e-3
            )
            pieces.append(cloth)
    return pieces


def person_pieces(plan: Plan, joints: dict[str, np.ndarray]) -> list[Piece]:
    """Return all parts except the head, from far to near.

    Args:
        plan: The person.
        joints: Name to (3,) position, pixels and depth.
    """
    pieces = [*_trunk(plan, joints), *_legs(plan, joints), *_arms(plan, joints)]
    return sorted(pieces, key=lambda piece: piece.depth)

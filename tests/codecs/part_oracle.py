"""A plain, slow implementation of `paper` decoding of part-affinity fields: no code shared with the codec.

It restates the definition of Lightweight OpenPose's code in words: a heatmap's values below 0.1 are 0; a pixel is a
peak if it is above its four neighbours, 0 outside of the map; from left to right (then from top to bottom), a peak
that is left drops all later ones nearer than 6 px. For each limb, all pairs of peaks of its ends get a score from 10
points on the line; those with more than 8 points above 0.05 are accepted, best first, each peak once. The limbs in
order extend people; the last two only complete them. Stated rule for equal scores: the pair that comes later (by end,
then start) goes first.
"""

from __future__ import annotations

import math

NAMES = [
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
]  # fmt: skip
# First part, second part, channel of the field's x.
LIMBS = [
    (1, 2, 12), (1, 5, 20), (2, 3, 14), (3, 4, 16), (5, 6, 22), (6, 7, 24), (1, 8, 0), (8, 9, 2), (9, 10, 4),
    (1, 11, 6), (11, 12, 8), (12, 13, 10), (1, 0, 28), (0, 14, 30), (14, 16, 34), (0, 15, 32), (15, 17, 36),
    (2, 16, 18), (5, 17, 26),
]  # fmt: skip
# COCO's index of each part.
COCO = [0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]


def peaks_of(heat):
    """[(x, y, score)] of one (H, W) heatmap."""
    height, width = heat.shape
    rows = [[0.0 if value < 0.1 else float(value) for value in row] for row in heat]

    def at(x, y):
        return rows[y][x] if 0 <= x < width and 0 <= y < height else 0.0

    found = [
        (x, y)
        for x in range(width)
        for y in range(height)
        if rows[y][x] and rows[y][x] > max(at(x - 1, y), at(x + 1, y), at(x, y - 1), at(x, y + 1))
    ]
    dropped, kept = set(), []
    for i, (x, y) in enumerate(found):
        if i in dropped:
            continue
        kept.append((x, y, float(heat[y, x])))
        dropped.update(j for j in range(i + 1, len(found)) if math.dist((x, y), found[j]) < 6)
    return kept


def links_of(field, channel, first, second):
    """[(index in first, index in second, score)], best first."""
    scored = []
    for j, (bx, by, _) in enumerate(second):
        for i, (ax, ay, _) in enumerate(first):
            length = math.sqrt((bx - ax) ** 2 + (by - ay) ** 2) + 1e-6
            total, count = 0.0, 0
            for step in range(10):
                x, y = round(ax + step / 9 * (bx - ax)), round(ay + step / 9 * (by - ay))
                along = (bx - ax) / length * float(field[channel, y, x])
                along += (by - ay) / length * float(field[channel + 1, y, x])
                if along > 0.05:
                    total, count = total + along, count + 1
            score = total / (count + 1e-6)
            if score > 0 and count / 10 > 0.8:
                scored.append((i, j, score))
    scored.sort(key=lambda link: link[2])
    links, starts, ends = [], set(), set()
    for i, j, score in reversed(scored):
        if i not in starts and j not in ends:
            starts.add(i)
            ends.add(j)
            links.append((i, j, score))
    return links


def decode(heat, field):
    """Decode (18, H, W) heatmaps and (38, H, W) fields: [(score, {COCO's keypoint: (x, y, score)})]."""
    peaks = [peaks_of(one) for one in heat]
    people = []  # each: [{part: index of the peak}, total, count]
    for number, (a, b, channel) in enumerate(LIMBS):
        for i, j, score in links_of(field, channel, peaks[a], peaks[b]):
            if number >= 17:
                for parts, _, _ in people:
                    if parts.get(a) == i and b not in parts:
                        parts[b] = j
                    elif parts.get(b) == j and a not in parts:
                        parts[a] = i
                continue
            owners = [person for person in people if person[0].get(a) == i] if number else []
            for person in owners:
                person[0][b] = j
                person[1] += peaks[b][j][2] + score
                person[2] += 1
            if not owners:
                people.append([{a: i, b: j}, peaks[a][i][2] + peaks[b][j][2] + score, 2])
    found = []
    for parts, total, count in people:
        if count >= 3 and total / count >= 0.2:
            keypoints = {}
            for part, index in parts.items():
                x, y, score = peaks[part][index]
                if COCO[part] is not None:
                    keypoints[COCO[part]] = (x + 0.5, y + 0.5, score)
            found.append((total * max(0, count - 1), keypoints))
    return sorted(found, key=lambda person: -person[0])

// What happens to people once they are grouped: scores, doubles, limbs, left and right. It follows selection.py,
// limbs.py, sides.py and ehrpose/oks.py; where they round to float32, f32 does.
//
// A person: `keypoints` of { x, y, score, filled } (input px, float32 values; score 0: none), `score`, `tag`.

import { f32 } from "./grouping.mjs";

const AREA_OF_BOX = f32(0.53);
const SLACK = 4;
const FEWEST_KEYPOINTS = 3;
const FEWEST_LIMBS = 3;
const GUESS = 1.75;
const ONE_PLACE = 0.85;
const REACH = 2;
const LEAST_REACH = 4;
const TINY = 2 ** -126; // the smallest normal float32

// NumPy's pairwise sum of a row; `round` is f32 for float32 values.
export function pairwiseSum(values, round = (value) => value) {
  const count = values.length;
  if (count < 8) return values.reduce((sum, value) => round(sum + value), 0);
  if (count > 128) {
    let half = count >> 1;
    half -= half % 8;
    return round(pairwiseSum(values.slice(0, half), round) + pairwiseSum(values.slice(half), round));
  }
  const part = values.slice(0, 8);
  let i = 8;
  for (; i + 8 <= count; i += 8) for (let j = 0; j < 8; j++) part[j] = round(part[j] + values[i + j]);
  const [a, b, c, d] = [0, 2, 4, 6].map((j) => round(part[j] + part[j + 1]));
  let sum = round(round(a + b) + round(c + d));
  for (; i < count; i++) sum = round(sum + values[i]);
  return sum;
}

const sorted = (values) => Float64Array.from(values).sort();

function median(values) {
  const ordered = sorted(values);
  return (ordered[(ordered.length - 1) >> 1] + ordered[ordered.length >> 1]) / 2;
}

// Width and height of the box around a person's keypoints, at least 1 px: a line counts as a box.
function boxSides(person) {
  const found = person.keypoints.filter((point) => point.score > 0);
  const extent = (name) => {
    let low = Infinity;
    let high = -Infinity;
    for (const point of found) {
      low = Math.min(low, point[name]);
      high = Math.max(high, point[name]);
    }
    return Math.max(f32(high - low), 1);
  };
  return [extent("x"), extent("y")];
}

function areaOf(person) {
  const [width, height] = boxSides(person);
  return f32(AREA_OF_BOX * f32(width * height));
}

// far_members for one person: members that are too far from the median keypoint are removed from its group.
export function dropFarMembers(members, keypoints, factor) {
  const present = members.map((member, k) => (member ? k : -1)).filter((k) => k >= 0);
  if (present.length < 4) return;
  const x = median(present.map((k) => keypoints[k].x));
  const y = median(present.map((k) => keypoints[k].y));
  const distances = present.map((k) => Math.sqrt((keypoints[k].x - x) ** 2 + (keypoints[k].y - y) ** 2));
  const limit = factor * median(distances);
  present.forEach((k, i) => {
    if (distances[i] > limit) members[k] = null;
  });
}

// person_scores for one person; `scores` are those of its keypoints before filling.
export function personScore(person, scores, inputArea, { scorePower: power, scoreSize: size }) {
  const mean = pairwiseSum(scores.map((score) => raised(score, power))) / scores.length;
  const [width, height] = boxSides(person);
  const score = f32(raised(mean, 1 / power) * raised((width * height) / inputArea, size / 2));
  if (!Number.isFinite(score)) {
    throw new Error(
      "scores of people overflow, or are roots of negative numbers: set score_power and score_size closer to 1 and 0",
    );
  }
  return score;
}

// NumPy computes squares and square roots exactly; other powers may differ in the last bit.
function raised(value, power) {
  if (power === 1) return value;
  if (power === 2) return value * value;
  return power === 0.5 ? Math.sqrt(value) : value ** power;
}

// distinct_people: of two people that are alike, the better one; `people` are sorted by score.
export function distinctPeople(people, sigmas, maxSimilarity) {
  const kept = [];
  for (const person of people) {
    const isDouble = kept.some((other) => {
      let both = 0;
      const alike = person.keypoints.map((b, k) => {
        const a = other.person.keypoints[k];
        if (!(a.score > 0 && b.score > 0)) return 0;
        both += 1;
        const dx = f32(a.x - b.x);
        const dy = f32(a.y - b.y);
        const twice = 2 * sigmas[k];
        return Math.exp(-(dx * dx + dy * dy) / (2 * (twice * twice * other.area)));
      });
      return pairwiseSum(alike) / Math.max(both, 1) > maxSimilarity;
    });
    if (!isDouble) kept.push({ person, area: areaOf(person) });
  }
  return kept.map(({ person }) => person);
}

// too_long for one person: which of its limbs are. `points` are { x, y, score }.
function tooLong(points, settings, factor) {
  const lengths = settings.skeleton.map(([a, b]) => {
    if (!(points[a].score > 0 && points[b].score > 0)) return -1;
    const dx = points[a].x - points[b].x;
    const dy = points[a].y - points[b].y;
    return Math.sqrt(dx * dx + dy * dy);
  });
  const ratios = [];
  lengths.forEach((length, l) => {
    if (length >= 0) ratios.push(length / settings.limbLengths[l]);
  });
  if (ratios.length < FEWEST_LIMBS) return lengths.map(() => false);
  const ordered = sorted(ratios);
  const twice = ordered[(ordered.length - 1) >> 1] + ordered[ordered.length >> 1];
  return lengths.map((length, l) => length >= 0 && length > factor * 0.5 * twice * settings.limbLengths[l] + SLACK);
}

// far_parts for one person: for each keypoint that only a limb that is too long connects to the rest of it the lowest
// index in its part, -1 for all others; null: nothing is cut off.
function farParts(points, settings, factor) {
  const isLong = tooLong(points, settings, factor);
  if (!isLong.includes(true)) return null;
  const part = points.map((_, k) => k);
  for (let changed = true; changed;) {
    // the lowest index spreads along the limbs
    changed = false;
    settings.skeleton.forEach(([a, b], l) => {
      if (isLong[l] || !(points[a].score > 0 && points[b].score > 0) || part[a] === part[b]) return;
      part[a] = part[b] = Math.min(part[a], part[b]);
      changed = true;
    });
  }
  const sums = points.map(() => 0);
  points.forEach((point, k) => {
    if (point.score > 0) sums[part[k]] += point.score;
  });
  const best = sums.indexOf(Math.max(...sums));
  const atEnd = new Set();
  settings.skeleton.forEach((limb, l) => {
    if (isLong[l]) limb.forEach((k) => atEnd.add(part[k]));
  });
  const cut = points.map(({ score }, k) => (score > 0 && atEnd.has(part[k]) && part[k] !== best ? part[k] : -1));
  return cut.some((label) => label >= 0) ? cut : null;
}

// cut_groups: far parts are cut off groups; those of at least three keypoints become people, after all others.
export function cutGroups(groups, settings) {
  const added = [];
  const changed = [];
  for (const group of groups) {
    const points = group.members.map((c) => (c ? { x: c.x, y: c.y, score: Math.max(c.score, TINY) } : { score: 0 }));
    const cut = farParts(points, settings, settings.maxLimb);
    if (!cut) continue;
    changed.push(group);
    for (const label of cut.map((_, k) => k)) {
      if (cut.filter((other) => other === label).length < FEWEST_KEYPOINTS) continue;
      added.push({ members: group.members.map((member, k) => (cut[k] === label ? member : null)), tag: group.tag });
    }
    group.members = group.members.map((member, k) => (cut[k] >= 0 ? null : member));
  }
  for (const group of [...changed, ...added]) {
    const members = group.members.filter((member) => member);
    group.tag = group.tag.map((_, t) => members.reduce((sum, member) => sum + member.tag[t], 0) / members.length);
  }
  return [...groups, ...added];
}

// drop_far_parts for one person, in place. A guess does not outweigh what supports the person.
export function dropFarParts(person, settings) {
  for (;;) {
    // what is usual at a person's scale changes with what is cut off
    const points = person.keypoints.map(({ x, y, score, filled }) => ({
      x,
      y,
      score: filled ? f32(score * f32(1e-3)) : score,
    }));
    const cut = farParts(points, settings, GUESS * settings.maxLimb);
    if (!cut) return;
    person.keypoints = person.keypoints.map((point, k) =>
      cut[k] >= 0 ? { x: 0, y: 0, score: 0, filled: false } : point,
    );
  }
}

// paired_limbs: left, right and the other ends of their limbs, which come before them in the order of grouping.
export function pairedLimbs({ order, mirrored, skeleton }) {
  const hasLimb = (a, b) => skeleton.some(([c, d]) => (a === c && b === d) || (a === d && b === c));
  const found = [];
  order.forEach((left, rank) => {
    const right = mirrored[left];
    if (left >= right) return; // the right one of a pair, or not in a pair
    const parent = order
      .slice(0, rank)
      .reverse()
      .find((k) => mirrored[k] !== k && k !== left && k !== right && hasLimb(left, k) && hasLimb(right, mirrored[k]));
    if (parent !== undefined) found.push([left, right, parent, mirrored[parent]]);
  });
  return found;
}

const square = (a, b) => (a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y);

// separate_sides and filled_after: left and right keypoints at one place are separated, crossed pairs uncrossed.
export function separateSides(people, byType, pairs, settings) {
  const before = people.map((person) => person.keypoints);
  people.forEach((person, n) => {
    // Positions stay float64 until all pairs are done.
    const points = before[n].map(({ x, y, score }) => ({ x, y, score }));
    const area = areaOf(person);
    for (const pair of pairs) separatePair(points, pair, person.tag, area, before.slice(0, n), byType, settings);
    person.keypoints = points.map(({ x, y, score }, k) => ({
      x: f32(x),
      y: f32(y),
      score: f32(score),
      filled: before[n][k].filled,
    }));
    for (const [left, right] of pairs) {
      for (const [own, other] of [
        [left, right],
        [right, left],
      ]) {
        const point = person.keypoints[own];
        const isAt = (k) => point.x === before[n][k].x && point.y === before[n][k].y;
        point.filled = isAt(own) ? before[n][own].filled : isAt(other) && before[n][other].filled;
      }
    }
  });
}

function separatePair(points, [left, right, leftEnd, rightEnd], tag, area, better, byType, settings) {
  if ([left, right, leftEnd, rightEnd].some((k) => points[k].score <= 0)) return;
  const most = settings.maxTagDist * settings.maxTagDist;
  const isMine = (c) =>
    c.score > 0 && c.tag.reduce((sum, value, t) => sum + (value - tag[t]) * (value - tag[t]), 0) <= most;
  const mine = [left, right].map((k) => byType[k].filter(isMine));
  const twice = 2 * settings.sigmas[left];
  const limit = -2 * Math.log(ONE_PLACE) * (twice * twice) * area;
  const bestAt = (place) =>
    mine.map((found) => found.reduce((best, c) => (c.score > best && square(c, place) <= limit ? c.score : best), 0));
  let first = points[left];
  let second = points[right];
  const ends = [points[leftEnd], points[rightEnd]];
  const atOnePlace = square(first, second) <= limit;
  if (atOnePlace && second.score > first.score) first = second;
  const atFirst = bestAt(first);
  let atSecond;
  if (atOnePlace) {
    const middle = { x: (ends[0].x + ends[1].x) / 2, y: (ends[0].y + ends[1].y) / 2 };
    const reach = REACH * REACH * Math.max(square(first, middle), LEAST_REACH * LEAST_REACH);
    const isTaken = (c) =>
      better.some((keypoints) =>
        [left, right].some((k) => keypoints[k].score > 0 && square(keypoints[k], c) <= limit),
      );
    let highest = -1;
    for (const c of mine.flat()) {
      if (square(c, first) <= limit || square(c, middle) >= reach || isTaken(c)) continue;
      const best = bestAt(c);
      if (best[0] + best[1] > highest) {
        highest = best[0] + best[1];
        atSecond = best;
        second = c;
      }
    }
    if (highest < 0 || highest < settings.pairRatio * (atFirst[0] + atFirst[1])) return;
  } else {
    atSecond = bestAt(second);
  }
  const away = (a, b) => Math.sqrt(square(a, b));
  const straight = atFirst[0] + atSecond[1];
  const crossed = atSecond[0] + atFirst[1];
  const longer = away(ends[0], second) + away(ends[1], first) - (away(ends[0], first) + away(ends[1], second));
  const keep = straight - crossed + (settings.limbWeight * longer) / Math.sqrt(area) >= 0;
  const scores = [points[left].score, points[right].score];
  if (atOnePlace) {
    const moved = keep ? 1 : 0;
    scores[moved] = atSecond[moved] > 0 ? atSecond[moved] : atSecond[1 - moved];
  } else if (!keep) {
    scores.reverse();
  }
  const [atLeft, atRight] = keep ? [first, second] : [second, first];
  points[left] = { x: atLeft.x, y: atLeft.y, score: scores[0] };
  points[right] = { x: atRight.x, y: atRight.y, score: scores[1] };
}

// Maps of the network: where they lie in the input, their peaks, and values between pixels. It follows heatmap.py and
// fast_decoding.py of ehrpose/codecs. A map: { data, channels, width, height }.

import { f32, rint } from "./grouping.mjs";

export const clip = (value, last) => Math.min(Math.max(value, 0), last);
export const valueAt = (map, channel, x, y) => map.data[(channel * map.height + y) * map.width + x];

// Geometry: between px of the network's input and of a map.
export class Geometry {
  constructor([inputWidth, inputHeight], { width, height }, { unbiased, cellOffset }) {
    this.last = [width - 1, height - 1];
    const axis = (input, map) => {
      const [from, to] = unbiased ? [input - 1, map - 1] : [input, map];
      const isSingle = to === 0; // a single pixel has no corners apart: it lies in the middle of the input
      return { perMap: isSingle ? 0 : from / to, perInput: to / from, first: isSingle ? from / 2 : 0 };
    };
    this.axes = [axis(inputWidth, width), axis(inputHeight, height)];
    this.unbiased = unbiased;
    this.offset = cellOffset;
  }

  toInput(...place) {
    return this.axes.map(({ perMap, first }, i) =>
      this.unbiased ? place[i] * perMap + first : (place[i] + this.offset) * perMap,
    );
  }

  toMap(...place) {
    return this.axes.map(({ perInput }, i) =>
      this.unbiased ? place[i] * perInput : place[i] * perInput - this.offset,
    );
  }

  nearest(...place) {
    return place.map((value, i) => clip(rint(value), this.last[i]));
  }
}

// find_peaks with a window of 3: local maxima above a score, in raster order.
export function findPeaks(map, k, minScore) {
  const { data, width, height } = map;
  const start = k * width * height;
  const found = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = start + y * width + x;
      if (data[at] > minScore && isMaximum(data, at, x, y, width, height)) found.push({ score: data[at], x, y });
    }
  }
  return found;
}

function isMaximum(data, at, x, y, width, height) {
  const [left, right] = [x > 0 ? -1 : 0, x < width - 1 ? 1 : 0];
  for (let dy = y > 0 ? -1 : 0; dy <= (y < height - 1 ? 1 : 0); dy++) {
    for (let dx = left; dx <= right; dx++) if (data[at + dy * width + dx] > data[at]) return false;
  }
  return true;
}

// rank_peaks and distinct_peaks: the best peaks of each type, one for each flat top. They come in raster order.
export function keepBest(peaks, maxCandidates) {
  const best = peaks.map((found) => [...found].sort((a, b) => b.score - a.score).slice(0, maxCandidates));
  const someEqual = best.some((found) => found.some((peak, i) => i > 0 && peak.score === found[i - 1].score));
  if (!someEqual) return best;
  return best.map((found) => {
    const key = (x, y) => `${x},${y}`;
    const places = new Set(found.map(({ x, y }) => key(x, y)));
    return found.filter(
      ({ x, y }) =>
        ![
          [-1, 0],
          [1, -1],
          [0, -1],
          [-1, -1],
        ].some(([dx, dy]) => places.has(key(x + dx, y + dy))),
    );
  });
}

// parabola_of_cross along one axis: where a parabola through the logarithms is highest.
export function vertex(at, side, before, centre, after) {
  if (at <= 0 || at >= side - 1) return at;
  const [low, middle, high] = [before, centre, after].map((value) => Math.log(Math.max(value, 1e-6)));
  const curvature = low + high - 2 * middle;
  const shift = curvature <= -1e-9 ? (0.5 * (low - high)) / curvature : 0;
  return at + Math.min(Math.max(shift, -0.5), 0.5);
}

export function parabolaPeak(map, k, x, y) {
  const { width, height } = map;
  const at = (px, py) => valueAt(map, k, clip(px, width - 1), clip(py, height - 1));
  const centre = at(x, y);
  return [
    vertex(x, width, at(x - 1, y), centre, at(x + 1, y)),
    vertex(y, height, at(x, y - 1), centre, at(x, y + 1)),
  ];
}

export function sampleBilinear({ data, width, height }, channel, x, y) {
  const [inX, inY] = [clip(x, width - 1), clip(y, height - 1)];
  const [lowX, lowY] = [Math.floor(inX), Math.floor(inY)];
  const [fx, fy] = [f32(inX - lowX), f32(inY - lowY)];
  const at = (channel * height + lowY) * width + lowX;
  const right = lowX < width - 1 ? 1 : 0;
  const below = lowY < height - 1 ? width : 0;
  const mixed = (before, after, part) => f32(f32(before * f32(1 - part)) + f32(after * part));
  const top = mixed(data[at], data[at + right], fx);
  const bottom = mixed(data[at + below], data[at + below + right], fx);
  return mixed(top, bottom, fy);
}

// The pixel in a window where heat minus the rounded tag distance is highest, the first of equal ones.
export function bestInWindow({ data, width, height }, tags, k, numTypes, tag, [left, top, right, bottom]) {
  const size = width * height;
  let best = -Infinity;
  let found = [left, top];
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const at = y * width + x;
      const heat = data[k * size + at];
      if (heat <= best) continue; // no distance makes it higher
      let distance = 0;
      if (tag.length === 1) {
        distance = Math.abs(f32(tags.data[k * size + at] - tag[0]));
      } else {
        for (let t = 0; t < tag.length; t++) {
          const difference = f32(tags.data[(t * numTypes + k) * size + at] - tag[t]);
          distance = f32(distance + f32(difference * difference));
        }
        distance = f32(Math.sqrt(distance));
      }
      const value = f32(heat - rint(distance));
      if (value > best) {
        best = value;
        found = [x, y];
      }
    }
  }
  return found;
}

// _climb: the highest pixel within 1.5 px of a position, the first of equal ones.
export function climbed(map, k, x, y) {
  const window = (at, side) => [
    clip(Math.ceil(at - 1.5 - 1e-6), side - 1),
    clip(Math.floor(at + 1.5 + 1e-6), side - 1),
  ];
  const [left, right] = window(x, map.width);
  const [top, bottom] = window(y, map.height);
  let best = [left, top];
  for (let atY = top; atY <= bottom; atY++) {
    for (let atX = left; atX <= right; atX++)
      if (valueAt(map, k, atX, atY) > valueAt(map, k, ...best)) best = [atX, atY];
  }
  return best;
}

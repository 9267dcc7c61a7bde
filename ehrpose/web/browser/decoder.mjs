// People from the outputs of an exported network: the decoding of ehrpose/codecs in the browser, without dependencies.
// It follows fast_decoding.py, peak_decoding.py and assembly.py, and rounds to float32 where they do.
//
//   const sidecar = readSidecar(text);                       // end2end.onnx.json
//   const plan = planInput([photo.width, photo.height], sidecar.input);
//   const pixels = networkInput(photo, plan, sidecar.input);  // photo: ImageData
//   ... run the network on a tensor of plan.dims ...
//   const people = toPhoto(new Decoder(sidecar).decode(outputs, plan.wh), plan.warp);

import { LARGEST, f32, groupCandidates } from "./grouping.mjs";
import {
  Geometry,
  bestInWindow,
  climbed,
  clip,
  findPeaks,
  keepBest,
  parabolaPeak,
  sampleBilinear,
  valueAt,
  vertex,
} from "./maps.mjs";
import {
  cutGroups,
  distinctPeople,
  dropFarMembers,
  dropFarParts,
  pairedLimbs,
  pairwiseSum,
  personScore,
  separateSides,
} from "./people.mjs";
import { PEAKS } from "./sidecar.mjs";

export { networkInput, planInput } from "./input.mjs";
export { readSidecar } from "./sidecar.mjs";

const FILL_REACH = 3;
const FILL_LEAST = 0.2;

// Finds people in the outputs of one photo. `sidecar` is what readSidecar returned.
export class Decoder {
  constructor(sidecar) {
    this.sidecar = sidecar;
    this.settings = sidecar.settings;
    this.pairs = pairedLimbs(this.settings);
  }

  // People, best first, each { keypoints: [{ x, y, score, filled }], score, tag }, in px of the input; score 0: none.
  // `outputs`: name to { data, dims } as ONNX Runtime returns them, with a batch axis of 1; `inputWh`: [width, height].
  // Throws Error for wrong names, shapes, types and for NaN, infinity or values beyond 1e15.
  decode(outputs, inputWh) {
    const step = this.sidecar.decode === "peaks" ? 4 : this.settings.strides[0];
    const isSide = (side) => Number.isInteger(side) && side >= step && side % step === 0 && side <= 1 << 15;
    if (!Array.isArray(inputWh) || inputWh.length !== 2 || !inputWh.every(isSide)) {
      throw new Error(`input: expected width and height, two multiples of ${step}, got ${JSON.stringify(inputWh)}`);
    }
    const arrays = {};
    for (const name of this.sidecar.outputs) arrays[name] = checkedOutput(name, outputs?.[name]);
    return this.sidecar.decode === "peaks" ? this.fromPeaks(arrays, inputWh) : this.fromMaps(arrays, inputWh);
  }

  fromMaps(arrays, inputWh) {
    const { strides, numTypes, maxCandidates, minScore, fillMissing } = this.settings;
    const level = (name, stride, isTag = false) => {
      const [width, height] = inputWh.map((side) => Math.floor(side / stride));
      return mapOf(name, arrays[name], numTypes, width, height, isTag);
    };
    const coarse = level(`heat${strides[0]}`, strides[0]);
    const fine = strides.length > 1 ? level(`heat${strides[1]}`, strides[1]) : coarse;
    const tags = level(`tag${strides[0]}`, strides[0], true);
    const numTags = tags.channels / numTypes;
    const onFine = new Geometry(inputWh, fine, this.settings);
    const onCoarse = new Geometry(inputWh, coarse, this.settings);
    const peaks = Array.from({ length: numTypes }, (_, k) => findPeaks(fine, k, minScore));
    const byType = keepBest(peaks, maxCandidates).map((found, k) =>
      found.map((peak) => {
        const [x, y] = onFine.toInput(...parabolaPeak(fine, k, peak.x, peak.y));
        const at = onCoarse.toMap(x, y);
        const pixel = onCoarse.nearest(...at);
        const score = fine === coarse ? peak.score : f32(0.5 * f32(peak.score + sampleBilinear(coarse, k, ...at)));
        const tag = Array.from({ length: numTags }, (__, t) => valueAt(tags, t * numTypes + k, ...pixel));
        return { type: k, x, y, score, tag, pixel };
      }),
    );
    const fill = (people) => fillMissingPoints(people, byType, coarse, fine, tags, onCoarse, onFine);
    return this.peopleOf(byType, inputWh, fillMissing ? fill : null);
  }

  fromPeaks(arrays, inputWh) {
    const { strides, numTypes, maxCandidates, minScore } = this.settings;
    const finest = strides[strides.length - 1];
    const factor = strides[0] / finest;
    const [fine, coarse] = [finest, strides[0]].map((stride) => ({
      width: Math.floor(inputWh[0] / stride),
      height: Math.floor(inputWh[1] / stride),
    }));
    const { most, numTags } = checkPeaks(arrays, numTypes, fine.width * fine.height);
    const [scores, pixels, cross, heat, tags] = PEAKS.map((name) => arrays[name].data);
    const onFine = new Geometry(inputWh, fine, this.settings);
    const onCoarse = new Geometry(inputWh, coarse, this.settings);
    const peaks = Array.from({ length: numTypes }, (_, k) => {
      const found = [];
      for (let i = k * most; i < (k + 1) * most; i++) {
        if (scores[i] > minScore)
          found.push({ score: scores[i], x: pixels[i] % fine.width, y: Math.floor(pixels[i] / fine.width), i });
      }
      // A top-k does not define the order of equal values: they come in raster order, as for whole maps.
      return found.sort((a, b) => pixels[a.i] - pixels[b.i]);
    });
    const byType = keepBest(peaks, maxCandidates).map((found, k) =>
      found.map(({ score: value, x: px, y: py, i }) => {
        const [left, right, above, below] = cross.subarray(4 * i, 4 * i + 4);
        const [x, y] = onFine.toInput(
          vertex(px, fine.width, left, value, right),
          vertex(py, fine.height, above, value, below),
        );
        const at = onCoarse.toMap(x, y);
        const [x0, y0] = [px, py].map((place) => Math.floor(place / factor) - 1); // of the window of 3 x 3 px
        const window = { data: heat.subarray(9 * i, 9 * i + 9), width: 3, height: 3 };
        const inX = clip(at[0], coarse.width - 1) - x0;
        const inY = clip(at[1], coarse.height - 1) - y0;
        const score = factor > 1 ? f32(0.5 * f32(value + sampleBilinear(window, 0, inX, inY))) : value;
        const pixel = onCoarse.nearest(...at);
        const cell = 3 * clip(pixel[1] - y0, 2) + clip(pixel[0] - x0, 2);
        const tag = Array.from({ length: numTags }, (__, t) => tags[9 * (t * numTypes * most + i) + cell]);
        return { type: k, x, y, score, tag, pixel };
      }),
    );
    return this.peopleOf(byType, inputWh, null);
  }

  // people_of: groups candidates into people.
  peopleOf(byType, inputWh, fill) {
    const s = this.settings;
    let groups = groupCandidates(byType, inputWh, s);
    const judgesLimbs = s.maxLimb !== null && s.limbLengths !== null;
    if (judgesLimbs) groups = cutGroups(groups, s);
    groups = groups.filter(({ members }) => members.filter((member) => member).length >= s.minKeypoints);
    if (s.maxSpread !== null)
      for (const group of groups) dropFarMembers(group.members, assembled(group).keypoints, s.maxSpread);
    let people = groups.map(assembled);
    const members = people.map((person) => person.keypoints.map((point) => point.score));
    if (fill) fill(people);
    if (s.scorePower !== 1 || s.scoreSize !== 0) {
      people.forEach((person, n) => {
        person.score = personScore(person, members[n], inputWh[0] * inputWh[1], s);
      });
    }
    people.sort((a, b) => b.score - a.score); // equal ones keep their order
    if (s.nmsOks !== null) people = distinctPeople(people, s.sigmas, s.nmsOks);
    if (s.pairRatio !== null && this.pairs.length) separateSides(people, byType, this.pairs, s);
    if (judgesLimbs) for (const person of people) dropFarParts(person, s);
    return people.map(({ keypoints, score, tag }) => ({ keypoints, score, tag }));
  }
}

// The same people in px of the photo; `warp` is that of planInput.
export function toPhoto(people, { scale, x, y }) {
  const moved = (point) => ({ ...point, x: f32((point.x - x) / scale), y: f32((point.y - y) / scale) });
  return people.map((person) => ({ ...person, keypoints: person.keypoints.map(moved) }));
}

function checkedOutput(name, output) {
  const whole = name === "peak_pixels";
  if (!output) throw new Error(`outputs: expected ${name} among them, got none`);
  const { data, dims } = output;
  const isData = whole ? data instanceof Int32Array : data instanceof Float32Array;
  if (!isData)
    throw new Error(
      `${name}: expected ${whole ? "int32" : "float32"} values, got ${data?.constructor?.name ?? typeof data}`,
    );
  if (!Array.isArray(dims) || dims[0] !== 1 || dims.reduce((size, side) => size * side, 1) !== data.length) {
    throw new Error(
      `${name}: expected the shape of one photo's output with ${data.length} values, got ${JSON.stringify(dims)}`,
    );
  }
  if (!whole) {
    for (let i = 0; i < data.length; i++) {
      if (!(Math.abs(data[i]) <= LARGEST)) {
        throw new Error(`${name}: expected finite values up to 1e15, got ${data[i]}: the network's output is broken`);
      }
    }
  }
  return { data, dims };
}

function mapOf(name, { data, dims }, numTypes, width, height, isTag) {
  const channels = dims[1];
  const fits = isTag ? channels > 0 && channels % numTypes === 0 : channels === numTypes;
  if (dims.length !== 4 || !fits || dims[2] !== height || dims[3] !== width || !data.length) {
    throw new Error(
      `${name}: expected shape [1, ${numTypes}${isTag ? " * T" : ""}, ${height}, ${width}], ` +
        `got ${JSON.stringify(dims)}`,
    );
  }
  return { data, channels, width, height };
}

function checkPeaks(arrays, numTypes, numPixels) {
  const most = arrays.peak_scores.dims[2];
  const numTags = Math.max(arrays.peak_tags.dims[1], 1);
  const shapes = [
    [1, numTypes, most],
    [1, numTypes, most],
    [1, numTypes, most, 4],
    [1, numTypes, most, 9],
    [1, numTags, numTypes, most, 9],
  ];
  PEAKS.forEach((name, i) => {
    if (arrays[name].dims.join() !== shapes[i].join()) {
      throw new Error(
        `${name}: expected shape ${JSON.stringify(shapes[i])}, got ${JSON.stringify(arrays[name].dims)}`,
      );
    }
  });
  for (const pixel of arrays.peak_pixels.data) {
    if (pixel < 0 || pixel >= numPixels) {
      throw new Error(`peak_pixels: expected 0 to ${numPixels - 1}, the pixels of the finest heatmap, got ${pixel}`);
    }
  }
  return { most, numTags };
}

// assemble: a person before filling; its score is the mean over all types.
function assembled({ members, tag }) {
  const point = (c) =>
    c ? { x: f32(c.x), y: f32(c.y), score: c.score, filled: false } : { x: 0, y: 0, score: 0, filled: false };
  const keypoints = members.map(point);
  const score = f32(
    pairwiseSum(
      keypoints.map((each) => each.score),
      f32,
    ) / members.length,
  );
  return { keypoints, score, tag: tag.map((value) => f32(value)), members };
}

// fill_nearby and fill: missing keypoints, in place, from where heat minus the rounded tag distance is highest nearby.
function fillMissingPoints(people, byType, coarse, fine, tags, onCoarse, onFine) {
  for (const { keypoints, tag, members } of people) {
    const pixels = members.filter((member) => member).map((member) => member.pixel);
    if (!pixels.length) continue;
    const low = [0, 1].map((axis) => Math.min(...pixels.map((pixel) => pixel[axis])));
    const high = [0, 1].map((axis) => Math.max(...pixels.map((pixel) => pixel[axis])));
    const extent = Math.max(high[0] - low[0], high[1] - low[1]);
    const reach = Math.floor(Math.max(FILL_REACH * extent, FILL_LEAST * Math.max(coarse.width, coarse.height)));
    const window = [
      ...low.map((place) => Math.max(place - reach, 0)),
      Math.min(high[0] + reach + 1, coarse.width),
      Math.min(high[1] + reach + 1, coarse.height),
    ];
    members.forEach((member, k) => {
      if (member) return;
      const [x, y] = bestInWindow(coarse, tags, k, byType.length, tag, window);
      const score = valueAt(coarse, k, x, y);
      if (!(score > 0)) return;
      const peak = climbed(fine, k, ...onFine.toMap(...onCoarse.toInput(x, y)));
      const [atX, atY] = onFine.toInput(...parabolaPeak(fine, k, ...peak));
      keypoints[k] = { x: f32(atX), y: f32(atY), score, filled: true };
    });
  }
}

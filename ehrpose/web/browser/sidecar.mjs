// The JSON beside an exported network: what the browser needs of it, checked. docs/deploy/sidecar.md describes it.

import { f32 } from "./grouping.mjs";

const LARGEST = 1e15;
const MAX_BYTES = 1 << 20;
const MAX_PIXELS = 1 << 28;
export const PEAKS = ["peak_scores", "peak_pixels", "peak_cross", "peak_heat", "peak_tags"];

const isNumber = (low, high) => (value) => typeof value === "number" && value >= low && value <= high;
const isAbove = (low, high) => (value) => typeof value === "number" && value > low && value <= high;
const isWhole = (low, high) => (value) => Number.isInteger(value) && value >= low && value <= high;
const isOrNull = (check) => (value) => value === null || check(value);
const isOneOf =
  (...allowed) =>
  (value) =>
    allowed.includes(value);
const isFlag = (value) => typeof value === "boolean";
const isText = (value) => typeof value === "string" && value.length <= 1000;
const isList = (check, most) => (value) => Array.isArray(value) && value.length <= most && value.every(check);
const isPair = (value) => Array.isArray(value) && value.length === 2 && value.every(isText);
const isColor = (value) => Array.isArray(value) && value.length === 3 && value.every(isNumber(0, 255));
const isShape = (value) => isList(isWhole(1, 1e6), 5)(value) && value.length >= 3;

// Keys of the codec: name here, default, check, what was expected. Keys without a name do not matter here.
const CODEC = {
  input_size: [null, undefined, isWhole(32, 16384), "32 to 16384"],
  strides: ["strides", [4, 2], isList(isOneOf(2, 4), 2), "[4, 2], [4] or [2]"],
  tag_strides: ["tagStrides", [4], isList(isOneOf(2, 4), 2), "[4], [4, 2] or [2]"],
  tag_dim: [null, 1, isWhole(1, 1000), "1 to 1000"],
  sigma: [null, 2, isAbove(0, 1e6), "a number above 0"],
  oks_sigma: [null, 0, isNumber(0, 1e6), "a number of at least 0"],
  max_people: [null, 30, isWhole(1, 10000), "1 to 10000"],
  unbiased: ["unbiased", false, isFlag, "true or false"],
  cell_offset: ["cellOffset", 0.5, isNumber(0, 1), "a number from 0 to 1"],
  mode: ["mode", "fast", isOneOf("fast"), '"fast", the only mode that this decoder has'],
  max_candidates: ["maxCandidates", 30, isWhole(1, 10000), "1 to 10000"],
  min_score: ["minScore", 0.1, isNumber(-LARGEST, LARGEST), "a number"],
  max_tag_dist: ["maxTagDist", 1, isNumber(0, LARGEST), "a number of at least 0"],
  fill_missing: ["fillMissing", true, isFlag, "true or false"],
  min_keypoints: ["minKeypoints", 1, isWhole(1, 10000), "1 to 10000"],
  max_spread: ["maxSpread", null, isOrNull(isAbove(1, LARGEST)), "a number above 1, or null"],
  nms_oks: ["nmsOks", null, isOrNull(isNumber(0, 1)), "a number from 0 to 1, or null"],
  place_weight: ["placeWeight", 0, isNumber(0, LARGEST), "a number of at least 0"],
  score_power: ["scorePower", 1, isAbove(0, LARGEST), "a number above 0"],
  score_size: ["scoreSize", 0, isNumber(0, LARGEST), "a number of at least 0"],
  pair_ratio: ["pairRatio", null, isOrNull(isNumber(0, 1)), "a number from 0 to 1, or null"],
  limb_weight: ["limbWeight", 0.3, isNumber(0, LARGEST), "a number of at least 0"],
  max_limb: ["maxLimb", null, isOrNull(isAbove(1, LARGEST)), "a number above 1, or null"],
  dist_reweight: ["distReweight", false, isFlag, "true or false"],
  scale_tags: [null, "first", isOneOf("first", "all"), '"first" or "all"'],
  resize: [null, "direct", isOneOf("direct", "two_step"), '"direct" or "two_step"'],
  refine: [null, "quarter", isOneOf("quarter", "dark"), '"quarter" or "dark"'],
};

const KEYPOINTS = {
  dataset_name: [null, undefined, isText, "text"],
  names: ["names", undefined, isList(isText, 1000), "up to 1000 names"],
  swap: ["swap", undefined, isList(isPair, 1000), "pairs of names"],
  skeleton: ["limbs", undefined, isList(isPair, 10000), "pairs of names"],
  sigmas: ["sigmas", undefined, isList(isAbove(0, 1e6), 1000), "numbers above 0"],
  order: ["order", null, isOrNull(isList(isText, 1000)), "names, or null"],
  keypoint_colors: ["keypointColors", null, isOrNull(isList(isColor, 10000)), "colours, or null"],
  limb_colors: ["limbColors", null, isOrNull(isList(isColor, 10000)), "colours, or null"],
  limb_lengths: ["limbLengths", null, isOrNull(isList(isAbove(0, 1e6), 10000)), "numbers above 0, or null"],
};

const SIDES = {
  short: ["short", undefined, (value) => isWhole(32, 16384)(value), "32 to 16384"],
  divisor: ["divisor", undefined, (value) => isWhole(32, 1024)(value) && value % 32 === 0, "a multiple of 32"],
  max_aspect: ["maxAspect", undefined, isNumber(1, 100), "1 to 100"],
  side: ["side", "short", isOneOf("short", "height"), '"short" or "height"'],
};

const isSide = (value) => isWhole(32, 16384)(value) && value % 32 === 0;
const INPUT = {
  name: [null, "input", isText, "text"],
  shape: ["shape", undefined, isList(isWhole(1, 16384), 4), "four whole numbers"],
  dtype: ["dtype", undefined, isOneOf("uint8", "float32"), '"uint8" or "float32"'],
  layout: ["layout", undefined, isOneOf("NCHW", "NHWC"), '"NCHW" or "NHWC"'],
  color: ["color", undefined, isOneOf("BGR", "RGB"), '"BGR" or "RGB"'],
  range: [
    null,
    [0, 255],
    (value) => isList(isNumber(0, 255), 2)(value) && value[0] === 0 && value[1] === 255,
    "[0, 255]",
  ],
  dynamic_batch: [null, false, isFlag, "true or false"],
  border: ["border", [0, 0, 0], isColor, "three numbers from 0 to 255"],
  sides: ["sides", null, (value) => isObject(value), "an object"],
  shapes: [
    "shapes",
    null,
    (value) => isList((s) => isList(isSide, 2)(s) && s.length === 2, 64)(value) && value.length > 0,
    "1 to 64 pairs of multiples of 32",
  ],
};

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function shown(value) {
  const text = value === undefined ? "nothing" : (JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function refuse(where, expected, got) {
  throw new Error(`${where}: expected ${expected}, got ${shown(got)}`);
}

function fieldsOf(content, table, where) {
  if (!isObject(content)) refuse(where, "an object", content);
  for (const key of Object.keys(content)) {
    if (!Object.hasOwn(table, key))
      throw new Error(`${where}: unknown key ${shown(key)}; export again, or update ehrpose`);
  }
  const found = {};
  for (const [key, [name, usual, isValid, expected]] of Object.entries(table)) {
    const isGiven = Object.hasOwn(content, key);
    const value = isGiven ? content[key] : usual;
    if ((isGiven || usual === undefined) && !isValid(value)) refuse(`${where}.${key}`, expected, value);
    if (name) found[name] = value;
  }
  return found;
}

// What Decoder and planInput need, from the JSON as text or as an object. Throws Error for what it does not know.
export function readSidecar(json) {
  let content = json;
  if (typeof json === "string") {
    if (json.length > MAX_BYTES)
      throw new Error(`sidecar: expected at most ${MAX_BYTES} characters, got ${json.length}`);
    try {
      content = JSON.parse(json);
    } catch (error) {
      throw new Error(`sidecar: expected JSON, got another text, or one that is cut off: ${error.message}`);
    }
  }
  if (!isObject(content)) refuse("sidecar", "an object", content);
  if (![1, 2].includes(content.format)) refuse("sidecar.format", "1 or 2", content.format);
  if (!isOneOf("none", "peaks")(content.decode ?? "none"))
    refuse("sidecar.decode", '"none" or "peaks"', content.decode);
  if (content.backend !== "onnxruntime") refuse("sidecar.backend", '"onnxruntime"', content.backend);
  if (!isText(content.name)) refuse("sidecar.name", "text", content.name);
  const decode = content.decode ?? "none";
  const { settings, skeleton } = codecOf(content.codec);
  if (decode === "peaks" && settings.minScore < 0)
    refuse("sidecar.codec.min_score", 'at least 0 with decode "peaks"', settings.minScore);
  const outputs = decode === "peaks" ? PEAKS : mapNames(settings);
  if (
    !isObject(content.outputs) ||
    !Object.values(content.outputs).every(isShape) ||
    [...outputs].sort().join() !== Object.keys(content.outputs).sort().join()
  ) {
    refuse("sidecar.outputs", `the shapes of ${outputs.join(", ")}`, content.outputs && Object.keys(content.outputs));
  }
  if (!isObject(content.sha256) || !Object.keys(content.sha256).length)
    refuse("sidecar.sha256", "names of files", content.sha256);
  return {
    name: content.name,
    decode,
    outputs,
    input: inputOf(content.input),
    settings,
    skeleton,
    files: Object.keys(content.sha256),
  };
}

function mapNames({ strides, tagStrides }) {
  const heat = strides.map((stride) => `heat${stride}`);
  return [...heat, ...tagStrides.map((stride) => `tag${stride}`)];
}

function codecOf(content) {
  if (!isObject(content)) refuse("sidecar.codec", "an object", content);
  const { type, ...rest } = content;
  if (type !== "AssociativeEmbedding")
    refuse("sidecar.codec.type", '"AssociativeEmbedding", the only codec of this decoder', type);
  const { keypoints, ...options } = rest;
  const skeleton = keypointsOf(keypoints);
  const settings = fieldsOf(options, CODEC, "sidecar.codec");
  const levels = settings.strides.join();
  const allowed = { 4: ["4"], "4,2": ["4", "4,2"], 2: ["2"] }[levels];
  if (!allowed) refuse("sidecar.codec.strides", CODEC.strides[3], settings.strides);
  if (!allowed.includes(settings.tagStrides.join()))
    refuse("sidecar.codec.tag_strides", allowed.map((s) => `[${s}]`).join(" or "), settings.tagStrides);
  if (settings.cellOffset !== 0.5 && (settings.unbiased || levels === "4,2")) {
    refuse("sidecar.codec.cell_offset", "0.5 with unbiased targets or two levels", settings.cellOffset);
  }
  const { names, order, mirrored, limbs: skeletonOf, sigmas, limbLengths } = skeleton;
  return {
    settings: {
      ...settings,
      minScore: f32(settings.minScore),
      numTypes: names.length,
      order,
      mirrored,
      skeleton: skeletonOf,
      sigmas,
      limbLengths,
    },
    skeleton,
  };
}

function keypointsOf(content) {
  const where = "sidecar.codec.keypoints";
  const found = fieldsOf(content, KEYPOINTS, where);
  const { names } = found;
  const count = names.length;
  if (!count || new Set(names).size !== count) refuse(`${where}.names`, "at least one, all distinct", names);
  const index = (name, key) => {
    const at = names.indexOf(name);
    if (at < 0) refuse(`${where}.${key}`, "names of keypoints", name);
    return at;
  };
  if (found.sigmas.length !== count) refuse(`${where}.sigmas`, `${count} numbers`, found.sigmas);
  const order = (found.order?.length ? found.order : names).map((name) => index(name, "order"));
  if (order.length !== count || new Set(order).size !== count)
    refuse(`${where}.order`, "each keypoint once", found.order);
  const limbs = found.limbs.map((pair) => pair.map((name) => index(name, "skeleton")));
  const mirrored = names.map((_, k) => k);
  for (const pair of found.swap) {
    const [a, b] = pair.map((name) => index(name, "swap"));
    if (a === b || mirrored[a] !== a || mirrored[b] !== b) refuse(`${where}.swap`, "each keypoint once", pair);
    mirrored[a] = b;
    mirrored[b] = a;
  }
  for (const [key, list, length] of [
    ["keypoint_colors", found.keypointColors, count],
    ["limb_colors", found.limbColors, limbs.length],
    ["limb_lengths", found.limbLengths, limbs.length],
  ]) {
    if (list && list.length !== length) refuse(`${where}.${key}`, `${length} entries`, list);
  }
  const sigmas = found.sigmas.map((sigma) => f32(sigma));
  return { ...found, order, limbs, mirrored, sigmas };
}

function inputOf(content) {
  const found = fieldsOf(content, INPUT, "sidecar.input");
  const { shape, layout } = found;
  const wh = layout === "NCHW" ? [shape[3], shape[2]] : [shape[2], shape[1]];
  if (shape.length !== 4 || shape[0] !== 1 || shape[layout === "NCHW" ? 1 : 3] !== 3 || !wh.every(isSide)) {
    refuse("sidecar.input.shape", "one photo of three colours, with sides that are multiples of 32", shape);
  }
  const sides = found.sides && fieldsOf(found.sides, SIDES, "sidecar.input.sides");
  if (sides && found.shapes) refuse("sidecar.input", "either sides or shapes", ["sides", "shapes"]);
  const shapesWh = sides ? [] : (found.shapes ?? [[wh[1], wh[0]]]).map(([height, width]) => [width, height]);
  const sizes = sides ? [[sides.short, sides.short * sides.maxAspect]] : shapesWh;
  if (Math.max(...sizes.map(([width, height]) => width * height)) > MAX_PIXELS)
    refuse("sidecar.input", `at most ${MAX_PIXELS} px`, sizes);
  return { ...found, wh, sides, shapesWh };
}

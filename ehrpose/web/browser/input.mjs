// From a photo to the network's input: deploy/network_input.py and image_warp.py. A canvas would scale by other rules,
// so pixels are interpolated here, in float64: at most one level of 255 off what OpenCV 5 computes.

const MAX_WARP_SCALE = 0.5; // below, blocks of pixels are averaged first

// What a photo of `photoWh` px becomes: { wh, dims, warp: { scale, x, y } }; input px = scale * photo px + (x, y).
export function planInput(photoWh, input) {
  if (
    !Array.isArray(photoWh) ||
    photoWh.length !== 2 ||
    !photoWh.every((side) => Number.isInteger(side) && side > 0)
  ) {
    throw new Error(`photo: expected width and height above 0, got ${JSON.stringify(photoWh)}`);
  }
  let best = null;
  for (const wh of input.sides ? [null] : input.shapesWh) {
    const plan = wh ? letterbox(photoWh, wh) : sidesOf(photoWh, input.sides);
    const isLarger =
      best &&
      (plan.warp.scale > best.warp.scale ||
        (plan.warp.scale === best.warp.scale && plan.wh[0] * plan.wh[1] < best.wh[0] * best.wh[1]));
    if (!best || isLarger) best = plan;
  }
  const [width, height] = best.wh;
  return { ...best, dims: input.layout === "NCHW" ? [1, 3, height, width] : [1, height, width, 3] };
}

function centred(photoWh, wh, scale) {
  const [x, y] = wh.map((side, i) => (side - 1) / 2 - scale * ((photoWh[i] - 1) / 2));
  return { wh, warp: { scale, x, y } };
}

const letterbox = (photoWh, wh) => centred(photoWh, wh, Math.min(wh[0] / photoWh[0], wh[1] / photoWh[1]));

function sidesOf(photoWh, { short, divisor, maxAspect, side }) {
  const [width, height] = photoWh;
  const byHeight = side === "height" || width > height;
  const [first, second] = byHeight ? [height, width] : [width, height];
  // Rounded first: 64.0000001, which is 64 up to floating-point error, must not become 128.
  const roundUp = (length) => Math.max(1, Math.ceil(Math.round((length / divisor) * 1e6) / 1e6)) * divisor;
  let filled = roundUp(short);
  let scale = filled / first;
  if (scale * second > maxAspect * filled) {
    scale = (maxAspect * filled) / second;
    filled = roundUp(scale * first);
  }
  const other = roundUp(scale * second);
  if (side === "height") return centred(photoWh, [Math.max(other, filled), filled], scale);
  return centred(photoWh, width <= height ? [filled, other] : [other, filled], scale);
}

// The input, Uint8Array or Float32Array of plan.dims. `photo`: ImageData, or { data, width, height } of RGBA bytes.
export function networkInput(photo, plan, input) {
  const { data, width, height } = photo;
  if (!data || data.length !== 4 * width * height) {
    throw new Error(
      `photo: expected ${4 * width * height} bytes for ${width} x ${height} px of RGBA, got ${data?.length}`,
    );
  }
  let { scale, x, y } = plan.warp;
  let source = photo;
  let [perX, perY] = [1, 1];
  if (scale < MAX_WARP_SCALE) {
    const factor = Math.trunc(1 / Math.sqrt(scale * scale));
    source = averaged(photo, Math.max(1, even(width / factor)), Math.max(1, even(height / factor)));
    [perX, perY] = [width / source.width, height / source.height];
  }
  const [outWidth, outHeight] = plan.wh;
  const columns = placesOf(outWidth, x, scale, perX);
  const rows = placesOf(outHeight, y, scale, perY);
  const pixels =
    input.dtype === "uint8" ? new Uint8Array(3 * outWidth * outHeight) : new Float32Array(3 * outWidth * outHeight);
  const inPlanes = input.layout === "NCHW";
  const border = [input.border[2], input.border[1], input.border[0]];
  const { data: bytes, width: sourceWidth, height: sourceHeight } = source;
  const [toNext, toChannel] = inPlanes ? [1, outWidth * outHeight] : [3, 1];
  const outside = (px, py, c) =>
    px >= 0 && py >= 0 && px < sourceWidth && py < sourceHeight ? bytes[4 * (py * sourceWidth + px) + c] : border[c];
  for (let row = 0; row < outHeight; row++) {
    const top = rows.low[row];
    const fy = rows.part[row];
    const hasRows = top >= 0 && top < sourceHeight - 1;
    for (let column = 0; column < outWidth; column++) {
      const left = columns.low[column];
      const fx = columns.part[column];
      const isInside = hasRows && left >= 0 && left < sourceWidth - 1;
      const at = 4 * (top * sourceWidth + left);
      const below = at + 4 * sourceWidth;
      const place = (row * outWidth + column) * toNext;
      for (let c = 0; c < 3; c++) {
        const upperLeft = isInside ? bytes[at + c] : outside(left, top, c);
        const upperRight = isInside ? bytes[at + 4 + c] : outside(left + 1, top, c);
        const lowerLeft = isInside ? bytes[below + c] : outside(left, top + 1, c);
        const lowerRight = isInside ? bytes[below + 4 + c] : outside(left + 1, top + 1, c);
        const upper = upperLeft * (1 - fx) + upperRight * fx;
        const lower = lowerLeft * (1 - fx) + lowerRight * fx;
        pixels[place + (input.color === "RGB" ? c : 2 - c) * toChannel] = even(upper * (1 - fy) + lower * fy);
      }
    }
  }
  return pixels;
}

// Where each column or row of the input lies in the source: the pixel before, and the share of the next one.
function placesOf(count, start, scale, per) {
  const low = new Int32Array(count);
  const part = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const at = ((i - start) / scale + 0.5) / per - 0.5;
    low[i] = Math.floor(at);
    part[i] = at - low[i];
  }
  return { low, part };
}

// The nearest whole number, halves to the even one.
function even(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest === 0.5) return low + (low % 2);
  return rest > 0.5 ? low + 1 : low;
}

// A photo scaled down to a size by the mean of the area that each of its pixels covers.
function averaged({ data, width, height }, smallWidth, smallHeight) {
  const columns = sharesOf(width, smallWidth);
  const narrow = new Float64Array(3 * smallWidth);
  const sums = new Float64Array(3 * smallWidth * smallHeight);
  let last = -1;
  for (const [toRow, row, partOfRow] of sharesOf(height, smallHeight)) {
    if (row !== last) {
      narrow.fill(0);
      for (const [to, from, part] of columns) {
        const at = 4 * (row * width + from);
        for (let c = 0; c < 3; c++) narrow[3 * to + c] += part * data[at + c];
      }
      last = row;
    }
    const start = toRow * narrow.length;
    for (let i = 0; i < narrow.length; i++) sums[start + i] += partOfRow * narrow[i];
  }
  const bytes = new Uint8ClampedArray(4 * smallWidth * smallHeight);
  // OpenCV rounds halves up where it takes the mean of four.
  const rounded = width === 2 * smallWidth && height === 2 * smallHeight ? (value) => Math.floor(value + 0.5) : even;
  for (let i = 0; i < smallWidth * smallHeight; i++)
    for (let c = 0; c < 3; c++) bytes[4 * i + c] = rounded(sums[3 * i + c]);
  return { data: bytes, width: smallWidth, height: smallHeight };
}

// [small pixel, pixel, share] of the pixels that each pixel of the smaller side covers; its shares sum to 1.
function sharesOf(side, small) {
  const factor = side / small;
  const found = [];
  for (let to = 0; to < small; to++) {
    const [start, end] = [to * factor, Math.min((to + 1) * factor, side)];
    for (let from = Math.floor(start); from < end; from++) {
      const part = (Math.min(end, from + 1) - Math.max(start, from)) / (end - start);
      if (part > 1e-9) found.push([to, from, part]);
    }
  }
  return found;
}

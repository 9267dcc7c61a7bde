// What the worker takes and what it finds, as draw.js and the saved JSON have it.

// A person in the format of the Python package.
export function describe({ keypoints, score }) {
  const round = (value, digits) => Number(value.toFixed(digits));
  const found = keypoints.filter((point) => point.score > 0);
  const box = [
    ["x", Math.min],
    ["y", Math.min],
    ["x", Math.max],
    ["y", Math.max],
  ].map(([axis, most]) =>
    found.length
      ? round(
          found.map((point) => point[axis]).reduce((a, b) => most(a, b)),
          2,
        )
      : 0,
  );
  return {
    keypoints: keypoints.map(({ x, y }) => [round(x, 2), round(y, 2)]),
    keypoint_scores: keypoints.map((point) => round(point.score, 4)),
    bbox: [box],
    bbox_score: round(score, 4),
  };
}

export function skeletonOf({ names, limbs, keypointColors, limbColors }) {
  const usual = [51, 153, 255];
  return {
    names,
    limbs,
    keypoint_colors: keypointColors ?? names.map(() => usual),
    limb_colors: limbColors ?? limbs.map(() => usual),
  };
}

// The heatmap as a picture over the photo: blue to red, clear where it is zero.
export function pictureOf({ values, width, height, box }, photoWidth, photoHeight) {
  const pixels = new ImageData(width, height);
  values.forEach((value, i) => {
    const share = value / 255;
    const ramp = (middle) => 255 * Math.min(Math.max(1.5 - Math.abs(4 * share - middle), 0), 1);
    pixels.data.set([ramp(3), ramp(2), ramp(1), Math.min(2 * value, 215)], 4 * i);
  });
  const small = new OffscreenCanvas(width, height);
  small.getContext("2d").putImageData(pixels, 0, 0);
  const whole = new OffscreenCanvas(photoWidth, photoHeight);
  whole.getContext("2d").drawImage(small, ...box);
  return whole;
}

// The RGBA pixels of a picture or of a video's frame.
export function pixelsOf(source, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(source, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

// People on a canvas. Sizes follow the picture and the person, as in ehrpose.visualization.drawing.

const rgb = (color) => `rgb(${color.join(",")})`;

function lineWidth(person, width, height, threshold) {
  const byImage = Math.max(width, height) / 250;
  const shown = person.keypoints.filter((_, k) => person.keypoint_scores[k] >= threshold);
  if (shown.length < 2) return Math.max(1, byImage);
  const xs = shown.map((p) => p[0]);
  const ys = shown.map((p) => p[1]);
  const extent = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys));
  return Math.min(Math.max(extent / 60, Math.max(1, 0.35 * byImage)), Math.max(1.5, 1.6 * byImage));
}

function drawPerson(context, person, skeleton, options, width, height, isChosen) {
  const unit = lineWidth(person, width, height, options.keypointThreshold) * (isChosen ? 1.6 : 1);
  const isShown = (k) => person.keypoint_scores[k] >= options.keypointThreshold && person.keypoint_scores[k] > 0;
  context.lineCap = "round";
  if (options.boxes || isChosen) {
    const [x0, y0, x1, y1] = person.bbox[0];
    context.strokeStyle = "rgb(220,220,0)";
    context.lineWidth = Math.max(1, 0.7 * unit);
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
  if (options.limbs) {
    context.lineWidth = unit;
    skeleton.limbs.forEach(([a, b], i) => {
      if (!isShown(a) || !isShown(b)) return;
      context.strokeStyle = rgb(skeleton.limb_colors[i]);
      context.beginPath();
      context.moveTo(...person.keypoints[a]);
      context.lineTo(...person.keypoints[b]);
      context.stroke();
    });
  }
  person.keypoints.forEach(([x, y], k) => {
    if (!isShown(k)) return;
    if (options.points) {
      context.beginPath();
      context.arc(x, y, 1.1 * unit + 1, 0, 2 * Math.PI);
      context.fillStyle = "white";
      context.fill();
      context.beginPath();
      context.arc(x, y, 1.1 * unit, 0, 2 * Math.PI);
      context.fillStyle = rgb(skeleton.keypoint_colors[k]);
      context.fill();
    }
    if (options.names) {
      context.font = `${Math.max(10, 4 * unit)}px system-ui, sans-serif`;
      context.lineWidth = 3;
      context.strokeStyle = "rgba(0,0,0,0.75)";
      context.fillStyle = "white";
      const name = skeleton.names[k].replaceAll("_", " ");
      context.strokeText(name, x + 2 * unit, y - unit);
      context.fillText(name, x + 2 * unit, y - unit);
    }
  });
}

export function peopleShown(result, options) {
  return result.people.filter((person) => person.bbox_score >= options.personThreshold);
}

export function draw(canvas, picture, result, options, heatmap, chosen) {
  const width = result ? result.width : picture.width;
  const height = result ? result.height : picture.height;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, width, height);
  if (options.heatmap && heatmap) context.drawImage(heatmap, 0, 0, width, height);
  if (!result) return;
  peopleShown(result, options).forEach((person, i) => {
    drawPerson(context, person, result.skeleton, options, width, height, i === chosen);
  });
}

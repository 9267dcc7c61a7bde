// The page: photos, videos and the camera are read here, found people drawn. Nothing is sent anywhere.

import { draw, peopleShown } from "./draw.js";
import { describe, pictureOf, pixelsOf, skeletonOf } from "./results.mjs";
import { ask } from "./tasks.mjs";

const MAX_PIXELS = 50e6;
const $ = (id) => document.getElementById(id);
const state = {
  models: [],
  photo: null,
  picture: null,
  result: null,
  heatmap: null,
  chosen: -1,
  running: null,
  request: 0,
  engine: "",
};

const options = () => ({
  personThreshold: Number($("person-thr").value),
  keypointThreshold: Number($("keypoint-thr").value),
  limbs: $("show-limbs").checked,
  points: $("show-points").checked,
  boxes: $("show-boxes").checked,
  names: $("show-names").checked,
  heatmap: $("show-heatmap").checked,
});

function showError(message) {
  $("error").textContent = message ?? "";
  $("error").hidden = !message;
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function render() {
  const chosen = options();
  $("person-value").textContent = chosen.personThreshold.toFixed(2);
  $("keypoint-value").textContent = chosen.keypointThreshold.toFixed(2);
  if (!state.picture) return;
  redraw();
  if (!state.result) return;
  const people = peopleShown(state.result, chosen);
  const count = people.length === 1 ? "1 person" : `${people.length} people`;
  $("count").textContent = count;
  $("canvas").setAttribute("aria-label", `Photo with ${count} drawn`);
  $("people").replaceChildren(...people.map(personRow));
  const { prepared, network, decoded } = state.result.times;
  const rows = [
    ["scaling the photo", prepared],
    ["network", network],
    ["grouping", decoded],
  ];
  $("times").replaceChildren(
    ...rows.flatMap(([name, ms]) => [element("dt", name), element("dd", `${ms.toFixed(1)} ms`)]),
  );
  $("times").hidden = false;
}

function redraw() {
  if (state.picture) draw($("canvas"), state.picture, state.result, options(), state.heatmap, state.chosen);
}

function personRow(person, i) {
  const row = element("li", undefined, i === state.chosen ? "chosen" : "");
  const bar = element("span", undefined, "bar");
  const filled = element("i");
  filled.style.width = `${Math.round(100 * Math.min(1, person.bbox_score))}%`;
  bar.append(filled);
  row.append(element("span", `${i + 1}`), bar, element("span", person.bbox_score.toFixed(2), "score"));
  row.addEventListener("pointerenter", () => {
    state.chosen = i;
    redraw();
  });
  row.addEventListener("pointerleave", () => {
    state.chosen = -1;
    redraw();
  });
  return row;
}

function showStage() {
  $("empty").hidden = true;
  $("canvas").hidden = false;
  $("actions").hidden = false;
  $("drop").classList.add("filled");
}

// Finds people in RGBA pixels, which are given away, and draws them on a picture of the same size.
async function find(pixels, picture) {
  const { width, height } = pixels;
  const model = $("model").value;
  const answer = await ask({ photo: pixels, heat: $("show-heatmap").checked }, [pixels.data.buffer]);
  const result = {
    people: answer.people.map(describe),
    skeleton: skeletonOf(answer.skeleton),
    width,
    height,
    times: answer.times,
    model,
  };
  const heatmap = answer.heat ? pictureOf(answer.heat, width, height) : null;
  return { picture, result, heatmap, chosen: -1 };
}

async function open(file) {
  stop();
  showError(null);
  if (file.type.startsWith("video/")) {
    await openVideo(file);
    return;
  }
  try {
    // For the network colours as they are stored, as the Python package reads them.
    const picture = await createImageBitmap(file);
    const stored = await createImageBitmap(file, { colorSpaceConversion: "none" });
    await openPhoto({ picture, stored });
  } catch (error) {
    const foreign = error.name === "InvalidStateError" || error.name === "EncodingError";
    showError(foreign ? "This browser cannot read that file as a photo." : error.message);
  }
}

async function openPhoto(photo) {
  const { width, height } = photo.picture;
  if (width * height > MAX_PIXELS)
    throw new Error(
      `This photo has ${((width * height) / 1e6).toFixed(0)} megapixels; the limit is ${MAX_PIXELS / 1e6}.`,
    );
  const number = ++state.request;
  $("busy").hidden = false;
  try {
    const found = await find(pixelsOf(photo.stored, width, height), photo.picture);
    if (number !== state.request) return;
    Object.assign(state, found, { photo });
    showStage();
    $("status").textContent = `${state.result.model}, ${width} x ${height} px, ${state.engine}`;
    render();
  } finally {
    if (number === state.request) $("busy").hidden = true;
  }
}

async function again() {
  if (!state.photo || state.running) {
    render();
    return;
  }
  try {
    showError(null);
    await openPhoto(state.photo);
  } catch (error) {
    showError(error.message);
  }
}

async function openExample() {
  try {
    const response = await fetch("example.jpg");
    if (!response.ok) throw new Error(`The example could not be loaded: the server answered ${response.status}.`);
    await open(await response.blob());
  } catch (error) {
    showError(error.message);
  }
}

async function openVideo(file) {
  const video = $("video");
  const url = URL.createObjectURL(file);
  video.src = url;
  const end = () => {
    video.removeAttribute("src");
    URL.revokeObjectURL(url);
  };
  await follow("video", end, "This browser cannot play that file.");
}

async function startCamera() {
  stop();
  showError(null);
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640 }, audio: false });
  } catch (error) {
    const denied = error.name === "NotAllowedError";
    const insecure = !window.isSecureContext;
    showError(
      insecure
        ? "Browsers give cameras to pages with https:// addresses, or on this machine, only."
        : denied
          ? "The browser blocks the camera for this page."
          : `Cannot open a camera: ${error.message}`,
    );
    return;
  }
  $("video").srcObject = stream;
  await follow(
    "camera",
    () => {
      stream.getTracks().forEach((track) => track.stop());
      $("video").srcObject = null;
    },
    "The camera sends no pictures.",
  );
}

// Finds people in the newest frame of the video element, again and again.
async function follow(what, end, failure) {
  const video = $("video");
  const run = { end };
  state.running = run;
  state.request += 1;
  Object.assign(state, { photo: null, result: null, heatmap: null });
  try {
    try {
      await video.play();
    } catch {
      throw new Error(failure);
    }
    if (state.running !== run) return;
    $("stop").hidden = false;
    const recent = [];
    let last = -1;
    while (state.running === run) {
      if (video.currentTime === last && !video.ended) {
        // no new frame yet
        await new Promise((resolve) => {
          setTimeout(resolve, 5);
        });
        continue;
      }
      last = video.currentTime;
      const { videoWidth: width, videoHeight: height } = video;
      const pixels = pixelsOf(video, width, height);
      const found = await find(pixels, await createImageBitmap(pixels));
      if (state.running !== run) return;
      state.picture?.close?.();
      Object.assign(state, found);
      showStage();
      recent.push(performance.now());
      if (recent.length > 20) recent.shift();
      const seconds = (recent[recent.length - 1] - recent[0]) / 1000;
      const rate = recent.length > 1 ? `${((recent.length - 1) / seconds).toFixed(1)} frames/s` : "...";
      $("status").textContent = `${state.result.model}, ${what}, ${rate}, ${state.engine}`;
      render();
      if (video.ended) break;
    }
  } catch (error) {
    if (state.running === run) showError(error.message);
  }
  if (state.running === run) stop();
}

function stop() {
  const { running } = state;
  if (!running) return;
  state.running = null;
  $("video").pause();
  running.end();
  $("stop").hidden = true;
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function openModel() {
  const model = state.models.find(({ name }) => name === $("model").value);
  $("loading").textContent = `Loading the model ${model.name} ...`;
  $("loading").hidden = false;
  try {
    const wanted = new URLSearchParams(location.search).get("engine"); // ?engine=wasm, or webgpu
    const { engine, hasMaps } = await ask({ model, engine: wanted });
    if ($("model").value !== model.name) return;
    state.engine = engine;
    $("show-heatmap").disabled = !hasMaps;
    $("loading").hidden = true;
    await again();
  } catch (error) {
    $("loading").hidden = true;
    showError(error.message);
  }
}

async function loadModels() {
  const response = await fetch("models.json", { cache: "no-cache" });
  if (!response.ok)
    throw new Error(`The list of models could not be loaded: the server answered ${response.status}.`);
  state.models = (await response.json()).models;
  $("model").replaceChildren(...state.models.map(({ name }) => new Option(name, name)));
  await openModel();
}

function listen() {
  for (const id of ["person-thr", "keypoint-thr", "show-limbs", "show-points", "show-boxes", "show-names"]) {
    $(id).addEventListener("input", render);
  }
  $("show-heatmap").addEventListener("input", again);
  $("file").addEventListener("change", () => {
    if ($("file").files.length) open($("file").files[0]);
    $("file").value = "";
  });
  $("example").addEventListener("click", openExample);
  $("camera").addEventListener("click", startCamera);
  $("camera2").addEventListener("click", startCamera);
  $("stop").addEventListener("click", stop);
  $("save-json").addEventListener("click", () => {
    if (state.result)
      save(
        new Blob([JSON.stringify(peopleShown(state.result, options()))], { type: "application/json" }),
        "people.json",
      );
  });
  $("save-picture").addEventListener("click", () => $("canvas").toBlob((blob) => save(blob, "people.png")));
  $("model").addEventListener("change", openModel);
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.remove("over");
    });
  }
  document.addEventListener("drop", (event) => {
    if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const item = [...event.clipboardData.items].find(({ type }) => type.startsWith("image/"));
    if (item) open(item.getAsFile());
  });
}

listen();
render();
loadModels().catch((error) => {
  $("loading").hidden = true;
  showError(error.message);
});

import { draw, peopleShown } from "/static/draw.js";

const $ = (id) => document.getElementById(id);
const state = { blob: null, picture: null, result: null, heatmap: null, chosen: -1, stream: null, request: 0, limits: null, open: new Set(), follows: false };

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

async function errorOf(response) {
  try {
    return (await response.json()).error ?? response.statusText;
  } catch {
    return response.status === 400 ? "The server refused the request." : `The server returned status ${response.status}.`;
  }
}

// The token stays in this tab, until it is closed.
async function request(path, options = {}) {
  const token = sessionStorage.getItem("token");
  let response;
  try {
    response = await fetch(path, { ...options, headers: token ? { Authorization: `Bearer ${token}` } : {} });
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (response.status === 401) {
    $("token-form").hidden = false;
    $("token").focus();
    throw new Error(token ? "The server does not accept this token." : "");
  }
  if (!response.ok) throw new Error(await errorOf(response));
  return response;
}

function post(path, blob) {
  const query = new URLSearchParams($("model").value ? { model: $("model").value } : {});
  return request(`${path}?${query}`, { method: "POST", body: blob });
}

async function loadModels() {
  try {
    const { models, limits } = await (await request("/api/models")).json();
    state.limits = limits;
    $("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
    followLoading();
    if (!$("token-form").hidden) showError(null);
    $("token-form").hidden = true;
  } catch (error) {
    showError(error.message);
  }
}

// Says that the chosen model is loading, until it is there or no photo waits for it any more.
async function followLoading() {
  if (state.follows) return;
  state.follows = true;
  try {
    for (;;) {
      const { models } = await (await request("/api/models")).json();
      for (const { name, state: now } of models) state.open[now === "open" ? "add" : "delete"](name);
      const chosen = models.find(({ name }) => name === $("model").value);
      const waits = !$("busy").hidden || state.stream !== null;
      const loads = chosen?.state === "loading";
      const next = waits ? "Your photo is next." : "You can already choose a photo.";
      $("loading").textContent = loads ? `Loading the model ${chosen.name} ... ${next}` : "";
      $("loading").hidden = !loads;
      if (!loads && (!waits || chosen?.state !== "closed")) return;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  } catch {
    $("loading").hidden = true; // the request for the photo reports what is wrong
  } finally {
    state.follows = false;
  }
}

function enterToken(event) {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value.trim());
  $("token").value = "";
  loadModels();
}

function render() {
  const chosenOptions = options();
  $("person-value").textContent = chosenOptions.personThreshold.toFixed(2);
  $("keypoint-value").textContent = chosenOptions.keypointThreshold.toFixed(2);
  if (!state.picture) return;
  draw($("canvas"), state.picture, state.result, chosenOptions, state.heatmap, state.chosen);
  if (!state.result) return;
  const people = peopleShown(state.result, chosenOptions);
  const count = people.length === 1 ? "1 person" : `${people.length} people`;
  $("count").textContent = count;
  $("canvas").setAttribute("aria-label", `Photo with ${count} drawn`);
  $("people").replaceChildren(...people.map((person, i) => personRow(person, i)));
  const { read, find, total } = state.result.times_ms;
  const rows = [["decoding", read], ["inference", find], ["total, on the server", total]];
  $("times").replaceChildren(...rows.flatMap(([name, ms]) => [element("dt", name), element("dd", `${ms.toFixed(1)} ms`)]));
  $("times").hidden = false;
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function personRow(person, i) {
  const row = element("li", undefined, i === state.chosen ? "chosen" : "");
  const bar = element("span", undefined, "bar");
  const filled = element("i");
  filled.style.width = `${Math.round(100 * Math.min(1, person.bbox_score))}%`;
  bar.append(filled);
  row.append(element("span", `${i + 1}`), bar, element("span", person.bbox_score.toFixed(2), "score"));
  row.addEventListener("pointerenter", () => { state.chosen = i; redrawOnly(); });
  row.addEventListener("pointerleave", () => { state.chosen = -1; redrawOnly(); });
  return row;
}

function redrawOnly() {
  if (state.picture) draw($("canvas"), state.picture, state.result, options(), state.heatmap, state.chosen);
}

function showStage() {
  $("empty").hidden = true;
  $("canvas").hidden = false;
  $("actions").hidden = false;
  $("drop").classList.add("filled");
}

async function open(blob) {
  stopCamera();
  const limit = state.limits?.max_bytes;
  if (limit && blob.size > limit) {
    showError(`This file has ${(blob.size / 1e6).toFixed(1)} MB; the limit is ${limit / 1e6} MB.`);
    return;
  }
  let picture;
  try {
    picture = await createImageBitmap(blob);
  } catch {
    picture = null; // the server may still support the format, or report what is wrong
  }
  await find(blob, picture);
}

async function find(blob, picture) {
  const number = ++state.request;
  $("busy").hidden = false;
  showError(null);
  if (!state.open.has($("model").value)) followLoading();
  try {
    const result = await (await post("/api/predict", blob)).json();
    if (number !== state.request) return;
    if (!picture) throw new Error("The server found people, but this browser cannot display that format.");
    Object.assign(state, { blob, picture, result, heatmap: null, chosen: -1 });
    showStage();
    $("status").textContent = `${result.model}, ${result.width} x ${result.height} px`;
    render();
    await fetchHeatmap();
  } catch (error) {
    if (number === state.request) showError(error.message);
  } finally {
    if (number === state.request) $("busy").hidden = true;
  }
}

async function openExample() {
  try {
    await open(await (await request("/static/example.jpg")).blob());
  } catch (error) {
    showError(error.message);
  }
}

async function fetchHeatmap() {
  if (!$("show-heatmap").checked || !state.blob || state.heatmap || state.stream) return render();
  try {
    const blob = state.blob;
    const heatmap = await createImageBitmap(await (await post("/api/heatmap", blob)).blob());
    if (blob === state.blob) state.heatmap = heatmap;
  } catch (error) {
    showError(error.message);
  }
  return render();
}

async function startCamera() {
  showError(null);
  try {
    state.stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640 }, audio: false });
  } catch (error) {
    state.stream = null;
    const denied = error.name === "NotAllowedError";
    showError(denied ? "The browser blocks the camera for this page." : `Cannot open a camera: ${error.message}`);
    return;
  }
  const video = $("video");
  video.srcObject = state.stream;
  await video.play();
  Object.assign(state, { blob: null, result: null, heatmap: null });
  showStage();
  $("stop").hidden = false;
  followLoading();
  followCamera(video, state.stream);
}

async function followCamera(video, stream) {
  const still = document.createElement("canvas");
  const recent = [];
  while (state.stream === stream) {
    still.width = video.videoWidth;
    still.height = video.videoHeight;
    still.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => still.toBlob(resolve, "image/jpeg", 0.9));
    try {
      const result = await (await post("/api/predict", blob)).json();
      if (state.stream !== stream) return;
      const picture = await createImageBitmap(blob);
      Object.assign(state, { blob, picture, result, heatmap: null });
    } catch (error) {
      stopCamera();
      showError(error.message);
      return;
    }
    recent.push(performance.now());
    if (recent.length > 20) recent.shift();
    const seconds = (recent.at(-1) - recent[0]) / 1000;
    const rate = recent.length > 1 ? `${((recent.length - 1) / seconds).toFixed(1)} frames/s` : "...";
    $("status").textContent = `${state.result.model}, camera, ${rate}`;
    render();
  }
}

function stopCamera() {
  if (!state.stream) return;
  state.stream.getTracks().forEach((track) => track.stop());
  state.stream = null;
  $("video").srcObject = null;
  $("stop").hidden = true;
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function saveJson() {
  if (!state.result) return;
  const people = peopleShown(state.result, options());
  save(new Blob([JSON.stringify(people)], { type: "application/json" }), "people.json");
}

async function start() {
  for (const id of ["person-thr", "keypoint-thr", "show-limbs", "show-points", "show-boxes", "show-names"]) {
    $(id).addEventListener("input", render);
  }
  $("show-heatmap").addEventListener("input", fetchHeatmap);
  $("file").addEventListener("change", () => {
    if ($("file").files.length) open($("file").files[0]);
    $("file").value = "";
  });
  $("example").addEventListener("click", openExample);
  $("camera").addEventListener("click", startCamera);
  $("camera2").addEventListener("click", startCamera);
  $("stop").addEventListener("click", stopCamera);
  $("save-json").addEventListener("click", saveJson);
  $("save-picture").addEventListener("click", () => $("canvas").toBlob((blob) => save(blob, "people.png")));
  $("model").addEventListener("change", () => { if (state.blob && !state.stream) find(state.blob, state.picture); });
  const drop = $("drop");
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const kind of ["dragleave", "drop"]) {
    document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.remove("over"); });
  }
  document.addEventListener("drop", (event) => { if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]); });
  document.addEventListener("paste", (event) => {
    const item = [...event.clipboardData.items].find((i) => i.type.startsWith("image/"));
    if (item) open(item.getAsFile());
  });
  $("token-form").addEventListener("submit", enterToken);
  render();
  await loadModels();
}

start();

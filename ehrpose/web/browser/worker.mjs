// Runs the network and the decoding beside the page, so that the page stays responsive. tasks.mjs starts it from a
// blob: then the page's Content-Security-Policy holds here too. A worker from a file has that of its server's headers.

import { Decoder, networkInput, planInput, readSidecar, toPhoto } from "./decoder.mjs";

const MAX_THREADS = 4; // more are slower on networks this small
const MAX_GPU_MS = 1000;
const ENGINES = {
  webgpu: ["ort/ort.webgpu.min.mjs", "ort/ort-wasm-simd-threaded.asyncify"],
  wasm: ["ort/ort.wasm.min.mjs", "ort/ort-wasm-simd-threaded"],
};
const address = (path) => new URL(path, import.meta.url).href;
let opened = null; // a promise of the last model that was asked for

async function bytesOf(path, what) {
  let response;
  try {
    response = await fetch(address(path));
  } catch {
    throw new Error(`${what} could not be loaded. Is the server still there?`);
  }
  if (!response.ok) throw new Error(`${what} could not be loaded: the server answered ${response.status}.`);
  return new Uint8Array(await response.arrayBuffer());
}

async function sessionOf(engine, network, externalData) {
  const [script, files] = ENGINES[engine];
  const ort = await import(address(script));
  const threads = self.crossOriginIsolated ? Math.min(MAX_THREADS, navigator.hardwareConcurrency || 1) : 1;
  Object.assign(ort.env.wasm, {
    numThreads: threads,
    wasmPaths: { mjs: address(`${files}.mjs`), wasm: address(`${files}.wasm`) },
  });
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(network, { executionProviders: [engine], externalData });
  const name = engine === "webgpu" ? "WebGPU" : `WebAssembly, ${threads} ${threads === 1 ? "thread" : "threads"}`;
  return { ort, session, engine: name };
}

// Whether there is a GPU that is not one in name only, computed by the processor.
async function hasGpu() {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    return Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
  } catch {
    return false;
  }
}

// A network on the GPU, or null if it does not work there or takes longer than any processor would.
async function onGpu(found, network, externalData) {
  try {
    const opened = { ...found, ...(await sessionOf("webgpu", network, externalData)) };
    const [width, height] = found.sidecar.input.wh;
    const black = { data: new Uint8ClampedArray(4 * width * height), width, height };
    await run(opened, black); // compiles
    const { times } = await run(opened, black);
    if (times.network < MAX_GPU_MS) return opened;
    await opened.session.release();
    throw new Error(`a photo takes ${times.network.toFixed(0)} ms`);
  } catch (error) {
    console.warn(`WebGPU is not used: ${error.message}`);
    return null;
  }
}

// `engine`: "wasm", or "webgpu" even where it is slow; otherwise the GPU if there is one.
async function open(model, engine) {
  const sidecar = readSidecar(new TextDecoder().decode(await bytesOf(model.sidecar, "The model's description")));
  const network = await bytesOf(model.network, "The model");
  const externalData = await Promise.all(
    model.external.map(async ({ path, file }) => ({ path, data: await bytesOf(file, "The model's weights") })),
  );
  const found = { sidecar, decoder: new Decoder(sidecar) };
  if (engine === "webgpu") return { ...found, ...(await sessionOf(engine, network, externalData)) };
  const gpu = engine !== "wasm" && (await hasGpu()) ? await onGpu(found, network, externalData) : null;
  if (gpu) return gpu;
  return { ...found, ...(await sessionOf("wasm", network, externalData)) };
}

async function run({ sidecar, decoder, ort, session }, photo, withHeat) {
  const times = [performance.now()];
  const plan = planInput([photo.width, photo.height], sidecar.input);
  const pixels = networkInput(photo, plan, sidecar.input);
  times.push(performance.now());
  const outputs = await session.run({
    [session.inputNames[0]]: new ort.Tensor(sidecar.input.dtype, pixels, plan.dims),
  });
  times.push(performance.now());
  const named = {};
  for (const [name, { data, dims }] of Object.entries(outputs)) named[name] = { data, dims: [...dims] };
  const people = toPhoto(decoder.decode(named, plan.wh), plan.warp);
  times.push(performance.now());
  const [prepared, network, decoded] = times.slice(1).map((time, i) => time - times[i]);
  const heat = withHeat && sidecar.decode === "none" ? highest(named, sidecar, plan) : null;
  return { people, times: { prepared, network, decoded }, heat };
}

// The highest value of the finest heatmaps at each pixel, 0 to 255, and where they lie in the photo.
function highest(outputs, { settings }, { wh, warp }) {
  const {
    data,
    dims: [, channels, height, width],
  } = outputs[`heat${settings.strides[settings.strides.length - 1]}`];
  const values = new Uint8Array(width * height);
  const size = width * height;
  for (let i = 0; i < channels * size; i++)
    values[i % size] = Math.max(values[i % size], Math.min(255, Math.floor(255 * data[i])));
  const box = [
    -(warp.x + 0.5) / warp.scale + 0.5,
    -(warp.y + 0.5) / warp.scale + 0.5,
    wh[0] / warp.scale,
    wh[1] / warp.scale,
  ];
  return { values, width, height, box };
}

async function answerTo({ number, model, engine, photo, heat }) {
  try {
    if (model) {
      const last = opened;
      opened = open(model, engine);
      last?.then(
        ({ session }) => session.release(),
        () => {},
      );
    }
    const current = await opened;
    const { skeleton, decode } = current.sidecar;
    const result = photo ? await run(current, photo, heat) : {};
    self.postMessage({ number, engine: current.engine, skeleton, hasMaps: decode === "none", ...result });
  } catch (error) {
    self.postMessage({ number, error: error.message || String(error) });
  }
}

// One at a time: a session cannot run twice at once.
let queue = Promise.resolve();
self.addEventListener("message", ({ data }) => {
  queue = queue.then(() => answerTo(data));
});

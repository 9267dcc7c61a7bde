// Runs the page's decoder in Node on jobs from a JSON file: node decode_jobs.mjs DECODER JOBS; a line of JSON for each.
// A job: { sidecar, outputs: { name: [file, kind, dims] }, inputWh, photoWh? }, or { sidecar, photo: [file, w, h] }.

import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [decoder, jobs] = process.argv.slice(2);
const { Decoder, networkInput, planInput, readSidecar, toPhoto } = await import(pathToFileURL(decoder));
const KINDS = { float32: Float32Array, int32: Int32Array, float64: Float64Array, uint8: Uint8Array };

function arrayOf([file, kind, dims]) {
  const bytes = readFileSync(file);
  return { data: new KINDS[kind](bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)), dims };
}

function done({ sidecar: text, outputs, inputWh, photo, photoWh }) {
  const sidecar = readSidecar(text);
  if (photo) {
    const [file, width, height] = photo;
    const plan = planInput([width, height], sidecar.input);
    const pixels = networkInput(
      { data: new Uint8ClampedArray(readFileSync(file)), width, height },
      plan,
      sidecar.input,
    );
    writeFileSync(`${file}.input`, pixels);
    return plan;
  }
  const named = Object.fromEntries(Object.entries(outputs ?? {}).map(([name, given]) => [name, arrayOf(given)]));
  const people = new Decoder(sidecar).decode(named, inputWh);
  return photoWh ? toPhoto(people, planInput(photoWh, sidecar.input).warp) : people;
}

for (const job of JSON.parse(readFileSync(jobs, "utf-8"))) {
  let answer;
  try {
    answer = done(job);
  } catch (error) {
    answer = { error: error.message, kind: error.constructor.name };
  }
  console.log(JSON.stringify(answer));
}

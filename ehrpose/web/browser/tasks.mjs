// The worker that runs the network, and what was asked of it.

const tasks = new Map();
let lastTask = 0;
const start = `import ${JSON.stringify(new URL("worker.mjs", import.meta.url).href)};`;
const worker = new Worker(URL.createObjectURL(new Blob([start], { type: "text/javascript" })), { type: "module" });
worker.addEventListener("message", ({ data }) => {
  const task = tasks.get(data.number);
  tasks.delete(data.number);
  if (data.error) task?.reject(new Error(data.error));
  else task?.resolve(data);
});
worker.addEventListener("error", (event) => {
  const error = new Error(`The page's worker failed: ${event.message || "its scripts could not be loaded"}`);
  for (const { reject } of tasks.values()) reject(error);
  tasks.clear();
});

// The worker's answer to a message; one task at a time, in order.
export function ask(message, transfer = []) {
  return new Promise((resolve, reject) => {
    lastTask += 1;
    tasks.set(lastTask, { resolve, reject });
    worker.postMessage({ ...message, number: lastTask }, transfer);
  });
}

// Whole forwards of a shape in the formats that people have on their disks, without the engine around them: tokens a
// second of decoding at several numbers of sequences, and of prompts.
//
//   deno run -A bench/quantized.ts [--device cuda|webgpu] [--model bench/shapes/qwen3-8b] [--dtypes bfloat16,int8,q4_k_m]
//     [--rows 1,8,32,64] [--prompts 512,2048] [--context 192]

import { Decoder } from "../engine/model/decoder.ts";
import { openModel } from "../engine/model/open.ts";
import { createCudaBackend } from "../kernels/cuda/backend.ts";
import type { Backend } from "../kernels/ops.ts";
import { createWebGpuBackend } from "../kernels/webgpu/backend.ts";
import { choice, readOptions, whole } from "./common/arguments.ts";
import { consecutivePages, equalPlan } from "./common/equal_plan.ts";
import { type BenchDType, loadDummy, servedDTypes } from "./common/mixture.ts";
import { figure, table } from "./common/table.ts";

const { values } = readOptions(import.meta.url, {
  options: {
    device: { type: "string", default: "cuda" },
    model: { type: "string", default: new URL("shapes/qwen3-8b", import.meta.url).pathname },
    dtypes: { type: "string", default: "bfloat16,int8,q4_k_m" },
    rows: { type: "string", default: "1,8,32,64" },
    prompts: { type: "string", default: "512,2048" },
    context: { type: "string", default: "192" },
  },
});
const numbers = (text: string, name: string) => text.split(",").filter(Boolean).map((n) => whole(n, name));
const rowCounts = numbers(values.rows, "rows"), prompts = numbers(values.prompts, "prompts");
const context = whole(values.context, "context");
const kind = choice(values.device, "device", ["cuda", "webgpu"]);
const dtypes = values.dtypes.split(",").map((name) => choice(name, "dtypes", servedDTypes));
const pageSize = 16, steps = 8;
const contextLength = Math.max(context + 64, ...prompts.map((n) => n + pageSize));
const pagesPerRow = Math.ceil(contextLength / pageSize);
const maxRows = Math.max(1, ...rowCounts);

/** Rows of results for one format. */
async function measure(backend: Backend, dtype: BenchDType): Promise<string[]> {
  const model = await openModel(values.model, { dummy: true });
  const weights = await loadDummy(model, backend, dtype);
  const decoder = new Decoder(backend, model.config, weights, { rank: 0, size: 1 }, {
    pageSize,
    numPages: maxRows * pagesPerRow,
    maxRows,
    contextLength,
    maxTokens: Math.max(maxRows, ...prompts),
    maxSamples: maxRows,
  });
  let pages = consecutivePages(maxRows, pagesPerRow);
  const record = (rows: number, cached: number, extend: number, steps: number) => {
    const plan = equalPlan({ id: 0, batch: rows, cached, extend, steps, sampled: true, pages });
    pages = []; // Set once.
    return backend.record(plan, (ops) => decoder.forward(ops));
  };
  /**
   * Milliseconds of a forward: the least of a few turns, in each of which `count` plans follow each other. As in the
   * engine, a plan is recorded while the one before it runs: for 1,500 dispatches the host takes milliseconds. It is
   * submitted when that one has been read, because WebGPU reads only when all that was submitted is done.
   */
  const time = async (rows: number, cached: number, extend: number, steps: number, count: number) => {
    const turn = async () => {
      let next = record(rows, cached, extend, steps);
      const began = performance.now();
      for (let i = 0; i < count; i++) {
        const running = next;
        running.submit();
        if (i + 1 < count) next = record(rows, cached, extend, steps);
        await running.read();
      }
      return (performance.now() - began) / count / steps;
    };
    // Loading and compiling leave the device idle, and an idle one lowers its clock: it is kept busy until that has risen.
    const until = performance.now() + 1500;
    for (let i = 0; i < 3 || performance.now() < until; i++) await turn();
    let best = Infinity;
    for (let i = 0; i < 3; i++) best = Math.min(best, await turn());
    return best;
  };
  const cells = [dtype, (backend.weightBytes / 1e9).toFixed(2)];
  for (const rows of rowCounts) cells.push(figure(rows / await time(rows, context, 1, steps, 10) * 1000));
  for (const tokens of prompts) cells.push(figure(tokens / await time(1, 0, tokens, 1, 4) * 1000));
  return cells;
}

const lines: string[][] = [];
let description = "";
for (const dtype of dtypes) {
  using backend = kind === "cuda" ? await createCudaBackend() : await createWebGpuBackend();
  description = backend.info.description;
  lines.push(await measure(backend, dtype));
}
console.log(`${values.model} on ${description} (${kind}), tokens a second\n`);
console.log(
  table(
    ["format", "GB", ...rowCounts.map((n) => `${n} sequences`), ...prompts.map((n) => `prompt ${n}`)],
    lines,
  ),
);

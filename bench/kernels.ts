// Every kernel at the shapes of real models: microseconds, GB/s or TFLOP/s, and the share of the ceiling that is
// measured in the same run.
//
//   deno run -A bench/kernels.ts [--shapes qwen3-0.6b,qwen3-8b,qwen3-14b] [--rows 1,2,4,8,16,32,64,256,2048]
//                                [--only attention] [--out FILE] [--json]
//
// A kernel's floor is the longer of two times: its least bytes at the measured rate of streaming reads, and its
// operations at the measured rate of multiply–adds; the share is that floor over the time taken. Weights rotate
// through more memory than caches hold. `bench/trace.ts` shows the kernels of one whole step instead.

import { openModel } from "../engine/model/open.ts";
import { createWebGpuBackend } from "../kernels/webgpu/backend.ts";
import { type Ceilings, measureCeilings } from "./ceilings.ts";
import { list, readOptions, whole } from "./common/arguments.ts";
import { environment } from "./common/environment.ts";
import { writeResult } from "./common/result_file.ts";
import { figure, table } from "./common/table.ts";
import { BenchDevice } from "./gpu.ts";
import { type KernelCase, kernelCases, timeCase } from "./kernel_cases.ts";

const { values: options } = readOptions(import.meta.url, {
  options: {
    shapes: { type: "string", default: "qwen3-0.6b,qwen3-8b,qwen3-14b" },
    rows: { type: "string", default: "1,2,4,8,16,32,64,256,2048" },
    batches: { type: "string", default: "1,8,32,64" },
    contexts: { type: "string", default: "128,1024,8192,32768" },
    prompts: { type: "string", default: "512,2048" },
    only: { type: "string", default: "" },
    passes: { type: "string", default: "5" },
    out: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const counts = (name: "rows" | "batches" | "contexts" | "prompts") =>
  list(options[name], (part) => whole(part, name));
const sizes = {
  rows: counts("rows"),
  batches: counts("batches"),
  contexts: counts("contexts"),
  prompts: counts("prompts"),
};
const passes = whole(options.passes, "passes");

/** One line of the result. */
interface KernelTime {
  readonly shape: string;
  readonly kernel: string;
  readonly size: string;
  readonly microseconds: number;
  readonly gigabytes_per_second: number;
  readonly teraflops: number;
  /** Of the ceiling that binds, 0 … 1. */
  readonly share: number;
}

/** The rates nothing can exceed, and a device that has been busy: an idle one runs at a fraction of its clock. */
async function ceilings(): Promise<{ description: string; rates: Ceilings }> {
  using bench = await BenchDevice.open();
  return { description: bench.description, rates: measureCeilings(bench) };
}

function judge(shape: string, one: KernelCase, microseconds: number, rates: Ceilings): KernelTime {
  const { kernel, size, bytes, operations } = one;
  const arithmetic = Math.max(rates.f16, rates.f32);
  const floor = Math.max(bytes / rates.read / 1e3, operations / arithmetic / 1e6);
  return {
    shape,
    kernel,
    size,
    microseconds,
    gigabytes_per_second: bytes / microseconds / 1e3,
    teraflops: operations / microseconds / 1e6,
    share: floor / microseconds,
  };
}

const { description, rates } = await ceilings();
const times: KernelTime[] = [];
for (const shape of options.shapes.split(",")) {
  const { config } = await openModel(`bench/shapes/${shape}`, { dummy: true });
  using backend = await createWebGpuBackend();
  const cases = kernelCases(backend, config, sizes).filter(({ kernel }) => kernel.includes(options.only));
  // Once around first: pipelines are made, and the clock rises.
  for (const one of cases) await timeCase(backend, one, 1);
  for (const one of cases) times.push(judge(shape, one, await timeCase(backend, one, passes), rates));
}

const result = { environment: await environment(), device: description, ceilings: rates, kernels: times };
if (options.out !== undefined) await writeResult(options.out, result);
if (options.json) {
  console.log(JSON.stringify(result, null, 2));
} else {
  console.log(
    `${description}: reads ${figure(rates.read)} GB/s; multiply–adds ${figure(rates.f32)} TFLOP/s in f32, ${
      figure(rates.f16)
    } in packed f16; dot4I8Packed ${figure(rates.dot4)} TOP/s; ${figure(rates.dispatch)} µs a dispatch\n`,
  );
  console.log(table(
    ["kernel", "size", "µs", "GB/s", "TFLOP/s", "share"],
    times.map((t) => [
      `${t.shape} ${t.kernel}`,
      t.size,
      figure(t.microseconds),
      figure(t.gigabytes_per_second),
      figure(t.teraflops),
      `${(100 * t.share).toFixed(0)} %`,
    ]),
  ));
}
Deno.exit(0);

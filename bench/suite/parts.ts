// What the suite measures: each part is a command of this repository, and how to read its output. The order is the
// order of importance, since a time budget may cut the end off.

import { z } from "zod";

/** One number of the table. */
export interface Figure {
  /** The same in every run, so that runs can be compared. */
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

/** What a part's output says. */
export interface Reading {
  readonly figures: readonly Figure[];
  /** Kept in the result file. */
  readonly raw: unknown;
}

export interface Part {
  readonly name: string;
  /** Arguments for Deno. */
  readonly args: readonly string[];
  /** Decides whether anything else is worth believing. */
  readonly isCheck?: boolean;
  /** @throws {Error} when the output is not what it should be */
  read(output: { readonly stdout: string; readonly code: number | null }): Reading;
}

export interface SuiteOptions {
  readonly device: "auto" | "cuda" | "webgpu" | "cpu";
  readonly threads: number | null;
  /** Take nothing from the network. */
  readonly cachedOnly: boolean;
  /** Folder with the small model's config.json, and of all the shapes. */
  readonly model: string;
  readonly shapes: string;
  readonly batches: readonly number[];
  /** The batches that are also measured without overlap. */
  readonly plainBatches: readonly number[];
  readonly prompt: number;
  readonly context: number;
  /** Tokens of an answer, and repetitions of everything. */
  readonly tokens: number;
  readonly repeat: number;
  readonly requests: number;
  /** Of the offline workload, in tokens. */
  readonly minTokens: number;
  readonly maxTokens: number;
}

/** Parts that only a GPU has. */
export const gpuParts: readonly string[] = ["products", "trace"];

/** Parts that time WGSL kernels, whatever the device. */
export const webGpuParts: readonly string[] = ["products"];

/** Models that are only measured when asked for. */
export const largeShapes = ["qwen3-14b", "llama-3.1-8b", "qwen3-30b-a3b"] as const;

const benchOutput = z.object({
  device: z.string(),
  load_milliseconds: z.number(),
  weight_bytes: z.number(),
  measurements: z.array(z.object({
    what: z.enum(["prefill", "decode"]),
    size: z.number(),
    tokens_per_second: z.number(),
    milliseconds: z.number(),
  })).min(1),
});

const offlineOutput = z.object({
  runs: z.array(z.object({
    seconds: z.number(),
    output_tokens_per_second: z.number(),
    total_tokens_per_second: z.number(),
    steps: z.number(),
    busy_share: z.number(),
  })).length(1),
});

/** Every part there is, in order. */
export function suiteParts(options: SuiteOptions): Part[] {
  const small = { model: options.model, label: nameOf(options.model) };
  const eight = { model: `${options.shapes}/qwen3-8b`, label: "qwen3-8b" };
  return [
    correctness(options),
    bench(options, { ...small, name: "decode", prompts: [options.prompt], batches: options.batches }),
    offline(options, true),
    bench(options, { ...eight, name: "8b", prompts: [options.prompt], batches: [1], repeat: 3, sizes: true }),
    products(options, eight),
    generate(options, "pocket", "pocket", ["--max-tokens", "400", "How are you?"]),
    generate(options, "generate", `random weights of ${small.label}`, [
      ...["--model", options.model, "--dummy-weights", "--skip-tokenizer-init"],
      ...["--max-tokens", String(4 * options.tokens), Array.from({ length: 16 }, (_, i) => 7 + i).join(" ")],
    ]),
    bench(options, { ...small, name: "decode-plain", batches: options.plainBatches, overlap: false }),
    offline(options, false),
    trace(options),
    ...largeShapes.map((shape) =>
      bench(options, {
        name: shape,
        label: shape,
        model: `${options.shapes}/${shape}`,
        prompts: [options.prompt],
        batches: [1],
        repeat: 3,
        sizes: true,
      })
    ),
  ];
}

function run(options: SuiteOptions): string[] {
  return ["run", "-q", "-A", ...(options.cachedOnly ? ["--cached-only"] : [])];
}

function engineArguments({ device, threads }: SuiteOptions): string[] {
  return ["--device", device, ...(threads === null ? [] : ["--threads", String(threads)])];
}

function correctness(options: SuiteOptions): Part {
  const tests = options.device === "cpu"
    ? ["tests/kernels/cpu", "tests/models/cpu_test.ts"]
    : options.device === "cuda"
    ? ["tests/kernels/cuda", "tests/models/cuda_test.ts"]
    : ["tests/kernels/webgpu", "tests/kernels/linear_test.ts", "tests/models/webgpu_test.ts"];
  return {
    name: "correctness",
    args: ["test", "-q", "-A", "--no-check", ...(options.cachedOnly ? ["--cached-only"] : []), ...tests],
    isCheck: true,
    read({ stdout, code }) {
      const summary = /(\d+) passed[^|]*\| (\d+) failed/.exec(stdout);
      if (summary === null) throw new Error("the tests came to no end");
      const passed = Number(summary[1]), failed = Number(summary[2]);
      if (failed > 0 || passed === 0) throw new Error(`${passed} tests passed, ${failed} failed`);
      return {
        figures: [{ name: "tests passed", value: passed, unit: "" }],
        raw: { passed, failed, code, summary: stdout.trim().split("\n").at(-1) },
      };
    },
  };
}

interface BenchPart {
  readonly name: string;
  readonly label: string;
  readonly model: string;
  readonly prompts?: readonly number[];
  readonly batches: readonly number[];
  readonly overlap?: boolean;
  readonly repeat?: number;
  /** Also tell how long loading takes and how big the weights are. */
  readonly sizes?: boolean;
}

/** `radish bench` on random weights. */
function bench(options: SuiteOptions, part: BenchPart): Part {
  const { label, model, prompts = [], batches, overlap = true } = part;
  const { prompt, context, tokens } = options;
  const room = Math.max(prompt + 16, context + tokens + 16);
  // Twice what runs at once, so that no page has to be evicted while the clock runs.
  const pages = 2 * Math.ceil(Math.max(room, (context + tokens + 16) * Math.max(...batches)) / 16);
  const suffix = overlap ? "" : ", no overlap";
  return {
    name: part.name,
    args: [
      ...run(options),
      ...["main.ts", "bench", "--json", "--quiet", "--dummy-weights", "--skip-tokenizer-init"],
      ...["--model", model, "--prompts", prompts.length > 0 ? prompts.join(",") : "1"],
      ...["--batches", batches.join(","), "--context", String(context), "--tokens", String(tokens)],
      ...["--repeat", String(part.repeat ?? options.repeat), "--context-length", String(room)],
      ...["--num-pages", String(pages)],
      ...(overlap ? [] : ["--no-overlap"]),
      ...engineArguments(options),
    ],
    read({ stdout }) {
      const raw = benchOutput.parse(JSON.parse(stdout));
      const figures = raw.measurements
        .filter(({ what, size }) => (what === "prefill" ? prompts : batches).includes(size))
        .map(({ what, size, tokens_per_second }): Figure => ({
          name: what === "prefill"
            ? `${label}: prefill, ${size} tokens${suffix}`
            : `${label}: decode, ${size} sequence${size > 1 ? "s" : ""}, context ${context}${suffix}`,
          value: tokens_per_second,
          unit: "tokens/s",
        }));
      const missing = prompts.length + batches.length - figures.length;
      if (missing > 0) throw new Error(`${missing} sizes did not fit`);
      if (part.sizes) {
        figures.push(
          { name: `${label}: start to ready`, value: raw.load_milliseconds / 1000, unit: "s" },
          { name: `${label}: weights`, value: raw.weight_bytes / 2 ** 30, unit: "GiB" },
        );
      }
      return { figures, raw };
    },
  };
}

function offline(options: SuiteOptions, overlap: boolean): Part {
  const { model, requests, minTokens, maxTokens } = options;
  const suffix = `${nameOf(model)}: offline, ${requests} requests${overlap ? "" : ", no overlap"}`;
  return {
    name: overlap ? "offline" : "offline-plain",
    args: [
      ...run(options),
      ...["bench/offline.ts", "--json", "--model", model, "--overlap", overlap ? "on" : "off"],
      ...["--requests", String(requests), "--min", String(minTokens), "--max", String(maxTokens)],
      ...engineArguments(options),
    ],
    read({ stdout }) {
      const raw: unknown = JSON.parse(stdout);
      const [result] = offlineOutput.parse(raw).runs;
      return {
        figures: [
          { name: suffix, value: result!.output_tokens_per_second, unit: "output tokens/s" },
          { name: `${suffix}, busy`, value: result!.busy_share * 100, unit: "%" },
        ],
        raw,
      };
    },
  };
}

const generateOutput = z.object({
  completion_tokens: z.number().min(2),
  timings: z.object({ load_ms: z.number(), first_token_ms: z.number(), tokens_per_second: z.number() }),
});

/** `radish generate` as a user types it: its speed, and how long the first token takes from an idle device. */
function generate(options: SuiteOptions, name: string, model: string, args: readonly string[]): Part {
  return {
    name,
    args: [
      ...run(options),
      ...["main.ts", "generate", "--json", "--quiet", "--temperature", "0", "--ignore-eos"],
      ...engineArguments(options),
      ...args,
    ],
    read({ stdout }) {
      const raw = generateOutput.parse(JSON.parse(stdout));
      const label = `generate, ${model}`;
      return {
        figures: [
          { name: label, value: raw.timings.tokens_per_second, unit: "tokens/s" },
          { name: `${label}: first token`, value: raw.timings.first_token_ms, unit: "ms" },
        ],
        raw,
      };
    },
  };
}

const kernelsOutput = z.object({
  kernels: z.array(z.object({ kernel: z.string(), microseconds: z.number(), teraflops: z.number() })),
});

/** The matrix products of a long prompt, one by one. */
function products(options: SuiteOptions, { model, label }: { model: string; label: string }): Part {
  return {
    name: "products",
    args: [
      ...run(options),
      ...["bench/kernels.ts", "--json", "--shapes", nameOf(model), "--rows", String(options.prompt)],
      ...["--batches", "1", "--contexts", "128", "--prompts", String(options.prompt)],
    ],
    read({ stdout }) {
      const raw = kernelsOutput.parse(JSON.parse(stdout));
      const long = raw.kernels.filter(({ kernel }) => /^(q\/k\/v|output|gate\/up|down) /.test(kernel));
      if (long.length === 0) throw new Error("no products were measured");
      const time = long.reduce((sum, { microseconds }) => sum + microseconds, 0);
      const work = long.reduce((sum, { microseconds, teraflops }) => sum + microseconds * teraflops, 0);
      return {
        figures: [
          { name: `${label}: products, ${options.prompt} rows`, value: work / time, unit: "TFLOP/s" },
          ...long.map(({ kernel, teraflops }) => ({
            name: `${label}: ${kernel}, ${options.prompt} rows`,
            value: teraflops,
            unit: "TFLOP/s",
          })),
        ],
        raw,
      };
    },
  };
}

/** One step by kernel; the text is kept. */
function trace(options: SuiteOptions): Part {
  if (options.device === "cuda") return cudaTrace(options);
  return {
    name: "trace",
    args: [
      ...run(options),
      ...["bench/trace.ts", "--shape", options.model, "--batch", options.batches.join(",")],
      ...["--context", String(options.context), "--prefill", String(options.prompt)],
    ],
    read({ stdout }) {
      const steps = stdout.match(/^(decode|prefill), .* dispatches/gm) ?? [];
      if (steps.length === 0) throw new Error("no step was traced");
      return { figures: [{ name: "traced steps", value: steps.length, unit: "" }], raw: stdout };
    },
  };
}

/** The same through CUDA: by operation. */
function cudaTrace(options: SuiteOptions): Part {
  return {
    name: "trace",
    args: [
      ...run(options),
      ...["bench/cuda.ts", "--model", options.model, "--rows", options.batches.join(",")],
      ...["--context", String(options.context), "--prefill", String(options.prompt)],
    ],
    read({ stdout }) {
      if (!/^decode: /m.test(stdout)) throw new Error("no step was traced");
      return { figures: [], raw: stdout };
    },
  };
}

function nameOf(path: string): string {
  return path.replace(/\/+$/, "").split("/").at(-1)!;
}

// Reads result files of all the benchmarks, told apart by their `kind`.

import { z } from "zod";

const environment = z.object({
  date: z.string(),
  commit: z.string().nullable(),
  processor: z.string(),
  cores: z.number(),
  gpus: z.array(z.object({ name: z.string(), driver: z.string() })),
});

/** NaN, of a run in which nothing finished, is null in JSON. */
const number = z.number().nullable().transform((value) => value ?? NaN);

const latency = z.object({ mean: number, p50: number, p90: number, p99: number });

const measurement = z.object({
  what: z.enum(["prefill", "decode"]),
  size: z.number(),
  tokens_per_second: z.number(),
  milliseconds: z.number(),
});

const suite = z.object({
  kind: z.literal("suite"),
  environment,
  device: z.string(),
  parts: z.array(z.object({
    name: z.string(),
    status: z.enum(["ok", "failed", "timed out", "skipped"]),
    problem: z.string().nullable(),
    figures: z.array(z.object({ name: z.string(), value: z.number(), unit: z.string() })),
  })),
});

const offline = z.object({
  kind: z.literal("offline"),
  environment,
  model: z.string(),
  device: z.string(),
  workload: z.object({ requests: z.number() }),
  runs: z.array(z.object({
    overlap: z.boolean(),
    seconds: z.number(),
    prompt_tokens: z.number(),
    output_tokens: z.number(),
    output_tokens_per_second: z.number(),
    total_tokens_per_second: z.number(),
    steps: z.number(),
    busy_share: z.number(),
  })),
});

const online = z.object({
  kind: z.literal("online"),
  environment,
  model: z.string(),
  device: z.string(),
  runs: z.array(z.object({
    workload: z.string(),
    pace: z.number(),
    cache: z.string(),
    requests: z.number(),
    done: z.number(),
    left_out: z.number(),
    cache_hit_rate: z.number(),
    output_tokens_per_second: z.number(),
    requests_per_second: z.number(),
    time_to_first_token_ms: latency,
    inter_token_latency_ms: latency,
    end_to_end_ms: latency,
  })),
});

const peerRun = z.object({ device: z.string(), measurements: z.array(measurement) });

const peers = z.object({
  kind: z.literal("peers"),
  environment,
  shape: z.string(),
  peer: z.string(),
  workload: z.object({ context: z.number() }),
  radish: z.array(peerRun).min(1),
  llama: z.array(peerRun).min(1),
});

/** Of `bench/kernels.ts`, whose file has no kind. */
const kernels = z.object({
  environment,
  device: z.string(),
  ceilings: z.object({ read: z.number(), f32: z.number(), f16: z.number(), dispatch: z.number() }),
  kernels: z.array(z.object({
    shape: z.string(),
    kernel: z.string(),
    size: z.string(),
    microseconds: z.number(),
    gigabytes_per_second: z.number(),
    teraflops: z.number(),
    share: z.number(),
  })),
}).transform((result) => ({ kind: "kernels" as const, ...result }));

export type SuiteResult = z.infer<typeof suite>;
export type OfflineResult = z.infer<typeof offline>;
export type OnlineResult = z.infer<typeof online>;
export type PeersResult = z.infer<typeof peers>;
export type KernelsResult = z.infer<typeof kernels>;
export type Result = SuiteResult | OfflineResult | OnlineResult | PeersResult | KernelsResult;

const schemas = { suite, offline, online, peers } as const;

/** A result that has no plots of its own (soak, page, grammar, replicas): shown as it is. */
export interface OtherResult {
  readonly kind: "other";
  readonly file: string;
  readonly json: unknown;
}

/**
 * Parses a result file's text.
 * @throws {Error} saying what is wrong with it
 */
export function parseResult(text: string): Result {
  const json: unknown = JSON.parse(text);
  const { kind } = z.object({ kind: z.enum(["suite", "offline", "online", "peers"]).optional() }).parse(json);
  const parsed = (kind === undefined ? kernels : schemas[kind]).safeParse(json);
  if (parsed.success) return parsed.data;
  throw new Error(`not a result of a benchmark: ${z.prettifyError(parsed.error)}`);
}

/** The same for the page, where a file that has neither a known kind nor kernels is a result without plots. */
export function readResult(text: string, file: string): Result | OtherResult {
  const json: unknown = JSON.parse(text);
  const { kind, kernels } = z.looseObject({ kind: z.string().optional() }).parse(json);
  const isPlotted = kind !== undefined ? Object.hasOwn(schemas, kind) : kernels !== undefined;
  return isPlotted ? parseResult(text) : { kind: "other", file, json };
}

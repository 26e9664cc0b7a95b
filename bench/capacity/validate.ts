// The simulation beside reality: the same requests at the same times, figure by figure.

import { figure, table } from "../common/table.ts";
import { type Arrival, traceArrivals, type TraceRequest } from "../online/arrivals.ts";
import { play, type ReplaySummary, summarize } from "../online/replay.ts";
import type { ServerUnderTest } from "../online/server.ts";
import { readTrace } from "../online/traces.ts";
import { clientRecord, type Measurements } from "./calibrate.ts";
import { fitProfile } from "./fit.ts";
import { PythonRandom } from "../common/python_random.ts";
import type { Profile } from "./profile.ts";
import { joined, recordedBytes, type RecordedServer } from "./recorded.ts";
import { simulate } from "./simulate.ts";

/** Requests to come, as in a trace. */
export interface PlannedLoad {
  /** Share of the largest throughput that the simulation found. */
  readonly load: number;
  /** Factor on the trace's clock. */
  readonly speed: number;
  /** Of the trace, lengths scaled. */
  readonly requests: readonly TraceRequest[];
}

/** A load and what was measured under it. */
export interface LoadResult extends PlannedLoad {
  readonly measured: ReplaySummary;
  /** Not fitted to: to find out where a prediction went wrong. */
  readonly measurements: Measurements;
}

/** Requests read of a trace at most. */
const traceRequests = 20_000;
/** Requests whose throughput, all at once, counts as the largest. */
const capacityRequests = 256;

/** The first .csv trace of a folder, with lengths scaled, as far as the model's context allows; or Poisson arrivals. */
export async function traceFor(
  folder: string | null,
  scale: number,
  { contextLength, cacheTokens }: Pick<ServerUnderTest, "contextLength" | "cacheTokens">,
): Promise<TraceRequest[]> {
  const name = folder === null
    ? null
    : [...Deno.readDirSync(folder)].map(({ name }) => name).sort().find((name) => name.endsWith(".csv"));
  if (name === undefined) throw new Error(`--traces ${folder}: no .csv file there`);
  const trace = name === null ? poissonTrace() : await readTrace(`${folder}/${name}`, traceRequests);
  return trace.map((request) => ({
    ...request,
    inputTokens: Math.max(1, Math.round(request.inputTokens * scale)),
    outputTokens: Math.max(1, Math.round(request.outputTokens * scale)),
  })).filter(({ inputTokens, outputTokens }) =>
    inputTokens + outputTokens <= Math.min(contextLength, cacheTokens)
  );
}

/** Lengths like those of conversations: 32 to 2,048 tokens in, 16 to 512 out, spread over their logarithms. */
function poissonTrace(): TraceRequest[] {
  const random = new PythonRandom(1);
  const length = (least: number, most: number) => Math.round(least * (most / least) ** random.next());
  let at = 0;
  return Array.from({ length: traceRequests }, () => {
    at += -Math.log(1 - random.next());
    return { at, inputTokens: length(32, 2048), outputTokens: length(16, 512), blocks: null };
  });
}

/** Which requests at which speed make each share of the largest throughput for so many seconds. */
export function loadsOf(
  profile: Profile,
  trace: readonly TraceRequest[],
  shares: readonly number[],
  seconds: number,
  seed: number,
): PlannedLoad[] {
  const first = trace.slice(0, capacityRequests);
  const atOnce = arrivalsOf({ load: 1, speed: 1, requests: first }, profile.config.vocabSize, seed)
    .map((arrival) => ({ ...arrival, at: 0 }));
  const { summary } = simulate({ profile, servers: 1, routing: "round-robin", seed }, atOnce);
  return shares.map((load) => {
    const rate = load * summary.requests_per_second;
    const requests = trace.slice(0, Math.max(2, Math.ceil(rate * seconds)));
    return { load, speed: requests.at(-1)!.at / seconds, requests };
  });
}

function arrivalsOf({ speed, requests }: PlannedLoad, vocabSize: number, seed: number): Arrival[] {
  return traceArrivals(requests, {
    speed,
    scale: 1,
    count: requests.length,
    seconds: Infinity,
    vocabSize,
    seed,
  });
}

/** Replays a load against the server, with an empty cache. */
export async function measureLoad(
  recorded: RecordedServer,
  load: PlannedLoad,
  seed: number,
  limit: number,
): Promise<LoadResult> {
  const { server, record } = recorded;
  await server.flush();
  const from = await recordedBytes(record), arrivals = arrivalsOf(load, server.vocabSize, seed);
  const { outcomes, began, seconds } = await play(server.url, arrivals, limit);
  const clients = outcomes.flatMap((outcome, i) => {
    const due = performance.timeOrigin + began + arrivals[i]!.at * 1000;
    return outcome.status === "done" ? [clientRecord(arrivals[i]!, due, outcome)] : [];
  });
  const measurements = await joined(recorded, from, clients);
  console.error(`capacity: load ${load.load}: ${arrivals.length} requests, ${figure(seconds)} s`);
  return { ...load, measured: summarize(outcomes, arrivals, seconds), measurements };
}

/** One figure, predicted and measured. */
export interface Compared {
  readonly load: number;
  readonly requests: number;
  readonly name: string;
  readonly predicted: number;
  /**
   * The same by a profile that is fitted to the load itself: no prediction, but what is still missing then is the
   * simulation's fault, and the rest is that the machine was not as fast as in the calibration.
   */
  readonly own: number;
  readonly measured: number;
  /** How far the prediction may be off, as a share. */
  readonly allowed: number;
}

/** Simulations of a load that are put together, so that what is drawn by chance in one of them matters less. */
const simulations = 5;

/** Predicts a load and holds it against what was measured. */
export function compare(profile: Profile, load: LoadResult, seed: number, limit: number): Compared[] {
  const arrivals = arrivalsOf(load, profile.config.vocabSize, seed);
  const predict = (profile: Profile) => predicted(profile, arrivals, seed, limit);
  const before = predict(profile), after = predict({ ...profile, ...fitProfile(load.measurements) });
  const { measured } = load;
  const row = (name: string, allowed: number, of: (summary: ReplaySummary) => number): Compared => ({
    load: load.load,
    requests: arrivals.length,
    name,
    predicted: of(before),
    own: of(after),
    measured: of(measured),
    allowed,
  });
  const latency = (
    title: string,
    of: "time_to_first_token_ms" | "inter_token_latency_ms" | "end_to_end_ms",
  ) => [
    row(`${title} p50 ms`, 0.15, (summary) => summary[of].p50),
    row(`${title} p99 ms`, 0.2, (summary) => summary[of].p99),
  ];
  return [
    ...latency("first token", "time_to_first_token_ms"),
    ...latency("between tokens", "inter_token_latency_ms"),
    ...latency("end to end", "end_to_end_ms"),
    row("output tokens/s", 0.05, (summary) => summary.output_tokens_per_second),
  ];
}

/** Of several simulations together. */
function predicted(
  profile: Profile,
  arrivals: readonly Arrival[],
  seed: number,
  limit: number,
): ReplaySummary {
  const runs = Array.from(
    { length: simulations },
    (_, i) => simulate({ profile, servers: 1, routing: "round-robin", seed: seed + i, limit }, arrivals),
  );
  const seconds = runs.reduce((sum, { summary }) => sum + summary.seconds, 0);
  return summarize(runs.flatMap(({ outcomes }) => outcomes), arrivals, seconds);
}

/** For the terminal. */
export function comparisonTable(loads: readonly (readonly Compared[])[]): string {
  return table(
    [
      "load",
      "requests",
      "figure",
      "predicted",
      "measured",
      "off",
      "allowed",
      "",
      "with its own steps",
      "off",
    ],
    loads.flat().map(({ load, requests, name, predicted, own, measured, allowed }) => {
      const off = predicted / measured - 1;
      const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
      return [
        `${(load * 100).toFixed(0)} %`,
        figure(requests),
        name,
        figure(predicted),
        figure(measured),
        percent(off),
        `${(allowed * 100).toFixed(0)} %`,
        Math.abs(off) <= allowed ? "" : "missed",
        figure(own),
        percent(own / measured - 1),
      ];
    }),
  );
}

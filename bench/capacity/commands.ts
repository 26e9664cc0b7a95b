// The commands of `bench/capacity.ts`.

import { z } from "zod";
import { choice, list, positive, readOptions, whole } from "../common/arguments.ts";
import { environment } from "../common/environment.ts";
import { writeResult } from "../common/result_file.ts";
import { figure, table } from "../common/table.ts";
import { type Arrival, poissonArrivals } from "../online/arrivals.ts";
import { startServer } from "../online/server.ts";
import { type Measurements, together } from "./calibrate.ts";
import { fitProfile } from "./fit.ts";
import { compare, comparisonTable, type LoadResult, loadsOf, measureLoad, traceFor } from "./validate.ts";
import { measure, type RecordedServer } from "./recorded.ts";
import { capacityPage } from "./page.ts";
import { type Profile, profileSchema } from "./profile.ts";
import { routings } from "./router.ts";
import { simulate } from "./simulate.ts";

const program = new URL("../capacity.ts", import.meta.url).href;

const serverOptions = {
  model: { type: "string" },
  "dummy-weights": { type: "boolean", default: false },
  device: { type: "string" },
  dtype: { type: "string" },
  tp: { type: "string" },
  threads: { type: "string" },
  "context-length": { type: "string" },
  "num-pages": { type: "string" },
  seconds: { type: "string", default: "12" },
  clients: { type: "string", default: "1,2,4,8,16,32,64" },
  seed: { type: "string", default: "0" },
  out: { type: "string" },
} as const;

function serverArguments(values: Readonly<Record<string, unknown>>): string[] {
  const names = ["model", "device", "dtype", "tp", "threads", "context-length", "num-pages"];
  const args = names.flatMap((name) => typeof values[name] === "string" ? [`--${name}`, values[name]] : []);
  return values["dummy-weights"] === true ? [...args, "--dummy-weights"] : args;
}

async function withServer<T>(
  args: readonly string[],
  use: (recorded: RecordedServer) => Promise<T>,
): Promise<T> {
  const record = await Deno.makeTempFile({ prefix: "radish-capacity-", suffix: ".jsonl" });
  try {
    await using server = await startServer(args, [], {
      program: "../capacity/recorded_server.ts",
      env: { RADISH_CAPACITY_RECORD: record },
    });
    return await use({ server, record });
  } finally {
    await Deno.remove(record);
  }
}

/** `calibrate`: measures this machine, and writes a profile. */
export async function runCalibrate(args: string[]): Promise<void> {
  const { values } = readOptions(program, { args, options: serverOptions });
  if (values.out === undefined) throw new Error("--out names the profile to write");
  const seconds = positive(values.seconds, "seconds"), seed = whole(values.seed, "seed", 0);
  const levels = list(values.clients, (text) => whole(text, "clients"));
  const profile = await withServer(
    serverArguments(values),
    async (recorded): Promise<Profile> => {
      const { config, measurements } = await measure(recorded, { seconds, seed, levels });
      const { model, device } = recorded.server;
      const { date, commit, processor } = await environment();
      const source = `${seconds} s of a closed loop on ${processor}, ${date}, commit ${commit ?? "unknown"}`;
      return { kind: "capacity profile", model, device, source, config, ...fitProfile(measurements) };
    },
  );
  await writeResult(values.out, profile);
  console.log(values.out);
}

const stepSample = z.object({
  shape: z.object({
    forwards: z.number(),
    rows: z.number(),
    context: z.number(),
    longest: z.number(),
    prompt: z.number(),
    chunks: z.number(),
    pairs: z.number(),
  }),
  idle: z.number(),
  activity: z.number(),
  after: z.number(),
  arrivals: z.number(),
  milliseconds: z.number(),
});

/** What a validation writes, as far as it is read again. */
const validationFile = z.object({
  kind: z.literal("capacity validation"),
  environment: z.looseObject({}),
  model: z.string(),
  device: z.string(),
  seed: z.number(),
  limit: z.number(),
  config: profileSchema.shape.config,
  measurements: z.object({
    steps: z.array(stepSample),
    turns: z.array(z.number()),
    arrivals: z.array(
      z.object({
        prompt: z.number(),
        busy: z.boolean(),
        activity: z.number(),
        company: z.number(),
        milliseconds: z.number(),
      }),
    ),
    deliveries: z.array(
      z.object({ place: z.number(), size: z.number(), first: z.boolean(), milliseconds: z.number() }),
    ),
  }),
  loads: z.array(z.looseObject({
    load: z.number(),
    speed: z.number(),
    requests: z.array(z.object({
      at: z.number(),
      inputTokens: z.number(),
      outputTokens: z.number(),
      blocks: z.array(z.number()).nullable(),
    })),
    measured: z.looseObject({}),
  })),
});

/** The profile that a validation holds against a load. */
function validated(
  { model, device }: { readonly model: string; readonly device: string },
  config: Profile["config"],
  measurements: Measurements,
): Profile {
  const source = "the calibration of this validation";
  return { kind: "capacity profile", model, device, source, config, ...fitProfile(measurements) };
}

/** `validate`: calibrates, replays a trace at several loads, and compares with the simulation. */
export async function runValidate(args: string[]): Promise<void> {
  const { values } = readOptions(program, {
    args,
    options: {
      ...serverOptions,
      traces: { type: "string" },
      scale: { type: "string", default: "1" },
      loads: { type: "string", default: "0.2,0.4,0.6" },
      limit: { type: "string", default: "60" },
      "load-seconds": { type: "string" },
      table: { type: "string" },
      from: { type: "string" },
    },
  });
  const files = values.from === undefined
    ? [await measureAll()]
    : await Promise.all(list(values.from, (path) => Deno.readTextFile(path)));
  const parsed = files.map((file) => validationFile.parse(JSON.parse(file)));
  const rows = parsed.flatMap(({ model, device, config, measurements, seed, limit, loads }) => {
    const profile = validated({ model, device }, config, measurements);
    return (loads as unknown as LoadResult[]).map((load) => compare(profile, load, seed, limit));
  });
  const [{ model, device }] = parsed as [typeof parsed[number]];
  if (values.table !== undefined) {
    const environments = parsed.map(({ environment }) => environment);
    await writeResult(values.table, { kind: "capacity comparison", model, device, environments, rows });
  }
  console.log(`${model} on ${device}\n\n${comparisonTable(rows)}`);

  async function measureAll(): Promise<string> {
    const seconds = positive(values.seconds, "seconds"), seed = whole(values.seed, "seed", 0);
    const scale = positive(values.scale, "scale"), limit = positive(values.limit, "limit");
    const levels = list(values.clients, (text) => whole(text, "clients"));
    const shares = list(values.loads, (text) => positive(text, "loads"));
    const result = await withServer(serverArguments(values), async (recorded) => {
      const { server } = recorded;
      const trace = await traceFor(values.traces ?? null, scale, server);
      // A machine's speed drifts: a part of the calibration comes before each load and after the last.
      const part = { seconds: seconds / 2, levels };
      const { config, measurements } = await measure(recorded, { ...part, seed });
      const profile = validated(server, config, measurements);
      const loadSeconds = values["load-seconds"] === undefined
        ? seconds
        : positive(values["load-seconds"], "load-seconds");
      const planned = loadsOf(profile, trace, shares, loadSeconds, seed);
      const loads: LoadResult[] = [], parts = [measurements];
      for (const [i, load] of planned.entries()) {
        loads.push(await measureLoad(recorded, load, seed, Math.max(limit, loadSeconds)));
        parts.push((await measure(recorded, { ...part, seed: seed + 2 + i, warm: 0 })).measurements);
      }
      return {
        model: server.model,
        device: server.device,
        seed,
        limit,
        config,
        measurements: together(parts),
        loads,
      };
    });
    const whole_ = { kind: "capacity validation", environment: await environment(), ...result };
    if (values.out !== undefined) await writeResult(values.out, whole_);
    return JSON.stringify(whole_);
  }
}

/** `simulate`: what fleets of a profile's servers would do. */
export async function runSimulate(args: string[]): Promise<void> {
  const { values } = readOptions(program, {
    args,
    options: {
      profile: { type: "string" },
      rates: { type: "string", default: "1,4,16" },
      servers: { type: "string", default: "1" },
      routing: { type: "string", default: "prefix" },
      count: { type: "string", default: "500" },
      min: { type: "string", default: "32" },
      max: { type: "string", default: "256" },
      shared: { type: "string", default: "128" },
      prefixes: { type: "string", default: "1" },
      seed: { type: "string", default: "0" },
      out: { type: "string" },
      html: { type: "string" },
    },
  });
  if (values.profile === undefined) throw new Error("--profile names the file that calibrate wrote");
  const profile = profileSchema.parse(JSON.parse(await Deno.readTextFile(values.profile)));
  const seed = whole(values.seed, "seed", 0), minTokens = whole(values.min, "min");
  const arrivalsAt = (rate: number): Arrival[] =>
    poissonArrivals({
      rate,
      count: whole(values.count, "count"),
      minTokens,
      maxTokens: whole(values.max, "max", minTokens),
      sharedTokens: whole(values.shared, "shared", 0),
      prefixes: whole(values.prefixes, "prefixes"),
      vocabSize: profile.config.vocabSize,
      seed,
    });
  const runs = list(values.rates, (text) => positive(text, "rates")).flatMap((rate) => {
    const arrivals = arrivalsAt(rate);
    return list(values.servers, (text) => whole(text, "servers")).flatMap((servers) =>
      list(values.routing, (word) => choice(word, "routing", routings)).map((routing) => {
        const { summary, utilisation, shares, retractions } = simulate(
          { profile, servers, routing, seed },
          arrivals,
        );
        return { rate, servers, routing, utilisation, shares, retractions, ...summary };
      })
    );
  });
  const result = {
    kind: "capacity",
    model: profile.model,
    device: profile.device,
    source: profile.source,
    runs,
  };
  if (values.out !== undefined) await writeResult(values.out, result);
  if (values.html !== undefined) await Deno.writeTextFile(values.html, capacityPage(result));
  const head = ["requests/s", "servers", "routing", "busy", "hit rate", "output tokens/s", "first token ms"];
  console.log(table(
    [...head, "between tokens ms", "end to end ms"],
    runs.map((run) => [
      figure(run.rate),
      figure(run.servers),
      run.routing,
      `${(Math.max(...run.utilisation) * 100).toFixed(0)} %`,
      `${(run.cache_hit_rate * 100).toFixed(0)} %`,
      figure(run.output_tokens_per_second),
      ...[run.time_to_first_token_ms, run.inter_token_latency_ms, run.end_to_end_ms].map(({ p50, p99 }) =>
        `${figure(p50)} / ${figure(p99)}`
      ),
    ]),
  ));
  console.log("\na simulation; milliseconds: median / 99th percentile");
}

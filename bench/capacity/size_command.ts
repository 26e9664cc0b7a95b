// `size`: the tables of docs/scale.md.

import { z } from "zod";
import { choice, list, positive, readOptions, whole } from "../common/arguments.ts";
import { writeResult } from "../common/result_file.ts";
import { figure, table } from "../common/table.ts";
import { parseResult, type PeersResult } from "../report/results.ts";
import type { Profile } from "./profile.ts";
import { type Routing, routings } from "./router.ts";
import {
  type AttentionShape,
  dailyUsers,
  type Day,
  h100,
  largestRate,
  profileFromFigures,
  type Size,
} from "./sizing.ts";

const program = new URL("../capacity.ts", import.meta.url).href;
const root = decodeURIComponent(new URL("../../", import.meta.url).pathname);

const count = z.int().min(1);
const configuration = z.object({
  num_hidden_layers: count,
  hidden_size: count,
  intermediate_size: count,
  num_attention_heads: count,
  num_key_value_heads: count,
  head_dim: count,
  vocab_size: count,
  max_position_embeddings: count,
  tie_word_embeddings: z.boolean(),
});

/** What a folder of bench/shapes says of a dense decoder, with weights in bf16. */
export async function readShape(path: string): Promise<AttentionShape> {
  const c = configuration.parse(JSON.parse(await Deno.readTextFile(`${root}${path}/config.json`)));
  const attention = c.hidden_size * c.head_dim * (2 * c.num_attention_heads + 2 * c.num_key_value_heads);
  const layer = attention + 3 * c.hidden_size * c.intermediate_size;
  const vocabulary = c.vocab_size * c.hidden_size * (c.tie_word_embeddings ? 1 : 2);
  return {
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    keyValueHeads: c.num_key_value_heads,
    headDim: c.head_dim,
    vocabSize: c.vocab_size,
    contextLength: c.max_position_embeddings,
    weightBytes: 2 * (c.num_hidden_layers * layer + vocabulary),
  };
}

/** `size`: how much of a workload like conversations servers of a result file's card carry. */
export async function runSize(args: string[]): Promise<void> {
  const { values } = readOptions(program, {
    args,
    options: {
      results: { type: "string" },
      servers: { type: "string", default: "1" },
      routing: { type: "string", default: "prefix" },
      "first-token": { type: "string", default: "1000" },
      "between-tokens": { type: "string", default: "100" },
      "requests-per-user": { type: "string", default: "10" },
      peak: { type: "string", default: "3" },
      "daily-users": { type: "string", default: "1000000" },
      seed: { type: "string", default: "0" },
      out: { type: "string" },
    },
  });
  if (values.results === undefined) {
    throw new Error("--results names result files of bench/peers, with commas");
  }
  const target = {
    firstToken: positive(values["first-token"], "first-token"),
    betweenTokens: positive(values["between-tokens"], "between-tokens"),
  };
  const day: Day = {
    requestsPerUser: positive(values["requests-per-user"], "requests-per-user"),
    peak: positive(values.peak, "peak"),
  };
  const users = positive(values["daily-users"], "daily-users"), seed = whole(values.seed, "seed", 0);
  const fleets = list(values.servers, (text) => whole(text, "servers"));
  const policies = list(values.routing, (word) => choice(word, "routing", routings));
  const runs: { model: string; device: string; servers: number; routing: Routing; size: Size | null }[] = [];
  for (const path of list(values.results, (text) => text)) {
    const profile = await profileOf(path);
    for (const servers of fleets) {
      for (const routing of servers === 1 ? policies.slice(0, 1) : policies) {
        const size = largestRate({ profile, servers, routing, seed, target });
        runs.push({ model: profile.model, device: profile.device, servers, routing, size });
      }
    }
  }
  const peakRate = users * day.requestsPerUser / 86_400 * day.peak;
  const head = [
    "model",
    "cards",
    "routing",
    "requests/s",
    "output tokens/s",
    "first token p99 ms",
    "between p99 ms",
  ];
  console.log(table(
    [...head, "hit rate", "daily users", `cards for ${figure(users)}`],
    runs.map(({ model, servers, routing, size }) => [
      model.replace(/^.*\//, ""),
      figure(servers),
      servers === 1 ? "—" : routing,
      ...(size === null ? ["none", "", "", "", "", "", ""] : [
        figure(size.rate),
        figure(size.outputTokensPerSecond),
        figure(size.firstToken),
        figure(size.betweenTokens),
        `${(size.hitRate * 100).toFixed(0)} %`,
        figure(Math.round(dailyUsers(size.rate, day) / 1000) * 1000),
        figure(Math.ceil(peakRate / size.rate * servers)),
      ]),
    ]),
  ));
  console.log(
    `\na simulation; ${figure(users)} daily users send ${figure(peakRate)} requests/s in the busiest hour`,
  );
  if (values.out !== undefined) await writeResult(values.out, { kind: "capacity sizes", target, day, runs });
}

async function profileOf(path: string): Promise<Profile> {
  const result = parseResult(await Deno.readTextFile(path));
  if (result.kind !== "peers") {
    throw new Error(`${path}: sizes need a result of bench/peers, not of ${result.kind}`);
  }
  return profileFromFigures(result satisfies PeersResult, await readShape(result.shape), h100);
}

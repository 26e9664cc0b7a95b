// What structured output costs a batch: tokens per second of requests that run together, half of them constrained,
// beside the same batch without a constraint, in turns. No two rounds have the same texts.
//
//   deno run -A bench/structured.ts [--model DIR] [--dummy] [--device cpu] [--requests 32] [--tokens 128] [--rounds 5]
//     [--draw-later true|false: whether constrained rows are drawn in plans of their own; the device's choice]
//     [--out FILE: what is printed, as a file]
//
// A model's vocabulary counts: `--model` may be a folder with a shape's config.json and a tokenizer, with --dummy.

import { basename } from "node:path";
import { parseArgs } from "node:util";
import { Engine } from "../engine/engine.ts";
import { defaultEngineOptions, type EngineOptions } from "../engine/options.ts";
import { defaultSamplingParams, type SamplingParams } from "../engine/params.ts";
import { environment } from "./common/environment.ts";
import { writeResult } from "./common/result_file.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: new URL("../models/pocket", import.meta.url).pathname },
    device: { type: "string", default: "cpu" },
    requests: { type: "string", default: "32" },
    tokens: { type: "string", default: "128" },
    rounds: { type: "string", default: "5" },
    overlap: { type: "string", default: "true" },
    dummy: { type: "boolean", default: false },
    "draw-later": { type: "string" },
    out: { type: "string" },
  },
});
const requests = Number(values.requests), tokens = Number(values.tokens), rounds = Number(values.rounds);

/** A schema whose texts do not end before the tokens are out. */
const schema = {
  type: "array",
  minItems: 1000,
  items: {
    type: "object",
    properties: {
      name: { type: "string", minLength: 3, maxLength: 20 },
      age: { type: "integer", minimum: 0, maximum: 120 },
      kind: { enum: ["cat", "dog", "bird"] },
    },
    required: ["name", "age", "kind"],
    additionalProperties: false,
  },
};

let texts = 0;

/** Whole tokens per second of the batch. */
async function run(engine: Engine, constrained: (i: number) => boolean): Promise<number> {
  const params = (i: number): SamplingParams => ({
    ...defaultSamplingParams,
    seed: texts + i,
    maxTokens: tokens,
    ignoreEos: true,
    grammar: constrained(i) ? { source: { kind: "json_schema", schema }, reasoning: false } : null,
  });
  const began = performance.now();
  const done = await Promise.all(
    Array.from(
      { length: requests },
      (_, i) =>
        engine.submit({ input: { type: "text", text: `List number ${i}:` }, params: params(i) }).complete(),
    ),
  );
  texts += requests;
  const seconds = (performance.now() - began) / 1000;
  return done.reduce((sum, each) => sum + each.tokens.length, 0) / seconds;
}

const median = (list: readonly number[]) => list.toSorted((a, b) => a - b)[list.length >> 1]!;
const best = (list: readonly number[]) => Math.max(...list);

const where = await environment();
const engine = await Engine.start({
  ...defaultEngineOptions,
  modelDir: values.model,
  device: values.device as EngineOptions["device"],
  overlap: values.overlap === "true",
  dummyWeights: values.dummy,
  ...(values["draw-later"] === undefined ? {} : { drawLater: values["draw-later"] === "true" }),
}, { leaveDevices: true });
const free: number[] = [], half: number[] = [], all: number[] = [];
await run(engine, (i) => i % 2 === 0); // compiles, and fills the caches
for (let round = 0; round < rounds; round++) {
  free.push(await run(engine, () => false));
  half.push(await run(engine, (i) => i % 2 === 0));
  all.push(await run(engine, () => true));
}
const result = {
  kind: "structured",
  environment: where,
  device: engine.model.device.description,
  model: basename(values.model),
  draw_later: values["draw-later"] ?? "as the device",
  requests,
  tokens,
  rounds,
  tokens_per_second: { free: median(free), half_constrained: median(half), all_constrained: median(all) },
  ratio: { half: median(half) / median(free), all: median(all) / median(free) },
  // The best rounds, which other work on the machine disturbed least.
  best: { free: best(free), half_constrained: best(half), all_constrained: best(all) },
  best_ratio: { half: best(half) / best(free), all: best(all) / best(free) },
};
console.log(JSON.stringify(result, null, 2));
if (values.out !== undefined) await writeResult(values.out, result);
await engine[Symbol.asyncDispose]();
Deno.exit(); // the engine's devices are left to the end of the process

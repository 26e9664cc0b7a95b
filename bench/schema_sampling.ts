// Random texts under thousands of schemas, through the whole engine: requests at temperature 1.5, 32 at once, each
// under a schema of MaskBench's; whatever is finished has to validate. With the embedded model, and with a dummy that
// has Qwen3's vocabulary. A bias towards what closes strings, arrays and objects makes more of them finish; every
// token is still drawn under the mask alone. Exit code 1 where a finished output is wrong.
//
//   deno run -A --config tests/deno.json bench/schema_sampling.ts --corpus DIR --tokenizer DIR
//
//   --corpus DIR      files of { schema, … }: MaskBench's folder maskbench/data
//   --tokenizer DIR   Qwen3's tokenizer.json and tokenizer_config.json (../shared/tokenizers/qwen3)
//   --every N         every N-th schema (3)
//   --models LIST     of pocket, qwen3 (both)
//   --tokens N        most tokens of an output (200)
//   --bias B          added to the logits of what closes (4)
//   --device NAME     (cpu)
//   --python PYTHON   a Python with jsonschema[format], the second judge
//   --out FILE        everything as JSON

import { Engine } from "../engine/engine.ts";
import type { Json } from "../engine/grammar/schema/document.ts";
import { defaultEngineOptions, type EngineOptions } from "../engine/options.ts";
import { defaultSamplingParams } from "../engine/params.ts";
import { Vocabulary } from "../engine/tokenizer/vocabulary.ts";
import { readOptions, whole } from "./common/arguments.ts";
import { environment } from "./common/environment.ts";
import { writeResult } from "./common/result_file.ts";
import { figure, table } from "./common/table.ts";
import { corpusFiles, readCase } from "./grammar/corpus.ts";
import { dummyModel } from "./grammar/dummy.ts";
import { ajvVerdict, type Output, pythonVerdicts } from "./grammar/judges.ts";

const AT_ONCE = 32;
const CONTEXT = 512;
const CLOSING = /^["}\]]+,?$/;

const { values } = readOptions(import.meta.url, {
  options: {
    corpus: { type: "string" },
    tokenizer: { type: "string", default: "../shared/tokenizers/qwen3" },
    every: { type: "string", default: "3" },
    models: { type: "string", default: "pocket,qwen3" },
    tokens: { type: "string", default: "200" },
    bias: { type: "string", default: "4" },
    device: { type: "string", default: "cpu" },
    python: { type: "string" },
    out: { type: "string" },
  },
});
if (values.corpus === undefined) {
  console.error("--corpus DIR is needed: MaskBench's folder maskbench/data");
  Deno.exit(2);
}
const { corpus } = values;
const maxTokens = whole(values.tokens, "tokens");

/** How one model's requests ended. */
interface Run {
  readonly outputs: (Output & { readonly name: string })[];
  cut: number;
  /** By their message, up to where it names a place. */
  readonly refused: Record<string, number>;
  readonly failed: string[];
}

function closingBias(folder: string, tokens: number): (readonly [number, number])[] {
  const vocabulary = new Vocabulary(JSON.parse(Deno.readTextFileSync(`${folder}/tokenizer.json`)), folder);
  const bias = Number(values.bias);
  const found: (readonly [number, number])[] = [];
  for (let id = 0; id < Math.min(tokens, vocabulary.size); id++) {
    if (CLOSING.test(vocabulary.decode([id], true))) found.push([id, bias]);
  }
  return found.slice(0, 256);
}

async function run(folder: string, dummyWeights: boolean, files: readonly string[]): Promise<Run> {
  const device = values.device as EngineOptions["device"];
  await using engine = await Engine.start({
    ...defaultEngineOptions,
    modelDir: folder,
    device,
    dummyWeights,
    contextLength: CONTEXT,
  });
  const logitBias = closingBias(folder, engine.model.config.vocabSize);
  const done: Run = { outputs: [], cut: 0, refused: {}, failed: [] };
  let next = 0, reported = performance.now();
  const work = async (): Promise<void> => {
    for (let seed = next++; seed < files.length; seed = next++) {
      const name = files[seed]!;
      const { schema } = readCase(corpus, name);
      const { text, finish } = await engine.submit({
        input: { type: "text", text: "An example in JSON: " },
        params: {
          ...defaultSamplingParams,
          temperature: 1.5,
          seed,
          maxTokens,
          logitBias,
          grammar: { source: { kind: "json_schema", schema: schema as Json }, reasoning: false },
        },
      }).complete();
      if (finish.type === "stop") done.outputs.push({ name, schema: JSON.stringify(schema), text });
      else if (finish.type === "length") done.cut++;
      else if (finish.type === "error" && finish.code === "invalid") {
        const why = finish.message.replace(/ at #.*/, "").split(":")[0]!;
        done.refused[why] = (done.refused[why] ?? 0) + 1;
      } else done.failed.push(`${name}: ${finish.type === "error" ? finish.message : finish.type}`);
      if (performance.now() - reported > 30_000) {
        console.error(`${next} of ${files.length}, ${done.outputs.length} finished`);
        reported = performance.now();
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return done;
}

async function judge({ outputs }: Run) {
  const python = values.python === undefined ? [] : await pythonVerdicts(values.python, outputs);
  const count = { valid: 0, strict: 0, by_one_judge: 0, unjudged: 0 };
  const wrong: string[] = [], disagreements: string[] = [];
  outputs.forEach(({ name, schema, text }, i) => {
    const { ajv, strict, why } = ajvVerdict(JSON.parse(schema), text);
    const second = python[i] ?? null;
    if (strict) count.strict++;
    if (ajv === null && second === null) count.unjudged++;
    else if (ajv === null || second === null) count.by_one_judge++;
    const shown = `${name}: ${text.slice(0, 300)} (ajv ${ajv} ${why}, jsonschema ${second})`;
    if (ajv !== null && second !== null && ajv !== second) disagreements.push(shown);
    else if (ajv === false || second === false) wrong.push(shown);
    else if (ajv === true || second === true) count.valid++;
  });
  return { ...count, wrong, disagreements };
}

const started = await environment();
const files = corpusFiles(corpus, whole(values.every, "every"));
const results = [];
for (const model of values.models.split(",")) {
  const dummy = model !== "pocket";
  const folder = dummy
    ? await dummyModel(values.tokenizer)
    : new URL("../models/pocket", import.meta.url).pathname;
  const began = performance.now();
  const done = await run(folder, dummy, files);
  const seconds = (performance.now() - began) / 1000;
  if (dummy) await Deno.remove(folder, { recursive: true });
  const verdict = await judge(done);
  const { cut, refused, failed, outputs } = done;
  const sum = Object.values(refused).reduce((total, each) => total + each, 0);
  results.push({
    model,
    schemas: files.length,
    sampled: files.length - sum,
    finished: outputs.length,
    cut_by_length: cut,
    refused: sum,
    refused_by_name: refused,
    failed,
    seconds,
    ...verdict,
  });
  if (values.out !== undefined) {
    await writeResult(values.out, {
      environment: started,
      temperature: 1.5,
      at_once: AT_ONCE,
      tokens: maxTokens,
      bias: Number(values.bias),
      results,
    });
  }
}
console.log(table(
  ["model", "schemas", "sampled", "finished", "cut", "refused", "failed", "valid", "judges differ", "wrong"],
  results.map((each) => [
    each.model,
    ...[each.schemas, each.sampled, each.finished, each.cut_by_length, each.refused].map(figure),
    ...[each.failed.length, each.valid, each.disagreements.length, each.wrong.length].map(figure),
  ]),
));
for (const { model, wrong, disagreements, failed, refused_by_name } of results) {
  for (const each of wrong) console.log(`${model} wrong: ${each}`);
  for (const each of disagreements) console.log(`${model} judges differ: ${each}`);
  for (const each of failed) console.log(`${model} failed: ${each}`);
  console.log(
    `${model} refused: ${Object.entries(refused_by_name).map((each) => each.join(" ")).join(", ")}`,
  );
}
if (results.some(({ wrong }) => wrong.length > 0)) Deno.exitCode = 1;

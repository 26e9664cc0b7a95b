// Structured output: what compiling a schema, making a mask and keeping grammars cost, and what is supported, on
// MaskBench's schemas (guidance-ai/jsonschemabench, folder maskbench/data) with Qwen3's vocabulary. An instance is
// walked token by token, a mask before each; it counts as accepted if every token was allowed and the text may end.
// Times are CPU time of the thread, collections of its heap included, so that other work on the machine counts less.
// The instances' tokens are made before, and corpus and times lie outside of the heap, as in the worker that makes masks
// there are none of them: what a collection costs grows with the heap.
//
//   deno run -A --v8-flags=--expose-gc bench/grammar.ts --corpus DIR --tokenizer DIR
//
//   --corpus DIR      files of { schema, tests: [{ valid, data }] }
//   --tokenizer DIR   with tokenizer.json and tokenizer_config.json (../shared/tokenizers/qwen3)
//   --every N         every N-th schema (1)
//   --peers PYTHON    also llguidance and xgrammar, in a Python that has them with tokenizers and transformers
//   --out FILE        everything as JSON

import { Tokenizer } from "@huggingface/tokenizers";
import { GrammarError } from "../engine/grammar/errors.ts";
import { compileGrammar, type Grammar } from "../engine/grammar/grammar.ts";
import { Matcher } from "../engine/grammar/matcher.ts";
import { MaskMaker } from "../engine/grammar/vocabulary/masks.ts";
import { modelVocabulary, type Vocabulary } from "../engine/grammar/vocabulary/vocabulary.ts";
import { Vocabulary as TokenizerVocabulary } from "../engine/tokenizer/vocabulary.ts";
import { readOptions, whole } from "./common/arguments.ts";
import { environment } from "./common/environment.ts";
import { writeResult } from "./common/result_file.ts";
import { percentile } from "./common/statistics.ts";
import { figure, table } from "./common/table.ts";
import { threadClock } from "./common/thread_clock.ts";
import { corpusFiles } from "./grammar/corpus.ts";
import { Store, TokenCases } from "./grammar/token_cases.ts";

const VOCABULARY = 151_936;
const END_IDS = [151_643, 151_645];
const HELD = 1000;
const SLOWEST = 10;

/** Milliseconds at the 50th and 99th percentile and at most. */
interface Times {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** One engine on the corpus; the peers' program prints the same. */
export interface EngineResult {
  readonly engine: string;
  readonly schemas: number;
  readonly compile_ms: Times;
  readonly mask_ms: Times;
  /** Schemas compiled, and of those, all instances decided right. */
  readonly compiled: number;
  readonly passing: number;
  readonly wrongly_accepted: number;
  readonly wrongly_refused: number;
  readonly failed_midway: number;
  /** Compiled grammars held at once, and what they take: of peers, how much the process grew. */
  readonly held: number;
  readonly held_mb: number | null;
  readonly refusals: Readonly<Record<string, number>>;
  readonly examples: readonly string[];
  /** The slowest masks: milliseconds, and where. */
  readonly slowest?: readonly (readonly [number, string])[];
}

const { values } = readOptions(import.meta.url, {
  options: {
    corpus: { type: "string" },
    tokenizer: { type: "string", default: "../shared/tokenizers/qwen3" },
    every: { type: "string", default: "1" },
    peers: { type: "string" },
    out: { type: "string" },
  },
});
if (values.corpus === undefined) {
  console.error("--corpus DIR is needed: MaskBench's folder maskbench/data");
  Deno.exit(2);
}

const cpu = threadClock();

function times(store: Store<Float64Array>): Times {
  const list = [...store.at()];
  return {
    count: list.length,
    p50: percentile(list, 0.5),
    p99: percentile(list, 0.99),
    max: percentile(list, 1),
  };
}

function heap(): number | undefined {
  const collect = (globalThis as { gc?: () => void }).gc;
  if (collect === undefined) return undefined;
  collect();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

function run(
  files: readonly string[],
  cases: TokenCases,
  masks: MaskMaker,
): Omit<EngineResult, "held" | "held_mb"> {
  const times64 = (capacity: number) => new Float64Array(capacity);
  const compile = new Store(times64), mask = new Store(times64), examples: string[] = [];
  const slowest: [number, string][] = [];
  const refusals: Record<string, number> = {};
  const count = { compiled: 0, passing: 0, accepted: 0, refused: 0, midway: 0 };
  const bits = new Uint32Array(masks.vocabulary.words);
  for (const [index, name] of files.entries()) {
    const schema = cases.schema(index);
    const before = cpu();
    let grammar: Grammar;
    try {
      grammar = compileGrammar({ kind: "json_schema", schema });
    } catch (error) {
      if (!(error instanceof GrammarError)) throw error;
      const key = `${error.kind} ${error.keyword}`;
      refusals[key] = (refusals[key] ?? 0) + 1;
      continue;
    } finally {
      compile.add([cpu() - before]);
    }
    count.compiled++;
    let right = true;
    cases.tests(index).forEach(({ valid, tokens }, i) => {
      let accepted = true;
      const matcher = new Matcher(grammar, masks);
      let step = 0;
      try {
        for (const id of tokens) {
          const start = cpu();
          matcher.fillMask(bits);
          const took = cpu() - start;
          mask.add([took]);
          if (took > (slowest[SLOWEST - 1]?.[0] ?? 0)) {
            slowest.push([took, `${name} #${i}, mask ${step}`]);
            slowest.sort(([a], [b]) => b - a).splice(SLOWEST);
          }
          step++;
          accepted = (bits[id >> 5]! >>> (id & 31) & 1) === 1;
          if (accepted !== matcher.accept(id)) throw new Error(`${name}: the mask and the matcher disagree`);
          if (!accepted) break;
        }
        accepted &&= matcher.canEnd;
      } catch (error) {
        if (!(error instanceof GrammarError)) throw error;
        count.midway++;
        right = false;
        return;
      }
      if (accepted === valid) return;
      right = false;
      if (valid) count.refused++;
      else count.accepted++;
      if (examples.length < 40) examples.push(`${name} #${i} wrongly ${valid ? "refused" : "accepted"}`);
    });
    if (right) count.passing++;
  }
  return {
    engine: "radish",
    schemas: cases.length,
    compile_ms: times(compile),
    mask_ms: times(mask),
    compiled: count.compiled,
    passing: count.passing,
    wrongly_accepted: count.accepted,
    wrongly_refused: count.refused,
    failed_midway: count.midway,
    refusals,
    examples,
    slowest,
  };
}

async function peers(python: string, folder: string, files: readonly string[]): Promise<EngineResult[]> {
  const list = await Deno.makeTempFile();
  await Deno.writeTextFile(list, files.map((name) => `${folder}/${name}`).join("\n"));
  const script = new URL("./peers/grammar.py", import.meta.url).pathname;
  const results: EngineResult[] = [];
  for (const engine of ["llguidance", "xgrammar"]) {
    const args = [script, "--engine", engine, "--tokenizer", values.tokenizer, "--files", list];
    const { success, stdout } = await new Deno.Command(python, { args, stderr: "null" }).output();
    const last = new TextDecoder().decode(stdout).trim().split("\n").at(-1) ?? "";
    if (success && last !== "") results.push(JSON.parse(last));
    else console.error(`${engine} gave no result`);
  }
  await Deno.remove(list);
  return results;
}

// In a function, so that the tokenizer can be collected.
async function prepare(folder: string, files: readonly string[]): Promise<[Vocabulary, TokenCases]> {
  const read = async (file: string) => JSON.parse(await Deno.readTextFile(`${values.tokenizer}/${file}`));
  const file = await read("tokenizer.json");
  const tokenizer = new Tokenizer(file, await read("tokenizer_config.json"));
  return [
    modelVocabulary(new TokenizerVocabulary(file, values.tokenizer), VOCABULARY, END_IDS),
    new TokenCases(folder, files, (text) => tokenizer.encode(text, { add_special_tokens: false }).ids),
  ];
}

const started = await environment();
const files = corpusFiles(values.corpus, whole(values.every, "every"));
const [vocabulary, cases] = await prepare(values.corpus, files);
// The text of the tokenizer's file lives as long as the turn of the event loop in which it came.
await new Promise((resolve) => setTimeout(resolve));
const masks = new MaskMaker(vocabulary);

// Memory first, on a clean heap: grammars as compiled, with the start state that every matcher begins with.
const empty = heap();
const grammars: Grammar[] = [];
for (let index = 0; index < cases.length && grammars.length < HELD; index++) {
  try {
    const grammar = compileGrammar({ kind: "json_schema", schema: cases.schema(index) });
    void grammar.start;
    grammars.push(grammar);
  } catch (error) {
    if (!(error instanceof GrammarError)) throw error;
  }
}
const full = heap();
const held = grammars.length,
  held_mb = empty === undefined || full === undefined ? null : (full - empty) / 1e6;
grammars.length = 0;

const results: EngineResult[] = [{ ...run(files, cases, masks), held, held_mb }];
if (values.peers !== undefined) results.push(...await peers(values.peers, values.corpus, files));

console.log(table(
  [
    "engine",
    "compile p50",
    "p99",
    "max",
    "mask p50",
    "p99",
    "max",
    "masks",
    "compiled",
    "passing",
    "%",
    "wrongly accepted",
    "wrongly refused",
    "failed midway",
    "held",
    "MB",
  ],
  results.map((result) => [
    result.engine,
    ...[result.compile_ms, result.mask_ms].flatMap(({ p50, p99, max }) => [p50, p99, max].map(figure)),
    ...[result.mask_ms.count, result.compiled, result.passing].map(figure),
    (result.passing / result.schemas * 100).toFixed(1),
    ...[result.wrongly_accepted, result.wrongly_refused, result.failed_midway, result.held].map(figure),
    result.held_mb === null ? "run with --v8-flags=--expose-gc" : figure(result.held_mb),
  ]),
));
console.log(
  `masks kept ${figure(masks.bytes / 1e6)} MB, ${figure(masks.hits)} found, ${figure(masks.misses)} made`,
);
for (const { engine, refusals } of results) {
  const most = Object.entries(refusals).sort(([, a], [, b]) => b - a).slice(0, 8);
  console.log(`${engine} refused for: ${most.map(([why, count]) => `${why} ${count}`).join(", ")}`);
}
if (values.out !== undefined) {
  await writeResult(values.out, { environment: started, results });
}

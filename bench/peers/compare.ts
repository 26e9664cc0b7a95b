// radish beside what people would use instead, on the same machine, one after the other: llama.cpp through its npm
// binding, on the same shape with random weights (bf16 here, f16 there; with --dtype int8, int8 here, Q8_0 there), the
// same prompts, batches and threads.
//
//   mkdir peer && (cd peer && npm init -y && npm install --ignore-scripts node-llama-cpp@3.22.1)
//   deno run -A bench/peers/compare.ts --peer peer --threads 2                 both on the CPU
//   deno run -A bench/peers/compare.ts --peer peer --gpu vulkan --batches 1,8  both on the GPU
//   deno run -A bench/peers/compare.ts --peer peer --shape bench/shapes/qwen3-0.6b,bench/shapes/qwen3-1.7b \
//     --weights q8_0,q4_0,q4_k_m                                               both run the same files of these formats
//
// --shape FILE.gguf has both run that file, weights as they are stored. With --weights, or several shapes, --out names
// a folder.
//
// On Linux both are pinned to the first --threads cores when they compute on the CPU. --rounds repeats the pair, so
// that a change of the machine's load shows; each round's figures are medians, the table has the medians of those.

import { z } from "zod";
import { openModel } from "../../engine/model/open.ts";
import { choice, list, readOptions, whole } from "../common/arguments.ts";
import { environment } from "../common/environment.ts";
import { slug, writeResult } from "../common/result_file.ts";
import { median } from "../common/statistics.ts";
import { figure, table } from "../common/table.ts";
import { type GgufWeights, ggufWeights, writeGguf } from "./gguf.ts";

const output = z.object({
  device: z.string(),
  measurements: z.array(z.object({
    what: z.enum(["prefill", "decode"]),
    size: z.number(),
    tokens_per_second: z.number(),
    milliseconds: z.number(),
  })),
});
type Output = z.infer<typeof output>;

function readArguments() {
  const { values } = readOptions(import.meta.url, {
    options: {
      peer: { type: "string" },
      shape: { type: "string", default: "bench/shapes/qwen3-0.6b" },
      gguf: { type: "string" },
      gpu: { type: "string", default: "none" },
      dtype: { type: "string", default: "auto" },
      weights: { type: "string", default: "" },
      threads: { type: "string", default: String(navigator.hardwareConcurrency) },
      prompts: { type: "string", default: "512" },
      batches: { type: "string", default: "1,4" },
      context: { type: "string", default: "128" },
      tokens: { type: "string", default: "64" },
      repeat: { type: "string", default: "3" },
      rounds: { type: "string", default: "1" },
      out: { type: "string" },
    },
  });
  if (values.peer === undefined) throw new Error("--peer names the folder where node-llama-cpp is installed");
  const sizes = (name: "prompts" | "batches") => list(values[name], (part) => whole(part, name));
  return {
    peer: values.peer,
    shapes: list(values.shape, (shape) => shape),
    /** Formats of files that both run; none: radish runs the shape itself. */
    weights: list(values.weights, (name) => choice(name, "weights", ggufWeights)),
    /** Kept when it is named, removed afterwards when not. */
    gguf: values.gguf ?? null,
    out: values.out ?? null,
    rounds: whole(values.rounds, "rounds"),
    workload: {
      dtype: choice(values.dtype, "dtype", ["auto", "int8"]),
      gpu: choice(values.gpu, "gpu", ["none", "vulkan", "cuda"]),
      threads: whole(values.threads, "threads"),
      prompts: sizes("prompts"),
      batches: sizes("batches"),
      context: whole(values.context, "context"),
      tokens: whole(values.tokens, "tokens", 2),
      repeat: whole(values.repeat, "repeat"),
    },
  };
}

type Workload = ReturnType<typeof readArguments>["workload"];

/** Runs a program, pinned when it computes on the CPU, and returns what it printed. */
async function run(
  args: readonly string[],
  workload: Workload,
  cwd: string,
  input?: string,
): Promise<Output> {
  const pinned = workload.gpu === "none" && Deno.build.os === "linux";
  const command = pinned ? "taskset" : Deno.execPath();
  const before = pinned ? ["-c", `0-${workload.threads - 1}`, Deno.execPath()] : [];
  const child = new Deno.Command(command, {
    args: [...before, ...args],
    cwd,
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  }
  const { stdout, stderr } = await child.output();
  const decoder = new TextDecoder(), text = decoder.decode(stdout);
  try {
    return output.parse(JSON.parse(text));
  } catch (error) {
    throw new Error(
      `no result from deno ${args.slice(0, 6).join(" ")}: ${decoder.decode(stderr).trim() || text}`,
      {
        cause: error,
      },
    );
  }
}

/** A file that both sides run as it is, in place of a shape with random weights. */
const isGguf = (shape: string): boolean => shape.endsWith(".gguf");

function runRadish(shape: string, workload: Workload): Promise<Output> {
  const { gpu, dtype, threads, prompts, batches, context, tokens, repeat } = workload;
  const room = Math.max(...prompts, context + tokens) + 16;
  return run(
    [
      ...[
        "run",
        "-q",
        "-A",
        "main.ts",
        "bench",
        "--json",
        "--quiet",
        ...(isGguf(shape) ? [] : ["--dummy-weights"]),
        "--skip-tokenizer-init",
      ],
      ...["--model", shape, "--dtype", dtype, "--prompts", prompts.join(), "--batches", batches.join()],
      ...["--context", String(context), "--tokens", String(tokens), "--repeat", String(repeat)],
      ...[
        "--context-length",
        String(room),
        "--num-pages",
        String(Math.ceil(room / 8) * Math.max(...batches)),
      ],
      ...["--device", gpu === "none" ? "cpu" : "webgpu", "--threads", String(threads)],
    ],
    workload,
    decodeURIComponent(new URL("../../", import.meta.url).pathname),
  );
}

async function runLlamaCpp(peer: string, gguf: string, workload: Workload): Promise<Output> {
  const program = await Deno.readTextFile(new URL("./llama_cpp.ts", import.meta.url));
  const task = JSON.stringify({ ...workload, model: await Deno.realPath(gguf) });
  return await run(["run", "-q", "-A", "--no-check", "-", task], workload, peer, program);
}

/** What is compared: a shape of random weights, in both programs the same file when `weights` names its format. */
interface Pair {
  readonly shape: string;
  readonly weights: GgufWeights | null;
}

async function compare(
  { shape, weights }: Pair,
  { peer, gguf, rounds, workload }: ReturnType<typeof readArguments>,
) {
  const radish: Output[] = [], llama: Output[] = [];
  const kept = gguf ?? (isGguf(shape) ? shape : null);
  const file = kept ?? await Deno.makeTempFile({ suffix: ".gguf" });
  try {
    if (await Deno.stat(file).then((info) => info.size, () => 0) === 0) {
      console.error(`compare: writing ${file}`);
      const { config } = await openModel(shape, { dummy: true });
      await writeGguf(file, config, weights ?? (workload.dtype === "int8" ? "q8_0" : "f16"));
    }
    for (let round = 1; round <= rounds; round++) {
      // A side may take minutes, llama.cpp with several sequences on few cores above all.
      console.error(`compare: round ${round} of ${rounds}: radish`);
      radish.push(await runRadish(weights === null ? shape : file, workload));
      console.error(`compare: round ${round} of ${rounds}: llama.cpp`);
      llama.push(await runLlamaCpp(peer, file, workload));
    }
  } finally {
    if (kept === null) await Deno.remove(file);
  }
  return { radish, llama };
}

async function main(): Promise<void> {
  const options = readArguments(), { peer, shapes, weights, gguf, out, workload } = options;
  const { version } = z.object({ version: z.string() }).parse(
    JSON.parse(await Deno.readTextFile(`${peer}/node_modules/node-llama-cpp/package.json`)),
  );
  const name = `llama.cpp (node-llama-cpp ${version})`;
  const formats = weights.length === 0 ? [null] : weights;
  const pairs: Pair[] = shapes.flatMap((shape) => formats.map((weights) => ({ shape, weights })));
  if (pairs.length > 1 && gguf !== null) {
    throw new Error("--gguf names one file, for one shape in one format");
  }
  const where = await environment();
  for (const pair of pairs) {
    const { radish, llama } = await compare(pair, options);
    const shape = pair.weights === null ? pair.shape : `${pair.shape}, ${pair.weights}`;
    const result = { kind: "peers", environment: where, shape, workload, peer: name, radish, llama };
    if (out !== null) {
      const separate = pairs.length > 1 || pair.weights !== null;
      await writeResult(separate ? `${out}/${slug(shape.split("/").at(-1)!)}.json` : out, result);
    }
    console.log(`${shape}: radish on ${radish[0]!.device}, ${name} on ${llama[0]!.device}\n`);
    console.log(comparison(radish, llama, name) + "\n");
  }
}

/** A line per size, with the medians of the rounds. */
function comparison(radish: readonly Output[], llama: readonly Output[], name: string): string {
  const rate = (runs: readonly Output[], what: string, size: number) =>
    median(
      runs.flatMap(({ measurements }) =>
        measurements.filter((each) => each.what === what && each.size === size)
      )
        .map(({ tokens_per_second }) => tokens_per_second),
    );
  return table(
    ["tokens/s", "radish", name, "ratio"],
    radish[0]!.measurements.map(({ what, size }) => {
      const ours = rate(radish, what, size), theirs = rate(llama, what, size);
      const label = what === "prefill" ? `prefill, ${size} tokens` : `decode, ${size} at once`;
      return [label, figure(ours), figure(theirs), figure(ours / theirs)];
    }),
  );
}

if (import.meta.main) await main();

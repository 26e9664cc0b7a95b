// radish beside mini-SGLang on one NVIDIA GPU, one after the other: the same shapes with random weights in bf16, the same
// prompts, batches and offline requests; one table for both.
//
//   deno run -A bench/peers/mini_sglang.ts --sources mini-sglang/python --tokenizer FOLDER [--out FOLDER]
//
// Python needs PyTorch, flashinfer-python 0.5.3, apache-tvm-ffi, transformers 4.57, tokenizers 0.22, huggingface_hub 0.36,
// pyzmq, msgpack and pynvml, and nvcc, with which flashinfer compiles at its first start. mini-SGLang insists on a
// tokenizer, though only ids are given: FOLDER has the tokenizer.json and tokenizer_config.json of a Qwen3 model.

import { z } from "zod";
import { choice, list, readOptions, whole } from "../common/arguments.ts";
import { environment } from "../common/environment.ts";
import { writeResult } from "../common/result_file.ts";
import { figure, table } from "../common/table.ts";

const measurement = z.object({
  what: z.enum(["prefill", "decode", "offline"]),
  size: z.number(),
  tokens_per_second: z.number(),
});
const peerOutput = z.object({
  device: z.string(),
  load_seconds: z.number(),
  measurements: z.array(measurement),
});
const benchOutput = z.looseObject({ device: z.string(), measurements: z.array(measurement) });
const offlineOutput = z.looseObject({
  runs: z.array(z.looseObject({ output_tokens_per_second: z.number() })).length(1),
});
type Measurement = z.infer<typeof measurement>;

const root = decodeURIComponent(new URL("../../", import.meta.url).pathname);

function readArguments() {
  const { values } = readOptions(import.meta.url, {
    options: {
      sources: { type: "string" },
      tokenizer: { type: "string" },
      python: { type: "string", default: "python3" },
      device: { type: "string", default: "cuda" },
      shapes: { type: "string", default: "bench/shapes/qwen3-0.6b,bench/shapes/qwen3-8b" },
      prompts: { type: "string", default: "512,2048" },
      batches: { type: "string", default: "1,8,32,64" },
      context: { type: "string", default: "128" },
      tokens: { type: "string", default: "128" },
      repeat: { type: "string", default: "3" },
      requests: { type: "string", default: "256" },
      min: { type: "string", default: "100" },
      max: { type: "string", default: "1024" },
      "cached-only": { type: "boolean", default: false },
      out: { type: "string" },
    },
  });
  const { sources, tokenizer } = values;
  if (sources === undefined) throw new Error("--sources names the folder that has mini-SGLang's minisgl");
  if (tokenizer === undefined) throw new Error("--tokenizer names the folder that has a tokenizer.json");
  const sizes = (name: "prompts" | "batches") => list(values[name], (part) => whole(part, name));
  return {
    sources,
    tokenizer,
    python: values.python,
    device: choice(values.device, "device", ["cuda", "webgpu", "cpu"]),
    shapes: list(values.shapes, (shape) => shape),
    cachedOnly: values["cached-only"],
    out: values.out ?? null,
    workload: {
      prompts: sizes("prompts"),
      batches: sizes("batches"),
      context: whole(values.context, "context"),
      tokens: whole(values.tokens, "tokens", 2),
      repeat: whole(values.repeat, "repeat"),
      requests: whole(values.requests, "requests"),
      minTokens: whole(values.min, "min"),
      maxTokens: whole(values.max, "max"),
    },
  };
}

type Arguments = ReturnType<typeof readArguments>;

/** Runs a program and returns what the last line that it printed says. */
async function run(command: string, args: readonly string[], env: Record<string, string>): Promise<unknown> {
  const { code, stdout } = await new Deno.Command(command, {
    args: [...args],
    cwd: root,
    env,
    stdin: "null",
    stderr: "inherit",
  }).output();
  const text = new TextDecoder().decode(stdout).trim();
  if (code !== 0) throw new Error(`${command} ${args.slice(0, 8).join(" ")} ended with code ${code}`);
  return JSON.parse(text.startsWith("{\n") ? text : text.slice(text.lastIndexOf("\n") + 1));
}

/** Both of radish's programs for a shape. */
async function runRadish(shape: string, { device, cachedOnly, workload }: Arguments) {
  const { prompts, batches, context, tokens, repeat, requests, minTokens, maxTokens } = workload;
  const deno = ["run", "-q", "-A", ...(cachedOnly ? ["--cached-only"] : [])];
  const room = Math.max(...prompts, context + tokens) + 16;
  const pages = Math.ceil((context + tokens + 16) / 8) * Math.max(...batches) + Math.ceil(room / 8);
  const sizes = ["--context-length", String(room), "--num-pages", String(pages)];
  const bench = benchOutput.parse(
    await run(Deno.execPath(), [
      ...[...deno, "main.ts", "bench", "--json", "--quiet", "--dummy-weights", "--skip-tokenizer-init"],
      ...["--model", shape, "--device", device, "--prompts", prompts.join(), "--batches", batches.join()],
      ...["--context", String(context), "--tokens", String(tokens), "--repeat", String(repeat), ...sizes],
    ], {}),
  );
  const offline = offlineOutput.parse(
    await run(Deno.execPath(), [
      ...[...deno, "bench/offline.ts", "--json", "--model", shape, "--device", device, "--overlap", "on"],
      ...["--requests", String(requests), "--min", String(minTokens), "--max", String(maxTokens)],
    ], {}),
  );
  const tokens_per_second = offline.runs[0]!.output_tokens_per_second;
  const measurements: Measurement[] = [
    ...bench.measurements,
    { what: "offline", size: requests, tokens_per_second },
  ];
  return { device: bench.device, measurements, raw: { bench, offline } };
}

async function runPeer(shape: string, { sources, tokenizer, python, workload }: Arguments) {
  const model = await Deno.makeTempDir();
  try {
    await Deno.copyFile(`${shape}/config.json`, `${model}/config.json`);
    for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
      await Deno.copyFile(`${tokenizer}/${name}`, `${model}/${name}`);
    }
    const program = decodeURIComponent(new URL("./mini_sglang.py", import.meta.url).pathname);
    const path = [sources, Deno.env.get("PYTHONPATH") ?? []].flat().join(":");
    return peerOutput.parse(
      await run(python, [program, JSON.stringify({ ...workload, model })], { PYTHONPATH: path }),
    );
  } finally {
    await Deno.remove(model, { recursive: true });
  }
}

const labels = {
  prefill: (size: number) => `prefill, ${size} tokens`,
  decode: (size: number) => `decode, ${size} at once`,
  offline: (size: number) => `offline, ${size} requests, tokens out`,
};

const isOffline = ({ what }: Measurement) => what === "offline";

/** A side's figures as `bench/report.ts` reads them. */
const timed = (side: { device: string; measurements: Measurement[] }) => ({
  device: side.device,
  measurements: side.measurements.filter((each) => !isOffline(each)).map((each) => ({
    ...each,
    milliseconds: each.size / each.tokens_per_second * 1000,
  })),
});

async function main(): Promise<void> {
  const args = readArguments();
  const where = await environment();
  const shapes = [];
  for (const shape of args.shapes) {
    console.error(`mini_sglang: ${shape}: radish`);
    const radish = await runRadish(shape, args);
    console.error(`mini_sglang: ${shape}: mini-SGLang`);
    shapes.push({ shape, radish, peer: await runPeer(shape, args) });
  }
  const rows = shapes.flatMap(({ shape, radish, peer }) =>
    peer.measurements.map(({ what, size, tokens_per_second: theirs }) => {
      const ours = radish.measurements.find((each) => each.what === what && each.size === size)!
        .tokens_per_second;
      const name = `${shape.split("/").at(-1)}: ${labels[what](size)}`;
      return [name, figure(ours), figure(theirs), (ours / theirs).toFixed(2)];
    })
  );
  if (args.out !== null) {
    for (const { shape, radish, peer } of shapes) {
      await writeResult(`${args.out}/mini-sglang-${shape.split("/").at(-1)}.json`, {
        kind: "peers",
        environment: where,
        shape,
        workload: args.workload,
        peer: "mini-SGLang",
        radish: [timed(radish)],
        llama: [timed(peer)],
        offline: [radish, peer].map(({ measurements }) => measurements.filter(isOffline)),
        raw: { radish: radish.raw, peer },
      });
    }
  }
  console.log(`\n${shapes[0]!.radish.device}, commit ${where.commit ?? "unknown"}, ${where.date}\n`);
  console.log(table(["tokens/s", "radish", "mini-SGLang", "ratio"], rows));
}

if (import.meta.main) await main();

// Every figure that radish is judged by, from one command: first the tests that say whether the results are right on
// this device, then speed. Each part is a process of its own (`bench/suite/parts.ts`), in order of importance, within
// a time budget.
//
//   deno run -A bench/suite.ts                        about five minutes on a GPU; writes into bench/results/
//   deno run -A bench/suite.ts --cached-only --out DIR --budget 280     on a machine without network
//   deno run -A bench/suite.ts --large                also load and run the 14B, 8B and 30B-A3B shapes
//
// The table comes last. The result file is written once, whole, with date, device, driver and commit; after Ctrl-C or
// SIGTERM with the parts that were done. Exit code 1 if a part failed.

import { choice, list, positive, readOptions, whole } from "./common/arguments.ts";
import { type Environment, environment } from "./common/environment.ts";
import { slug, writeResult } from "./common/result_file.ts";
import { figure, table } from "./common/table.ts";
import { denoRunner } from "./suite/child.ts";
import {
  gpuParts,
  largeShapes,
  type Part,
  type SuiteOptions,
  suiteParts,
  webGpuParts,
} from "./suite/parts.ts";
import { reaches } from "./suite/reach.ts";
import { type PartResult, runParts } from "./suite/run.ts";

const root = decodeURIComponent(new URL("../", import.meta.url).pathname);

function readArguments() {
  const { values } = readOptions(import.meta.url, {
    options: {
      device: { type: "string", default: "auto" },
      threads: { type: "string" },
      "cached-only": { type: "boolean", default: false },
      model: { type: "string", default: "bench/shapes/qwen3-0.6b" },
      shapes: { type: "string", default: "bench/shapes" },
      parts: { type: "string" },
      large: { type: "boolean", default: false },
      budget: { type: "string", default: "300" },
      batches: { type: "string", default: "1,8,32,64" },
      "plain-batches": { type: "string", default: "1,8,64" },
      prompt: { type: "string", default: "2048" },
      context: { type: "string", default: "128" },
      tokens: { type: "string", default: "128" },
      repeat: { type: "string", default: "5" },
      requests: { type: "string", default: "256" },
      min: { type: "string", default: "100" },
      max: { type: "string", default: "1024" },
      out: { type: "string", default: `${root}bench/results` },
    },
  });
  const sizes = (text: string, name: string) => list(text, (part) => whole(part, name));
  const options: SuiteOptions = {
    device: choice(values.device, "device", ["auto", "cuda", "webgpu", "cpu"]),
    threads: values.threads === undefined ? null : whole(values.threads, "threads"),
    cachedOnly: values["cached-only"],
    model: values.model,
    shapes: values.shapes,
    batches: sizes(values.batches, "batches"),
    plainBatches: sizes(values["plain-batches"], "plain-batches"),
    prompt: whole(values.prompt, "prompt"),
    context: whole(values.context, "context"),
    tokens: whole(values.tokens, "tokens", 2),
    repeat: whole(values.repeat, "repeat"),
    requests: whole(values.requests, "requests"),
    minTokens: whole(values.min, "min"),
    maxTokens: whole(values.max, "max"),
  };
  return {
    options,
    parts: chosenParts(suiteParts(options), values.parts, values.large, options.device),
    budget: positive(values.budget, "budget"),
    out: values.out,
  };
}

function chosenParts(
  parts: readonly Part[],
  names: string | undefined,
  large: boolean,
  device: SuiteOptions["device"],
): Part[] {
  const left = [
    ...(large ? [] : largeShapes),
    ...(device === "cpu" ? gpuParts : device === "cuda" ? webGpuParts : []),
  ] as readonly string[];
  if (names === undefined) {
    return parts.filter(({ name }) => !left.includes(name));
  }
  const known = parts.map(({ name }) => name);
  const wanted = list(names, (name) => choice(name.trim(), "parts", known));
  return parts.filter(({ name }) => wanted.includes(name));
}

async function main(): Promise<number> {
  const { options, parts, budget, out } = readArguments();
  const where = await environment();
  console.error(`suite: ${parts.map(({ name }) => name).join(", ")}; at most ${budget} s`);
  using stop = onStop();
  const began = performance.now();
  const results = await runParts(
    parts,
    budget,
    denoRunner(root, stop.signal),
    (result) => console.error(progressLine(result)),
    () => stop.signal.aborted ? Infinity : performance.now() / 1000,
  );
  const device = deviceOf(results, where);
  const path = `${out}/${fileName(where, device)}`;
  await writeResult(path, {
    kind: "suite",
    environment: where,
    device,
    options,
    budget_seconds: budget,
    seconds: (performance.now() - began) / 1000,
    parts: results,
  });
  console.log(summary(results, where, device));
  console.log(`\nraw output: ${path}`);
  return results.every(({ status }) => status === "ok") ? 0 : 1;
}

/** One line as soon as a part is done, with its figures: they are safe there whatever happens later. */
function progressLine({ name, status, seconds, exit_code, figures, problem }: PartResult): string {
  const numbers = figures.map(({ value, unit }) => `${figure(value)} ${unit}`.trim()).join(", ");
  const code = exit_code === 0 || exit_code === null ? "" : ` (exit code ${exit_code})`;
  return `suite: ${name}: ${status} after ${seconds.toFixed(0)} s${code}: ${problem ?? numbers}`;
}

function deviceOf(results: readonly PartResult[], { gpus }: Environment): string {
  for (const { raw } of results) {
    if (typeof raw === "object" && raw !== null && "device" in raw && typeof raw.device === "string") {
      return raw.device;
    }
  }
  return gpus[0]?.name ?? "unknown device";
}

function fileName({ date }: Environment, device: string): string {
  const time = date.slice(0, 16).replace("T", "-").replace(":", "");
  return `suite-${time}-${slug(device).slice(0, 40)}.json`;
}

function summary(results: readonly PartResult[], where: Environment, device: string): string {
  const rows = results.flatMap(({ name, status, figures, problem }) =>
    status === "ok"
      ? figures.map((each) => {
        const { peer = null, reach = null } = reaches[each.name] ?? {};
        return [
          each.name,
          `${figure(each.value)} ${each.unit}`.trim(),
          peer ?? "",
          reach === null ? "" : figure(reach),
          reach === null ? "" : `${(each.value / reach * 100).toFixed(0)} %`,
        ];
      })
      : [[`${name}: ${status}`, problem ?? "", "", "", ""]]
  );
  const driver = where.gpus[0] ? `, driver ${where.gpus[0].driver}` : "";
  return `\n${device}${driver}, commit ${where.commit ?? "unknown"}, ${where.date}\n\n` +
    table(["figure", "radish", "llama.cpp CUDA, H200", "reach, H200", "of reach"], rows);
}

/** Aborts at the first signal to stop, for as long as it is held. */
function onStop(): { readonly signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const listener = () => controller.abort();
  const signals: readonly Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
  for (const name of signals) Deno.addSignalListener(name, listener);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => signals.forEach((name) => Deno.removeSignalListener(name, listener)),
  };
}

if (import.meta.main) Deno.exit(await main());

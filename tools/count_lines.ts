// `deno task docs`: counts lines of code and writes the numbers into the documents, between marks:
//
//   <!--lines engine/kvcache/radix.ts-->182<!--/lines-->   of one or more files or folders
//   <!--core-->4,900<!--/core-->                           of the core
//   <!--table-->…<!--/table-->                             modules, here and in mini-SGLang and SGLang
//
// A line of code is one that is neither blank nor a comment. A test compares the documents with the sources.

import { root } from "./contents.ts";

/** A part of the program and its counterparts; `null` where there is none of its own. */
interface Module {
  readonly name: string;
  readonly paths: readonly string[];
  readonly mini: number | null;
  readonly sglang: number | null;
}

/**
 * The core: what a person reads in an afternoon. `engine/` without its layers, the operations, the plan, and what
 * each operation means.
 *
 * The others' lines are counted in the same way, docstrings left out too: mini-SGLang at commit 20fcd7f, SGLang in
 * the Python of its package 0.5.23. Which of their files belong to a module is said below the table in
 * `docs/tour.md`.
 */
const core: readonly Module[] = [
  { name: "scheduler", paths: ["engine/scheduler"], mini: 644, sglang: 17170 },
  { name: "prefix cache, pages", paths: ["engine/kvcache"], mini: 373, sglang: 74840 },
  { name: "executor", paths: ["engine/executor"], mini: 536, sglang: 28696 },
  { name: "decoder", paths: ["engine/model"], mini: 660, sglang: 13160 },
  { name: "engine, messages", paths: ["engine/*.ts"], mini: 403, sglang: 3593 },
  {
    name: "tokenizer, detokenizer",
    paths: ["engine/tokenizer", "engine/detokenizer"],
    mini: 199,
    sglang: 3760,
  },
  {
    name: "operations, plan, their meaning",
    paths: ["kernels/ops.ts", "kernels/plan.ts", "kernels/sampling.ts", "kernels/reference"],
    mini: null,
    sglang: null,
  },
];

/** Most lines of code that the core may have: as many as mini-SGLang has in all. A test holds it. */
export const coreBound = 5000;

/** Folders of `engine/` that are layers around the core. */
export const layersOfEngine: readonly string[] = [
  "engine/weights",
  "engine/jinja",
  "engine/grammar",
  "engine/workers",
];

const layers: readonly Module[] = [
  { name: "workers, watched and restarted", paths: ["engine/workers"], mini: null, sglang: null },
  { name: "checkpoint formats", paths: ["engine/weights"], mini: null, sglang: null },
  { name: "grammars", paths: ["engine/grammar"], mini: null, sglang: null },
  { name: "chat template language", paths: ["engine/jinja"], mini: null, sglang: null },
  { name: "kernels, shared", paths: ["kernels/*.ts", "kernels/formats"], mini: null, sglang: null },
  { name: "kernels, WebGPU", paths: ["kernels/webgpu"], mini: 3360, sglang: 166788 },
  { name: "kernels, WebAssembly", paths: ["kernels/cpu"], mini: null, sglang: null },
  { name: "HTTP", paths: ["server/http"], mini: 346, sglang: 42827 },
  { name: "replicas", paths: ["server/replicas"], mini: null, sglang: null },
  { name: "page", paths: ["server/page"], mini: null, sglang: null },
  { name: "command line", paths: ["main.ts", "server/cli"], mini: 303, sglang: 19321 },
  { name: "download", paths: ["server/hub"], mini: null, sglang: null },
];

/** Lines of code of the core. */
export async function countCore(): Promise<number> {
  return await countPaths(core.flatMap(({ paths }) => paths));
}

/** Files and folders that are part of the core. */
export const corePaths: readonly string[] = core.flatMap(({ paths }) => paths);

/** Lines that are neither blank nor a comment. */
export function codeLines(text: string): number {
  let count = 0, inComment = false;
  for (const line of text.split("\n").map((line) => line.trim())) {
    if (line.startsWith("/*")) inComment = true;
    if (line !== "" && !inComment && !line.startsWith("//")) count++;
    if (line.endsWith("*/")) inComment = false;
  }
  return count;
}

/** Lines of code in a file, in all TypeScript of a folder, or, with `/*.ts`, in a folder without its subfolders. */
export async function countPath(path: string): Promise<number> {
  if (/\.tsx?$/.test(path) && !path.endsWith("/*.ts")) {
    return codeLines(await Deno.readTextFile(`${root}/${path}`));
  }
  const deep = !path.endsWith("/*.ts");
  const folder = deep ? path : path.slice(0, -"/*.ts".length);
  let count = 0;
  for await (const { name, isDirectory } of Deno.readDir(`${root}/${folder}`)) {
    if (isDirectory ? deep : /\.tsx?$/.test(name)) count += await countPath(`${folder}/${name}`);
  }
  return count;
}

async function countPaths(paths: readonly string[]): Promise<number> {
  return (await Promise.all(paths.map(countPath))).reduce((sum, count) => sum + count, 0);
}

/** A document with all its numbers brought up to date. */
export async function withCounts(text: string): Promise<string> {
  const table = await moduleTable(), coreLines = await countCore();
  const counts = new Map<string, string>();
  for (const [, paths] of text.matchAll(/<!--lines ([^>]*?)-->/g)) {
    counts.set(paths!, number(await countPaths(paths!.split(" "))));
  }
  return text
    .replaceAll(/(<!--lines ([^>]*?)-->)[^<]*(<!--\/lines-->)/g, (_, start, paths, end) => {
      return `${start}${counts.get(paths)}${end}`;
    })
    .replaceAll(/(<!--core-->)[^<]*(<!--\/core-->)/g, (_, start, end) => `${start}${number(coreLines)}${end}`)
    .replaceAll(/(<!--table-->)[^]*?(<!--\/table-->)/g, (_, start, end) => `${start}\n\n${table}\n\n${end}`);
}

async function moduleTable(): Promise<string> {
  const cell = (count: number | null) => count === null ? "–" : number(count);
  const total = (numbers: readonly (number | null)[]) =>
    numbers.reduce<number>((sum, count) => sum + (count ?? 0), 0);
  // What the core counts of a folder is not counted again as a layer.
  const ofLayer = async ({ paths }: Module) =>
    await countPaths(paths) -
    (paths.includes("kernels/*.ts") ? await countPaths(corePaths.filter(inKernels)) : 0);
  const inKernels = (path: string) => /^kernels\/\w+\.ts$/.test(path);
  const rows = async (
    modules: readonly Module[],
    sum: string,
    count: (module: Module) => Promise<number>,
  ) => {
    const counts = await Promise.all(modules.map(count));
    const named = modules.map(({ name, paths, mini, sglang }, i) => [
      name,
      paths.map((path) => `\`${path.replace(/\/\*\.ts$/, "/")}\``).join(", "),
      cell(counts[i]!),
      cell(mini),
      cell(sglang),
    ]);
    const others = (["mini", "sglang"] as const).map((other) => cell(total(modules.map((m) => m[other]))));
    return [...named, [`**${sum}**`, "", cell(total(counts)), ...others]];
  };
  return [
    ["module", "folder", "here", "mini-SGLang", "SGLang"],
    ["---", "---", "---:", "---:", "---:"],
    ...await rows(core, "the core", ({ paths }) => countPaths(paths)),
    ...await rows(layers, "layers around it", ofLayer),
  ].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

function number(value: number): string {
  return value.toLocaleString("en");
}

/** The project's documents. */
export async function documents(): Promise<string[]> {
  const paths = ["README.md"];
  for await (const { name } of Deno.readDir(`${root}/docs`)) {
    if (name.endsWith(".md")) paths.push(`docs/${name}`);
  }
  return paths.sort();
}

if (import.meta.main) {
  for (const path of await documents()) {
    const text = await Deno.readTextFile(`${root}/${path}`);
    const counted = await withCounts(text);
    if (counted !== text) await Deno.writeTextFile(`${root}/${path}`, counted);
  }
}

// What holds between the CUDA sources and the TypeScript around them, without a GPU: the words of the plan, the modules,
// and the kernels that are launched by name.

import assert from "node:assert/strict";
import { attentionModules } from "../../../kernels/cuda/attention/modules.ts";
import { takesFresh } from "../../../kernels/cuda/attention/attention.ts";
import {
  mmaPlanesTiles,
  mmaQ8Tiles,
  mmaTiles,
  narrowTiles,
  stepTiles,
  wideTiles,
} from "../../../kernels/cuda/gemm/tiles.ts";
import { productModules } from "../../../kernels/cuda/gemm/modules.ts";
import { recipes } from "../../../kernels/cuda/build/recipes.ts";
import { modules as packed } from "../../../kernels/cuda/modules.ts";
import { unpack } from "../../../kernels/cuda/unpack.ts";
import { Sample, sampleWords, Word } from "../../../kernels/webgpu/plan/words.ts";
import { contentAt } from "../../../kernels/webgpu/plan/words.ts";

const modules = Object.fromEntries(Object.entries(packed).map(([name, text]) => [name, unpack(text)]));
const folder = new URL("../../../kernels/cuda/", import.meta.url);
const read = (path: string) => Deno.readTextFile(new URL(path, folder));

/** NAME = value pairs of an enum in CUDA C++. */
function enumOf(source: string, name: string): Record<string, number> {
  const body = new RegExp(`enum ${name} \\{([^}]*)\\}`).exec(source)?.[1];
  assert.ok(body !== undefined, name);
  return Object.fromEntries(
    [...body.matchAll(/(\w+) = (\d+)/g)].map(([, key, value]) => [key, Number(value)]),
  );
}

/** splitKeys and SplitKeys become SPLIT_KEYS. */
const upper = (name: string) => name.replaceAll(/(?<=[a-z])[A-Z]/g, "_$&").toUpperCase();

Deno.test("kernels read the plan's words where they are written", async () => {
  const common = await read("kernel.cuh");
  const words = enumOf(common, "PlanWord");
  const expected = Object.fromEntries(Object.entries(Word).map(([name, at]) => [upper(name), at]));
  for (const [name, at] of Object.entries(words)) {
    assert.equal(at, name === "CONTENT_AT" ? contentAt : expected[name], name);
  }
  assert.ok(Object.keys(words).length > 10);
  assert.equal(Number(/SAMPLE_WORDS = (\d+)/.exec(common)?.[1]), sampleWords);
  const known: Record<string, number> = Sample;
  const renamed: Record<string, string> = {
    presence: "presencePenalty",
    frequency: "frequencyPenalty",
    repetition: "repetitionPenalty",
  };
  const record = enumOf(await read("sample/sample.cu"), "Sample");
  for (const [name, at] of Object.entries(record)) {
    const field = name.toLowerCase().replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
    assert.equal(at, known[renamed[field] ?? field], name);
  }
  assert.equal(Object.keys(record).length, 17);
});

Deno.test("every module that is compiled is embedded, and every source is compiled", async () => {
  assert.deepEqual(Object.keys(modules).sort(), Object.keys(recipes).sort());
  // Kernels that no backend takes yet are compiled by their bench.
  const benched = [...productModules, ...attentionModules];
  const sources = new Set([...Object.values(recipes), ...benched].map(({ source }) => source));
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (!isDirectory || name === "ptx" || name === "build") continue;
    for await (const file of Deno.readDir(new URL(`${name}/`, folder))) {
      if (file.name.endsWith(".cu")) found.push(`${name}/${file.name}`);
    }
  }
  assert.deepEqual(found.sort(), [...sources].sort());
});

Deno.test("the PTX is of a version that driver 550 takes, and for the capability that its recipe names", () => {
  for (const [name, ptx] of Object.entries(modules)) {
    const version = /^\.version (\d+)\.(\d+)$/m.exec(ptx);
    assert.ok(version !== null && 10 * Number(version[1]) + Number(version[2]) <= 84, name);
    assert.equal(/^\.target sm_(\w+)$/m.exec(ptx)?.[1], recipes[name]!.architecture ?? "80", name);
  }
});

Deno.test("kernels that may begin early wait for the one in front of them", () => {
  for (const [name, ptx] of Object.entries(modules)) {
    if (!name.endsWith("_sm90")) continue;
    for (const [, kernel, body] of ptx.matchAll(/\.entry (\w+)\(([\s\S]*?)\n\}\n/g)) {
      assert.match(body!, /griddepcontrol\.wait/, `${name}/${kernel}`);
    }
  }
});

Deno.test("every kernel that is launched by a fixed name is in its module", async () => {
  let count = 0;
  for (
    const file of [
      "operations.ts",
      "backend.ts",
      "linear/linear.ts",
      "attention/layer.ts",
      "moe/moe.ts",
      "moe/combine.ts",
    ]
  ) {
    for (const [, module, kernel] of (await read(file)).matchAll(/\.kernel\("(\w+)", "(\w+)"\)/g)) {
      assert.match(modules[module!]!, new RegExp(`\\.entry ${kernel}\\(`), kernel);
      count++;
    }
  }
  for (const [, kernel] of (await read("sample/sample.ts")).matchAll(/\bkernel\("(\w+)"\)/g)) {
    assert.match(modules.sample!, new RegExp(`\\.entry ${kernel}\\(`), kernel);
    count++;
  }
  assert.ok(count > 12, String(count));
});

Deno.test("every tile of a product has its kernel, and so has decode attention of every width", () => {
  const has = (module: string, kernel: string) =>
    assert.ok(modules[module]!.includes(`.entry ${kernel}(`), `${module}/${kernel}`);
  for (const element of ["bf16", "f16"]) {
    for (const { kernel } of mmaTiles) has(`mma_${element}`, kernel);
    for (const { kernel } of wideTiles) has(`wide_${element}`, kernel);
    for (const { kernel } of [...narrowTiles, ...stepTiles]) has(`narrow_${element}`, kernel);
  }
  for (const { kernel } of mmaQ8Tiles) has("mma_q8_bf16", kernel);
  for (const { kernel } of mmaPlanesTiles) has("mma_planes_bf16", kernel);
  for (const element of ["f16", "int8"] as const) {
    for (const module of [`decode_${element}`, `decode_${element}_sm90`]) {
      for (const width of [64, 128, 256]) {
        has(module, `decode_${width}`);
        const heads = { numHeads: 1, numKvHeads: 1, headDim: width };
        if (takesFresh({ heads, element })) has(module, `decode_fresh_${width}`);
      }
    }
  }
});

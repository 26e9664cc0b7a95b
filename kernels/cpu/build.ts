// Builds the WebAssembly modules from `assembly/` with AssemblyScript: one with relaxed SIMD, one without.
//
// Two sources are made here: "../operations" and "../formats" stand for what `operations.ts` and `formats.ts`
// declare. The modules are committed as base64 text, because a text import is the one way to embed bytes that works
// the same in `deno run`, `deno compile` and a bundle, and needs no permission to read. `--check` rebuilds them and
// fails if they differ: the compiler is pinned in `deno.json` and gives the same bytes everywhere.

import asc from "assemblyscript/asc";
import { formatFunctions, formats, productRoom } from "./formats.ts";
import { epilogues, floatWords, layouts, operations, operationWords } from "./operations.ts";

const variants = { relaxed: "--enable relaxed-simd", plain: "" } as const;

/** Both limits of the memory; `module.ts` replaces them. Equal limits let the compiler keep the size in a register. */
const memoryPages = 65536;
const options = "--outFile out.wasm -O3 --noAssert --runtime stub --use abort= --disableWarning 112 " +
  "--enable simd --enable threads --importMemory --sharedMemory " +
  `--initialMemory ${memoryPages} --maximumMemory ${memoryPages}`;

/** A class per layout, and the numbers of operations and epilogues. */
function operationsSource(): string {
  const fields = (names: readonly string[]) =>
    names.map((name) => `${name}: ${floatWords.has(name) ? "f32" : "usize"};`).join(" ");
  const numbers = (name: string, keys: readonly string[]) =>
    `export const enum ${name} { ${keys.map((key) => key.replace(/-./, (s) => s[1]!.toUpperCase()))} }`;
  if (Object.values(layouts).some((names) => names.length + 2 > operationWords)) {
    throw new RangeError(`a layout has more than ${operationWords - 2} words`);
  }
  return [
    `export const operationBytes: usize = ${operationWords * 4};`,
    "@unmanaged export class Operation { kind: usize; claimed: usize; }",
    ...Object.entries(layouts).map(([name, names]) =>
      `@unmanaged export class ${name} extends Operation { ${fields(names)} }`
    ),
    numbers("Kind", Object.keys(operations)),
    numbers("Epilogue", epilogues),
  ].join("\n");
}

/** Each function of the formats with a format's number in front. */
function formatsSource(): string {
  const files = Object.values(formats).map((format) => format.split("<") as [string, string?]);
  const imports = new Set(files.map(([file]) => `import * as ${file} from "./assembly/formats/${file}";`));
  const functions = Object.entries(formatFunctions).map(([name, parameters]) => {
    const args = parameters.replace(/: \w+/g, "");
    const cases = files.map(([file, type], i) =>
      `case ${i}: return ${file}.${name}${type ? `<${type}` : ""}(${args});`
    );
    const [result, none] = name === "panelBytes" ? ["usize", "0"] : ["void", ""];
    return `export function ${name}(format: usize, ${parameters}): ${result} {
      switch (format) { ${cases.join(" ")} } unreachable(); return ${none}; }`;
  });
  const room = `export const productRoom: usize = ${productRoom};`;
  return ['import { Product } from "./operations";', ...imports, room, ...functions].join("\n");
}

const sources: Record<string, string> = {
  "../operations.ts": operationsSource(),
  "../formats.ts": formatsSource(),
};

async function build(features: string): Promise<Uint8Array> {
  let binary: Uint8Array | null = null;
  const assembly = new URL("./assembly/", import.meta.url);
  const { error, stderr } = await asc.main(["index.ts", ...`${options} ${features}`.trim().split(" ")], {
    readFile: (name: string) => sources[name] ?? Deno.readTextFile(new URL(name, assembly)).catch(() => null),
    writeFile(name: string, contents: string | Uint8Array) {
      if (name === "out.wasm") binary = contents as Uint8Array;
    },
  });
  if (error !== null || binary === null) throw new Error(stderr.toString());
  return binary;
}

const check = Deno.args.includes("--check");
for (const [name, features] of Object.entries(variants)) {
  const file = new URL(`./wasm/${name}.txt`, import.meta.url);
  const binary = await build(features);
  const text = binary.toBase64().replace(/.{100}/g, "$&\n") + "\n";
  if (!check) {
    await Deno.mkdir(new URL("./wasm/", import.meta.url), { recursive: true });
    await Deno.writeTextFile(file, text);
    console.log(`${name}: ${binary.length} bytes`);
  } else if (await Deno.readTextFile(file) !== text) {
    console.error(`kernels/cpu/wasm/${name}.txt is not what the sources give: run deno task build:wasm`);
    Deno.exitCode = 1;
  }
}

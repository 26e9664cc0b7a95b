// Builds the WebAssembly modules from `assembly/` with AssemblyScript: one with relaxed SIMD, one without.
//
// The modules are committed as base64 text, because a text import is the one way to embed bytes that works alike
// in `deno run`, `deno compile` and a bundle, and needs no permission to read. `--check` rebuilds them and fails
// if they differ: the compiler is pinned in `deno.json` and gives the same bytes everywhere.

import asc from "assemblyscript/asc";

const variants = { relaxed: ["--enable", "relaxed-simd"], plain: [] } as const;

/** Both limits of the memory; `module.ts` replaces them. Equal limits let the compiler keep the size in a register. */
const memoryPages = "65536";

async function build(features: readonly string[]): Promise<Uint8Array> {
  let binary: Uint8Array | null = null;
  const { error, stderr } = await asc.main([
    "index.ts",
    ...["--baseDir", decodeURIComponent(new URL("./assembly", import.meta.url).pathname)],
    ...[
      "--outFile",
      "out.wasm",
      "-O3",
      "--noAssert",
      "--runtime",
      "stub",
      "--use",
      "abort=",
      "--disableWarning",
      "112",
    ],
    ...["--enable", "simd", "--enable", "threads", ...features],
    ...["--importMemory", "--sharedMemory", "--initialMemory", memoryPages, "--maximumMemory", memoryPages],
  ], {
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

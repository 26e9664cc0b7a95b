// `deno task build:ptx [--check] [NAME …]`: compiles the CUDA kernels to PTX, all or those named.
//
// The results are committed, compressed, as base64 text, and embedded like the WebAssembly of the CPU backend; `--check`
// compiles again and fails if something differs. The compiler is pinned and gives the same text everywhere. `modules.ts`
// with its imports is written, too.

import { brotliCompressSync, constants } from "node:zlib";
import { unpack } from "../unpack.ts";
import { Nvrtc } from "./nvrtc.ts";
import { type Recipe, recipes } from "./recipes.ts";

const folder = new URL("..", import.meta.url);

/** PTX without the compiler's comments, which say nothing about the code. */
const strip = (ptx: string) => ptx.replaceAll(/^\/\/.*\n/gm, "").replaceAll(/\n{2,}/g, "\n").trimStart();

async function build(nvrtc: Nvrtc, { source, defines = {}, architecture = "80" }: Recipe): Promise<string> {
  const text = await Deno.readTextFile(new URL(source, folder));
  return strip(nvrtc.compile(text, source, [
    `--gpu-architecture=compute_${architecture}`,
    "--std=c++17",
    ...["", "gemm", "attention", "linear"].map((path) =>
      `--include-path=${decodeURIComponent(folder.pathname)}${path}`
    ),
    ...Object.entries(defines).map(([name, value]) => `-D${name}=${value}`),
  ]));
}

/** Where the compiler is kept between builds. */
const cache = () =>
  `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME") ?? "/tmp"}/.cache`}/radish-nvrtc`;

/** Lines of a hundred characters. The window holds a whole module: unrolled loops are alike from afar. */
function pack(ptx: string): string {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 22 };
  return brotliCompressSync(ptx, { params }).toBase64().replace(/.{100}/g, "$&\n") + "\n";
}

/** The module that embeds everything. */
function listing(): string {
  const names = Object.keys(recipes).sort();
  return `// Written by \`deno task build:ptx\`: the compiled modules. Each holds the kernels of one choice, because a module is what
// the driver compiles and keeps together; a model loads those that it needs.

${names.map((name) => `import ${name} from "./ptx/${name}.txt" with { type: "text" };`).join("\n")}

/** Compressed PTX by the name of its module. */
export const modules = {
${names.map((name) => `  ${name},`).join("\n")}
} as const;

/** Name of a module. */
export type ModuleName = keyof typeof modules;
`;
}

async function main(args: readonly string[]): Promise<number> {
  const check = args.includes("--check"), names = args.filter((arg) => !arg.startsWith("--"));
  using nvrtc = await Nvrtc.fetch(Deno.env.get("RADISH_NVRTC") ?? cache());
  await Deno.mkdir(new URL("ptx/", folder), { recursive: true });
  const wrong: string[] = [];
  let total = 0;
  for (const [name, recipe] of Object.entries(recipes)) {
    if (names.length > 0 && !names.includes(name)) continue;
    const ptx = await build(nvrtc, recipe), file = new URL(`ptx/${name}.txt`, folder);
    const known = await Deno.readTextFile(file).then(unpack, () => null);
    if (check && known !== ptx) wrong.push(`kernels/cuda/ptx/${name}.txt`);
    if (check) continue;
    const text = pack(ptx);
    total += text.length;
    if (known !== ptx) await Deno.writeTextFile(file, text);
    console.log(`${name}: ${ptx.length} characters, ${text.length} packed`);
  }
  const list = new URL("modules.ts", folder);
  if (!check) {
    await Deno.writeTextFile(list, listing());
    console.log(`${total} characters packed, in all`);
  } else if (await Deno.readTextFile(list) !== listing()) {
    wrong.push("kernels/cuda/modules.ts");
  }
  for (const path of wrong) console.error(`${path} is not what the sources give: run deno task build:ptx`);
  return wrong.length > 0 ? 1 : 0;
}

Deno.exit(await main(Deno.args));

// `deno task build:ptx [--check] [NAME …]`: compiles the CUDA kernels to PTX, all or those named.
//
// The results are committed as text and embedded like the WebAssembly of the CPU backend; `--check` compiles again and
// fails if something differs. The compiler is pinned and gives the same text everywhere.

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
    `--include-path=${decodeURIComponent(folder.pathname)}`,
    ...Object.entries(defines).map(([name, value]) => `-D${name}=${value}`),
  ]));
}

/** Where the compiler is kept between builds. */
const cache = () =>
  `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME") ?? "/tmp"}/.cache`}/radish-nvrtc`;

async function main(args: readonly string[]): Promise<number> {
  const check = args.includes("--check"), names = args.filter((arg) => !arg.startsWith("--"));
  using nvrtc = await Nvrtc.fetch(Deno.env.get("RADISH_NVRTC") ?? cache());
  await Deno.mkdir(new URL("ptx/", folder), { recursive: true });
  let total = 0, wrong = 0;
  for (const [name, recipe] of Object.entries(recipes)) {
    if (names.length > 0 && !names.includes(name)) continue;
    const ptx = await build(nvrtc, recipe);
    total += ptx.length;
    const file = new URL(`ptx/${name}.ptx`, folder);
    if (!check) {
      await Deno.writeTextFile(file, ptx);
      console.log(`${name}: ${ptx.length} characters`);
    } else if (await Deno.readTextFile(file).catch(() => null) !== ptx) {
      console.error(`kernels/cuda/ptx/${name}.ptx is not what the sources give: run deno task build:ptx`);
      wrong++;
    }
  }
  if (!check) console.log(`${total} characters in all`);
  return wrong > 0 ? 1 : 0;
}

Deno.exit(await main(Deno.args));

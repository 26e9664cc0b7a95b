// Compiles a kernel's own source as C++ and runs it on the processor (see emulator.hpp): every index, every wait and
// every exchange is the GPU's; sums may be rounded otherwise.

const folder = new URL("../../../../kernels/cuda/", import.meta.url);

/** What stands for an instruction, by how its text begins; operands have their names in the sources. */
const instructions: readonly (readonly [string, string])[] = [
  ["cvt.f32.f16", "value = emulated::fromHalf(bits)"],
  ["cvt.rn.bf16x2.f32", "pair = emulated::bf16Pair(low, high)"],
  ["cvt.rn.f16x2.f32", "pair = emulated::halfPair(clampHalf(low), clampHalf(high))"],
  ["mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "emulated::mma<false>(c, a0, a1, a2, a3, b0, b1)"],
  ["cp.async.cg", "emulated::copyLater(to, from, inside ? 16 : 0, 16)"],
  ["mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "emulated::mma<true>(c, a0, a1, a2, a3, b0, b1)"],
  ["fma.rn.bf16x2", "sum = emulated::fmaBf16(a, 0x3f803f80u, b)"],
  ["cp.async.ca.shared.global.L2::128B [%0], [%1], 8", "emulated::copyLater(to, from, count, 8)"],
  ["cp.async.ca", "emulated::copyLater(to, from, 4, 4)"],
  ["prefetch.global.L2", ""],
  ["cp.async.commit_group", "emulated::endGroup()"],
  ["cp.async.wait_group", "emulated::waitGroups(N)"],
];

/** The same in `gemm/common.cuh`, where operands have other names. */
export const tiledInstructions: Readonly<Record<string, string>> = {
  "cvt.rn.bf16x2.f32": "r = emulated::bf16Pair(low, high)",
  "cvt.rn.f16x2.f32": "r = emulated::halfPair(low, high)",
  "cvt.f32.f16": "r = emulated::fromHalf(v)",
  "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32":
    "emulated::mma<false>(c, a[0], a[1], a[2], a[3], b0, b1)",
  "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32":
    "emulated::mma<true>(c, a[0], a[1], a[2], a[3], b0, b1)",
  "ex2.approx": "r = exp2f(x)",
  "cp.async.cg": "emulated::copyLater(to, from, bytes, 16)",
  "cp.async.ca.shared.global [%0], [%1], 8": "emulated::copyLater(to, from, bytes, 8)",
};

/** Instructions of decode attention on the matrix units, besides. */
export const decodeInstructions = {
  ...tiledInstructions,
  "ld.global.nc.L1::no_allocate.v4": "v = *(const uint4*)from",
  "ld.global.nc.L1::no_allocate.v2": "v = *(const uint2*)from",
  "movmatrix": "r = emulated::turned(v)",
};

/** A source without assembly; shared memory is the emulator's, or what all threads have of a function. */
const plain = (source: string, more: readonly (readonly [string, string])[]): string =>
  source.replaceAll(
    /extern __shared__ __align__\(\d+\) (\w+) (\w+)\[\];/g,
    (all, type: string, name: string) =>
      name === "memory" ? all : `${type}* const ${name} = (${type}*)memory;`,
  ).replaceAll("extern __shared__", "extern").replaceAll("__shared__", "static").replace(
    /\basm(?:\s+volatile)?\(\s*"([^"]*)"(?:"[^"]*"|[^"])*?\);/g,
    (all, text: string) => {
      // Guarded by the architecture, which is none here.
      if (text.startsWith("griddepcontrol")) return all;
      const found = [...more, ...instructions].find(([name]) => text.startsWith(name));
      if (found === undefined) return `emulated::fail("does not know ${text.replaceAll(/["\\]/g, "")}");`;
      return `${found[1]};`;
    },
  );

/** Why sources cannot be compiled here; null where they can. */
const noCompiler: string | null = await new Deno.Command("g++", { args: ["--version"] }).output().then(
  ({ success }) => success ? null : "g++ does not work",
  () => "g++ is not there",
);

/** Registers a test of a kernel's source; where it cannot be compiled, the test is ignored. */
export function emulatedTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: noCompiler !== null, fn });
}

/** A source, and how it is called. */
export interface Emulated {
  /** Under `kernels/cuda/`. */
  readonly source: string;
  readonly defines?: Record<string, string>;
  /** What it includes beside the headers of all kernels. */
  readonly headers?: readonly string[];
  /** What stands for further instructions, or for known ones with other operands. */
  readonly instructions?: Readonly<Record<string, string>>;
  /** C++ behind it: a function `run`. */
  readonly entry: string;
  /** Of `run`, a letter each: i(nt), l(ong), p(ointer). */
  readonly parameters: string;
}

/** Arguments of an entry. */
export type Run = (...args: readonly (number | bigint | BufferSource | null)[]) => void;

const types = { i: "i32", l: "i64", p: "buffer" } as const;

/**
 * Compiles a source and hands its entry to `use`.
 * @throws with the compiler's messages
 */
export async function emulate(
  { source, defines = {}, headers = [], instructions = {}, entry, parameters }: Emulated,
  use: (run: Run) => void,
): Promise<void> {
  const to = await Deno.makeTempDir({ prefix: "radish-emulated-" });
  try {
    const path = await compile(to, [...headers, source], Object.entries(instructions), defines, entry);
    const list = [...parameters].map((letter) => types[letter as keyof typeof types]);
    const library = Deno.dlopen(path, { run: { parameters: list, result: "void" } });
    try {
      use(library.symbols.run as Run);
    } finally {
      library.close();
    }
  } finally {
    await Deno.remove(to, { recursive: true });
  }
}

async function compile(
  to: string,
  sources: readonly string[],
  instructions: readonly (readonly [string, string])[],
  defines: Record<string, string>,
  more: string,
): Promise<string> {
  const source = sources.at(-1)!;
  for (
    const file of [
      "kernel.cuh",
      "numbers.cuh",
      "weights.cuh",
      "linear/warp.cuh",
      "linear/digits.cuh",
      ...sources,
    ]
  ) {
    const name = file.slice(file.lastIndexOf("/") + 1);
    await Deno.writeTextFile(
      `${to}/${name}`,
      plain(await Deno.readTextFile(new URL(file, folder)), instructions),
    );
  }
  const name = source.slice(source.lastIndexOf("/") + 1);
  const emulator = new URL("emulator.hpp", import.meta.url).pathname;
  await Deno.writeTextFile(`${to}/all.cpp`, `#include "${emulator}"\n#include "${name}"\n${more}\n`);
  const { success, stderr } = await new Deno.Command("g++", {
    args: ["-std=c++20", "-O2", "-w", "-shared", "-fPIC", "-I", to, "-o", `${to}/all.so`, `${to}/all.cpp`]
      .concat(
        Object.entries(defines).map(([key, value]) => `-D${key}=${value}`),
      ),
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return `${to}/all.so`;
}

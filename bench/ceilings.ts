// The ceilings that kernels are compared with, measured on the spot: streaming read of memory, and unrolled
// multiply–add loops in float32, packed f16 and packed int8. No kernel can beat them, whatever the data sheet says.

import { type BenchDevice, type Bound, median } from "./gpu.ts";

export interface Ceilings {
  /** GB/s */
  readonly read: number;
  /** TFLOP/s */
  readonly f32: number;
  readonly f16: number;
  /** TOP/s */
  readonly dot4: number;
  /** Microseconds of a dispatch that does nothing and depends on the one before. */
  readonly dispatch: number;
}

const lines = (count: number, line: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => line(i)).join("\n");

function best(bench: BenchDevice, bound: Bound, runs: number): number {
  const times = Array.from({ length: runs }, () => bench.passTime((pass) => bench.record(pass, bound)));
  return median(times.slice(1));
}

/** GB/s of reading `bytes` once with 16-byte loads. */
function readRate(bench: BenchDevice, bytes: number): number {
  const source = bench.random(bytes, "f32", 1, 5);
  const sink = bench.buffer(4096);
  const threads = 256;
  const loads = 8;
  const groups = Math.floor(bytes / (16 * threads * loads));
  const width = Math.min(groups, 32768);
  const code = `
@group(0) @binding(0) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> o: array<u32>;
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let base = (g.y * ${width}u + g.x) * ${threads * loads}u + t;
  ${lines(loads, (i) => `let w${i} = w[base + ${i * threads}u];`)}
  let s = ${Array.from({ length: loads }, (_, i) => `w${i}`).join(" ^ ")};
  if ((s.x ^ s.y ^ s.z ^ s.w) == 0x12345678u) { o[t] = s.x; }
}`;
  const height = Math.floor(groups / width);
  const bound = bench.bindRaw(code, [source, sink], [width, height, 1]);
  const time = best(bench, bound, 8);
  source.destroy();
  return width * height * threads * loads * 16 / time / 1e3;
}

/** 10¹² operations per second of a loop of independent multiply–adds. */
function arithmeticRate(bench: BenchDevice, type: "f32" | "vec2<f16>" | "dot4", repeats: number): number {
  const chains = 16;
  const unroll = 16;
  const operations = { f32: 2, "vec2<f16>": 4, dot4: 8 }[type];
  // Every chain starts from numbers the compiler cannot know: with equal or constant halves it drops one of them, or
  // does not pack them.
  const element = { f32: "f32", "vec2<f16>": "vec2<f16>", dot4: "u32" }[type];
  const step = (i: number) =>
    type === "dot4" ? `c${i} += dot4I8Packed(u32(c${(i + 1) % chains}), m);` : `c${i} = m * c${i} + b;`;
  const start = (i: number) => type === "dot4" ? `i32(x[t + ${256 * i}u])` : `x[t + ${256 * i}u]`;
  const source = bench.random(65536, type === "vec2<f16>" ? "f16" : "f32", 0.01, 3);
  const sink = bench.buffer(4096);
  const result = {
    f32: (i: number) => `c${i}`,
    "vec2<f16>": (i: number) => `f32(c${i}.x) + 3.0 * f32(c${i}.y)`,
    dot4: (i: number) => `f32(c${i})`,
  }[type];
  const code = `enable f16;
@group(0) @binding(0) var<storage, read> x: array<${element}>;
@group(0) @binding(1) var<storage, read_write> o: array<u32>;
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) t: u32) {
  ${lines(chains, (i) => `var c${i} = ${start(i)};`)}
  let m = x[t + 4097u];
  let b = x[t + 4363u];
  for (var k = 0u; k < ${repeats}u; k++) {
    ${lines(unroll, () => lines(chains, step))}
  }
  let s = ${Array.from({ length: chains }, (_, i) => result(i)).join(" + ")} + f32(${
    type === "vec2<f16>" ? "b.x" : "b"
  });
  if (s == 1234.5) { o[t] = 1u; }
}`;
  const groups = bench.caps.software ? 16 : 132 * 16;
  const time = best(bench, bench.bindRaw(code, [source, sink], [groups, 1, 1]), 6);
  return groups * 256 * chains * unroll * repeats * operations / time / 1e6;
}

/** Microseconds per dispatch of a chain of trivial ones, each waiting for the one before. */
function dispatchCost(bench: BenchDevice): number {
  const code = `
@group(0) @binding(0) var<storage, read_write> x: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) g: vec3<u32>) { x[g.x] += 1u; }`;
  return bench.time([[bench.bindRaw(code, [bench.buffer(4096)], [4, 1, 1])]], 200);
}

export function measureCeilings(bench: BenchDevice): Ceilings {
  const software = bench.caps.software;
  return {
    read: readRate(bench, software ? 64 << 20 : 1 << 30),
    f32: arithmeticRate(bench, "f32", software ? 4 : 256),
    f16: arithmeticRate(bench, "vec2<f16>", software ? 4 : 256),
    dot4: arithmeticRate(bench, "dot4", software ? 4 : 256),
    dispatch: dispatchCost(bench),
  };
}

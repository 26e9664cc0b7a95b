// Tiled matrix product for many activation rows: output tile [tileTokens, tileRows] per workgroup. How it is laid out
// in workgroup memory is told in `gemm_side.ts`.
//
// Grid: (tiles of the weight's rows, tiles of tokens, parts of the sum). Workgroup: one thread per `threadTokens ×
// threadRows` results, which lie apart so that neighbours read neighbouring rows; with few tokens `slices` sets of
// threads own the same results and different octets of each step, and meet at the end. The next tile travels to
// registers while this one is multiplied. In f16 a `vec2<f16>` sums even and odd terms of a few octets, which are then
// added in float32. Activations come prepared (`linear.ts`). Bound by: arithmetic. Register blocking as in the usual SGEMM
// ladder (S. Boehm, "How to optimize a CUDA matmul kernel"); the f16 sums with a float32 flush are ours.

import type { KernelCall } from "../shader/kernel.ts";
import { Side } from "./gemm_side.ts";
import { type GemmInput, type GemmTile, partColumns, SLICE_BYTES, threadCount } from "./gemm_tile.ts";
import type { LinearRole, LinearShape } from "./linear.ts";
import {
  declareBuffers,
  finishFunction,
  outputWidth,
  repeat,
  rowOctets,
  scaleFunction,
  unpackFunctions,
} from "./finish.ts";

/** The product for up to `tokens` activation rows. */
export function gemmCall(
  shape: LinearShape,
  tokens: number,
  tile: GemmTile,
  input: GemmInput,
): KernelCall<LinearRole> {
  const partial = tile.split > 1;
  const bindings: LinearRole[] = [input.role, "weight"];
  if (input.scaled) bindings.push("rowScales");
  if (shape.bias && !partial) bindings.push("bias");
  bindings.push(partial ? "parts" : "output");
  const tileColumns = shape.epilogue === "silu-mul" ? tile.tileRows / 2 : tile.tileRows;
  const key = [
    "gemm",
    `${shape.rows}x${shape.columns}`,
    shape.dtype,
    shape.epilogue,
    shape.bias ? "bias" : "",
    `${input.type}${input.scaled ? "scaled" : ""}-${partial ? "partial" : shape.output}`,
    `s${shape.outputStride}+${shape.outputOffset}`,
    `n${shape.countWord}`,
    `${tile.arithmetic}:${tile.tileTokens}x${tile.tileRows}x${tile.step}`,
    `${tile.threadTokens}x${tile.threadRows}x${tile.lanesX}b${tile.buffers}n${tile.unroll}f${tile.flush}s${tile.slices}k${tile.split}`,
  ].join("/");
  return {
    source: {
      key,
      code: () => gemmCode(shape, tile, input),
      access: bindings.map((role) => role === "output" || role === "parts" ? "read_write" : "read"),
    },
    bindings,
    workgroups: [
      Math.ceil(outputWidth(shape) / tileColumns),
      Math.ceil(tokens / tile.tileTokens),
      tile.split,
    ],
  };
}

function gemmCode(shape: LinearShape, tile: GemmTile, input: GemmInput): string {
  const { columns, dtype } = shape;
  const { tileTokens, tileRows, step, threadTokens, threadRows, lanesX, slices } = tile;
  const half = tile.arithmetic === "f16";
  const paired = shape.epilogue === "silu-mul";
  const partial = tile.split > 1;
  const width = outputWidth(shape);
  const threadsX = tileRows / threadRows;
  const threadsY = tileTokens / threadTokens;
  const stepOctets = step / 8;
  const perPart = partColumns(columns, tile);
  const whole = perPart * tile.split === columns;
  const tileColumns = paired ? tileRows / 2 : tileRows;

  const a = new Side(
    "a",
    "input",
    input.type,
    tile,
    (row) => `min(token0 + ${row}, tokens - 1u)`,
  );
  const b = new Side(
    "b",
    "weight",
    dtype,
    tile,
    (row) =>
      paired
        ? `min(column0 + ${row} % ${tileColumns}u, ${width - 1}u) + ${row} / ${tileColumns}u * ${width}u`
        : `min(column0 + ${row}, ${width - 1}u)`,
  );

  const results = (line: (token: number, row: number) => string) =>
    repeat(threadTokens, (m) => Array.from({ length: threadRows }, (_, n) => line(m, n)).join(" "));
  const multiplyOctet = (octet: string): string =>
    half
      ? `{ ${a.read(octet, 0)} ${b.read(octet, 0)}
      ${
        repeat(4, (p) => {
          const pair = `[${p >> 1}].${p & 1 ? "zw" : "xy"}`;
          return results((m, n) => `part${m}_${n} = fma(a${m}${pair}, b${n}${pair}, part${m}_${n});`);
        })
      } }`
      : repeat(2, (unit) =>
        `{ ${a.read(octet, unit)} ${b.read(octet, unit)}
      ${
          repeat(4, (k) => {
            const e = "xyzw"[k];
            return results((m, n) => `sum${m}_${n} = fma(a${m}.${e}, b${n}.${e}, sum${m}_${n});`);
          })
        } }`);
  const sliceOctets = stepOctets / slices;
  const unroll = Math.min(tile.unroll, sliceOctets);
  const own = slices === 1 ? "" : `slice * ${sliceOctets}u + `;
  const flush = results((m, n) => {
    const part = `f32(part${m}_${n}.x) + f32(part${m}_${n}.y)`;
    return `sum${m}_${n} += ${part};`;
  });
  /** The products of `count` octets, the first of them numbered `octet(0)`. */
  const octetRun = (count: number, octet: (i: number) => string): string => {
    if (!half) return repeat(count, (i) => multiplyOctet(octet(i)));
    const length = Math.min(tile.flush, count);
    return repeat(count / length, (run) =>
      `{ ${results((m, n) => `var part${m}_${n} = vec2<f16>();`)}
      ${repeat(length, (i) => multiplyOctet(octet(run * length + i)))}
      ${flush} }`);
  };
  const multiply = unroll === sliceOctets
    ? octetRun(sliceOctets, (o) => `(${own}${o}u)`)
    : `for (var o = 0u; o < ${sliceOctets}u; o += ${unroll}u) {
      ${octetRun(unroll, (u) => `(${own}o + ${u}u)`)}
    }`;

  const write = (gate: string, up: string) => {
    if (partial) {
      const at = `(group.z * tokens + token) * ${shape.rows}u + column`;
      return `parts[${at}] = ${gate}; ${paired ? `parts[${at} + ${width}u] = ${up};` : ""}`;
    }
    return paired ? `finish(token, column, ${gate}, ${up});` : `finish(token, column, ${gate});`;
  };
  const scale = (token: string) => `let scale = ${input.scaled ? `rowScales[${token}]` : "1.0"};`;
  /** Results of one slice, straight from registers. */
  const store = (m: number) => {
    const one = (n: number) =>
      `{ let column = column0 + tx + ${n * threadsX}u; if (column < ${width}u) {
      ${write(`sum${m}_${n} * scale`, `sum${m}_${n + threadRows / 2} * scale`)} } }`;
    return `{ let token = token0 + ty + ${m * threadsY}u; if (token < tokens) {
    ${scale("token")}
    ${repeat(paired ? threadRows / 2 : threadRows, one)} } }`;
  };
  /** Results of several slices meet in workgroup memory, `batch` of a thread's tokens at a time. */
  const batch = Math.max(1, Math.min(threadTokens, SLICE_BYTES / (4 * slices * threadsY * tileRows)));
  const meet = (first: number) => {
    const total = (column: string) =>
      Array.from({ length: slices }, (_, i) => `slabs[${i}][local][${column}]`).join(" + ");
    return `${first === 0 ? "" : "workgroupBarrier();"}
  ${
      repeat(batch, (m) =>
        repeat(threadRows, (n) =>
          `slabs[slice][ty + ${m * threadsY}u][tx + ${n * threadsX}u] = sum${first + m}_${n};`))
    }
  workgroupBarrier();
  for (var i = thread; i < ${batch * threadsY * tileColumns}u; i += ${threadCount(tile)}u) {
    let local = i / ${tileColumns}u;
    let own = i % ${tileColumns}u;
    let token = token0 + ${first * threadsY}u + local;
    let column = column0 + own;
    if (token < tokens && column < ${width}u) {
      ${scale("token")}
      let gate = (${total("own")}) * scale;
      ${paired ? `let up = (${total(`own + ${tileColumns}u`)}) * scale;` : ""}
      ${write("gate", "up")}
    }
  }`;
  };
  const ending = slices === 1
    ? repeat(threadTokens, store)
    : repeat(threadTokens / batch, (i) => meet(i * batch));

  const lanesY = 32 / lanesX;
  const groupsX = threadsX / lanesX;
  const twice = tile.buffers === 2;
  const needsF16 = half || input.type === "f16" || (!partial && shape.output === "f16");
  return `${needsF16 ? "enable f16;" : ""}
${
    declareBuffers([
      { name: "input", element: a.element },
      { name: "weight", element: b.element },
      ...(input.scaled ? [{ name: "rowScales", element: "f32" }] : []),
      ...(shape.bias && !partial ? [{ name: "bias", element: "f32" }] : []),
      partial
        ? { name: "parts", element: "f32", write: true }
        : { name: "output", element: shape.output, write: true },
    ])
  }
const COLUMN_OCTETS = ${columns / 8}u;
const WEIGHT_OCTETS = ${rowOctets(dtype, columns)}u;
${a.declaration}
${b.declaration}
${
    slices > 1
      ? `var<workgroup> slabs: array<array<array<f32, ${tileRows}>, ${batch * threadsY}>, ${slices}>;`
      : ""
  }
${unpackFunctions([dtype, input.type])}
${scaleFunction(dtype, "weight", columns)}
${partial ? "" : finishFunction(shape)}
@compute @workgroup_size(${threadCount(tile)})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tokens = plan[${shape.countWord}];
  let token0 = group.y * ${tileTokens}u;
  let column0 = group.x * ${tileColumns}u;
  // Uniform for the workgroup: all of it leaves before the first barrier.
  if (token0 >= tokens) { return; }
  let tx = thread / 32u % ${groupsX}u * ${lanesX}u + thread % ${lanesX}u;
  let ty = thread / ${32 * groupsX}u % ${threadsY / lanesY}u * ${lanesY}u + thread / ${lanesX}u % ${lanesY}u;
  ${slices > 1 ? `let slice = thread / ${threadsX * threadsY}u;` : ""}
  ${a.preparation}
  ${b.preparation}
  ${results((m, n) => `var sum${m}_${n} = 0.0;`)}
  var at = group.z * ${perPart / 8}u;
  let end = min(at + ${perPart / 8}u, COLUMN_OCTETS);
  ${a.fetch(whole)}
  ${b.fetch(whole)}
  ${twice ? "var buffer = 0u;" : "let buffer = 0u;"}
  while (at < end) {
    ${a.commit()}
    ${b.commit()}
    workgroupBarrier();
    at += ${stepOctets}u;
    if (at < end) {
      ${a.fetch(whole)}
      ${b.fetch(whole)}
    }
    ${multiply}
    ${twice ? "buffer = buffer ^ 1u;" : "workgroupBarrier();"}
  }
  ${ending}
}
`;
}

// Tiled matrix product (GEMM) for many activation rows: an output tile [tileTokens, tileRows] per workgroup. Its layout
// in workgroup memory is in `gemm_side.ts`.
//
// Grid: (tiles of the weight's rows, tiles of tokens, parts of the sum). Workgroup: one thread per `threadTokens ×
// threadRows` results, which lie apart so that neighbouring threads read neighbouring rows. With few tokens, `slices`
// sets of threads have the same results and different vecs of each step, and add up at the end. With stacked experts a
// tile's rows are pairs (token, expert) of one expert, found through the lists `order` and `tiles`. The next tile travels to
// registers while this one is multiplied. In f16 a `vec2<f16>` sums even and odd terms of a few vecs, which are then
// added in float32. Activations come prepared (`linear.ts`). Bound by: arithmetic. Register blocking as in the usual SGEMM
// ladder (S. Boehm, "How to optimize a CUDA matmul kernel"); the f16 sums with a float32 flush are ours.

import { element, formatFunctions, rowVecs } from "../formats/mod.ts";
import { kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { plainMain } from "../shader/reduce.ts";
import { divideUp, range, repeat, wgsl, xyzw } from "../shader/wgsl.ts";
import { biasArgument, finishFunction, outputWidth } from "./finish.ts";
import { Side } from "./gemm_side.ts";
import { type GemmInput, type GemmTile, partColumns, sliceBytes, threadCount } from "./gemm_tile.ts";
import { expertKey, type LinearRole, type LinearShape, outputKey } from "./linear.ts";

/** The product for up to `tokens` activation rows; with experts, for `tokens` tiles of pairs. */
export function gemmCall(
  shape: LinearShape,
  tokens: number,
  tile: GemmTile,
  input: GemmInput,
): KernelCall<LinearRole> {
  const { experts, bias } = shape;
  const partial = tile.split > 1;
  const tileColumns = shape.epilogue === "gate-mul" ? tile.tileRows / 2 : tile.tileRows;
  return kernel({
    key: `gemm/${shape.rows}x${shape.columns}/${shape.dtype}/${input.type}${input.scaled ? "scaled" : ""}/` +
      `${outputKey(shape)}/${tile.arithmetic}:${tile.tileTokens}x${tile.tileRows}x${tile.step}/` +
      `${tile.threadTokens}x${tile.threadRows}x${tile.lanesX}b${tile.buffers}n${tile.unroll}f${tile.flush}` +
      `s${tile.slices}k${tile.split}${expertKey(shape)}`,
    buffers: {
      [input.role]: read(element(input.type)),
      weight: read(element(shape.dtype)),
      rowScales: input.scaled && read("f32"),
      bias: bias && !partial && read("f32"),
      order: experts !== undefined && read("u32"),
      tiles: experts !== undefined && read("u32"),
      ...(partial ? { parts: write("f32") } : { output: write(shape.output) }),
    },
    workgroups: [
      divideUp(outputWidth(shape), tileColumns),
      experts === undefined ? divideUp(tokens, tile.tileTokens) : tokens,
      tile.split,
    ],
    code: () => gemmCode(shape, tile, input),
  });
}

/** Activations and weight of a tile. */
function sides(shape: LinearShape, tile: GemmTile, input: GemmInput): readonly [a: Side, b: Side] {
  const { experts } = shape;
  const width = outputWidth(shape);
  const token = (row: string) => `min(token0 + ${row}, tokens - 1u)`;
  const tileColumns = tile.tileRows / 2;
  const weightRow = shape.epilogue === "gate-mul"
    ? (row: string) =>
      `min(column0 + ${row} % ${tileColumns}u, ${width - 1}u) + ${row} / ${tileColumns}u * ${width}u`
    : (row: string) => `min(column0 + ${row}, ${width - 1}u)`;
  if (experts === undefined) {
    return [
      new Side("a", input.role, input.type, tile, token),
      new Side("b", "weight", shape.dtype, tile, weightRow),
    ];
  }
  const { perToken, firstPair } = experts;
  const inputRow = experts.input === "token" ? `/ ${perToken}u` : `- ${firstPair}u`;
  return [
    new Side("a", input.role, input.type, tile, (row) => `order[first + ${token(row)}] ${inputRow}`),
    new Side("b", "weight", shape.dtype, tile, (row) => `expert * ${shape.rows}u + ${weightRow(row)}`),
  ];
}

function gemmCode(shape: LinearShape, tile: GemmTile, input: GemmInput): string {
  const [a, b] = sides(shape, tile, input);
  const { columns, dtype, experts } = shape;
  const { tileTokens, tileRows, step, threadTokens, threadRows, lanesX, slices } = tile;
  const half = tile.arithmetic === "f16";
  const paired = shape.epilogue === "gate-mul";
  const partial = tile.split > 1;
  const width = outputWidth(shape);
  const threadsX = tileRows / threadRows;
  const threadsY = tileTokens / threadTokens;
  const stepVecs = step / 8;
  const perPart = partColumns(columns, tile);
  const whole = perPart * tile.split === columns;
  const tileColumns = paired ? tileRows / 2 : tileRows;

  const results = (line: (token: number, row: number) => string) =>
    repeat(threadTokens, (m) => range(threadRows).map((n) => line(m, n)).join(" "));
  const multiplyVec = (vec: string): string =>
    half
      ? `{ ${a.read(vec, 0)} ${b.read(vec, 0)}
      ${
        repeat(4, (p) => {
          const pair = `[${p >> 1}].${p & 1 ? "zw" : "xy"}`;
          return results((m, n) => `part${m}_${n} = fma(a${m}${pair}, b${n}${pair}, part${m}_${n});`);
        })
      } }`
      : repeat(2, (unit) =>
        `{ ${a.read(vec, unit)} ${b.read(vec, unit)}
      ${
          repeat(4, (k) => {
            const e = xyzw[k];
            return results((m, n) => `sum${m}_${n} = fma(a${m}.${e}, b${n}.${e}, sum${m}_${n});`);
          })
        } }`);
  const sliceVecs = stepVecs / slices;
  const unroll = Math.min(tile.unroll, sliceVecs);
  const own = slices === 1 ? "" : `slice * ${sliceVecs}u + `;
  const flush = results((m, n) => {
    const part = `f32(part${m}_${n}.x) + f32(part${m}_${n}.y)`;
    return `sum${m}_${n} += ${part};`;
  });
  /** The products of `count` vecs, the first of them numbered `vec(0)`. */
  const vecRun = (count: number, vec: (i: number) => string): string => {
    if (!half) return repeat(count, (i) => multiplyVec(vec(i)));
    const length = Math.min(tile.flush, count);
    return repeat(count / length, (run) =>
      `{ ${results((m, n) => `var part${m}_${n} = vec2<f16>();`)}
      ${repeat(length, (i) => multiplyVec(vec(run * length + i)))}
      ${flush} }`);
  };
  const multiply = unroll === sliceVecs
    ? vecRun(sliceVecs, (o) => `(${own}${o}u)`)
    : `for (var o = 0u; o < ${sliceVecs}u; o += ${unroll}u) {
      ${vecRun(unroll, (u) => `(${own}o + ${u}u)`)}
    }`;

  const outputRow = experts === undefined ? "token" : `order[first + token] - ${experts.firstPair}u`;
  const write = (gate: string, up: string) => {
    if (partial) {
      const at = `(group.z * tokens + token) * ${shape.rows}u + column`;
      return `parts[${at}] = ${gate}; ${paired ? `parts[${at} + ${width}u] = ${up};` : ""}`;
    }
    const expert = biasArgument(shape, experts === undefined ? "" : `expert + ${experts.first}u`);
    return `finish(${outputRow}, column, ${gate}${paired ? `, ${up}` : ""}${expert});`;
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
  const batch = Math.max(1, Math.min(threadTokens, sliceBytes / (4 * slices * threadsY * tileRows)));
  const meet = (first: number) => {
    const total = (column: string) => range(slices).map((i) => `slabs[${i}][local][${column}]`).join(" + ");
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
  const place = experts === undefined
    ? `let tokens = plan[${shape.countWord}];
  let token0 = group.y * ${tileTokens}u;`
    : `if (group.y >= tiles[0]) { return; }
  let expert = tiles[1u + 3u * group.y] - ${experts.first}u;
  if (expert >= ${experts.count}u) { return; }
  let first = tiles[2u + 3u * group.y];
  let tokens = tiles[3u + 3u * group.y];
  let token0 = 0u;`;
  return wgsl`const COLUMN_VECS = ${columns / 8}u;
const WEIGHT_VECS = ${rowVecs(dtype, columns)}u;
${a.declaration}
${b.declaration}
${
    slices > 1 &&
    `var<workgroup> slabs: array<array<array<f32, ${tileRows}>, ${batch * threadsY}>, ${slices}>;`
  }
${formatFunctions([[dtype, "weight", columns], [input.type, input.role, columns]])}
${!partial && finishFunction(shape)}
${plainMain(threadCount(tile))} {
  ${place}
  let column0 = group.x * ${tileColumns}u;
  // Uniform for the workgroup: all of it leaves before the first barrier.
  if (token0 >= tokens) { return; }
  let tx = thread / 32u % ${groupsX}u * ${lanesX}u + thread % ${lanesX}u;
  let ty = thread / ${32 * groupsX}u % ${threadsY / lanesY}u * ${lanesY}u + thread / ${lanesX}u % ${lanesY}u;
  ${slices > 1 && `let slice = thread / ${threadsX * threadsY}u;`}
  ${a.preparation}
  ${b.preparation}
  ${results((m, n) => `var sum${m}_${n} = 0.0;`)}
  var at = group.z * ${perPart / 8}u;
  let end = min(at + ${perPart / 8}u, COLUMN_VECS);
  ${a.fetch(whole)}
  ${b.fetch(whole)}
  ${twice ? "var buffer = 0u;" : "let buffer = 0u;"}
  while (at < end) {
    ${a.commit()}
    ${b.commit()}
    workgroupBarrier();
    at += ${stepVecs}u;
    if (at < end) {
      ${a.fetch(whole)}
      ${b.fetch(whole)}
    }
    ${multiply}
    ${twice ? "buffer = buffer ^ 1u;" : "workgroupBarrier();"}
  }
  ${ending}
}`;
}

// Matrix–vector product for 1, 2, 4 or 8 activation rows, with the RMS norm in front and the epilogue behind.
//
// Grid: one workgroup per `rowSubgroups × rowLanes × units` output columns. Workgroup: `rowSubgroups × split` subgroups.
// The lanes of a subgroup form a grid of `sumLanes` along the sum (16-byte loads side by side) and `rowLanes` down the
// rows; each lane has `units` output columns for all activation rows. More row lanes use an activation more often. The
// `split` subgroups share rows and divide the sum (split-K), for matrices with too few rows to fill the device.
// With stacked experts the grid's third dimension is the pair (token, expert) for gate and up, and the token for down;
// there the subgroups of a split take one expert after the other, and the weighted sum is the result.
// Layout: weight [rows, columns] row-major, activations [tokens, columns]. Sums are float32.
// The norm costs no pass over the weights: x / rms(x) · g · w = (Σ x g w) / rms(x), and each subgroup sums x² of some
// of the activation rows before it starts.
// Bound by: memory bandwidth; from about 6 rows on, by arithmetic. One kernel per number of columns follows
// llama.cpp's Vulkan back end (mul_mat_vec).

import { element, formatFunctions, loadVec, rowVecs, vecHalves } from "../formats/mod.ts";
import { type DeviceCaps, kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { plainMain } from "../shader/reduce.ts";
import { divideUp, foldGrid, gridIndex, range, wgsl } from "../shader/wgsl.ts";
import { biasArgument, finishFunction, outputWidth, pairBias } from "./finish.ts";
import { type LoopTile, vecLoop } from "./matvec_loop.ts";
import { expertKey, type LinearRole, type LinearShape, outputKey } from "./linear.ts";

/** How a matrix–vector kernel divides its work; all numbers but `split` are powers of two. */
export interface MatvecTile extends LoopTile {
  /** Lanes of a subgroup that go along the sum side by side. */
  readonly sumLanes: number;
  /** Lanes of a subgroup that own different rows; sumLanes · rowLanes is the subgroup's size where that is fixed. */
  readonly rowLanes: number;
  /** Whether the subgroup's size is known, so that lanes may add up by shuffles; else through workgroup memory. */
  readonly subgroups: boolean;
  /** Output columns (rows, or gate/up pairs) per lane. */
  readonly units: number;
  /** Subgroups with rows of their own. */
  readonly rowSubgroups: number;
  /** Subgroups that share rows and divide the sum. */
  readonly split: number;
}

/** Whether lanes of a subgroup can be counted on when the shader is written. */
export function fixedSubgroup(caps: DeviceCaps): boolean {
  return caps.minSubgroup === caps.maxSubgroup && caps.minSubgroup >= 4;
}

/** Numbers in workgroup memory: where sums meet, and the squares for a norm. */
function sharedNumbers(
  { epilogue }: LinearShape,
  { tokens, sumLanes, rowLanes, subgroups, units, rowSubgroups, split }: MatvecTile,
): { readonly sums: number; readonly squares: number } {
  const values = units * (epilogue === "gate-mul" ? 2 : 1) * tokens;
  return {
    sums: rowSubgroups * rowLanes * values * split * (subgroups ? 1 : sumLanes),
    squares: tokens * (subgroups ? 1 : sumLanes * rowLanes),
  };
}

/** Workgroup memory of a tile, in bytes, with a norm. */
export function matvecBytes(shape: LinearShape, tile: MatvecTile): number {
  const { sums, squares } = sharedNumbers(shape, tile);
  return 4 * (sums + squares);
}

/**
 * The kernel for `tile.tokens` activation rows or fewer; with experts, for the pairs of `tokens` tokens, each of which
 * has an activation row to itself.
 */
export function matvecCall(shape: LinearShape, tile: MatvecTile, tokens = 1): KernelCall<LinearRole> {
  const { rows, columns, dtype, normEpsilon, bias, input, output, experts } = shape;
  const norm = normEpsilon !== null;
  const { units, rowLanes, rowSubgroups } = tile;
  const count = divideUp(outputWidth(shape), units * rowLanes * rowSubgroups);
  return kernel({
    key: `matvec/${rows}x${columns}/${dtype}/norm${normEpsilon}/${input}/${outputKey(shape)}/` +
      `t${tile.tokens}l${tile.sumLanes}x${rowLanes}${tile.subgroups ? "s" : "w"}` +
      `u${units}g${rowSubgroups}k${tile.split}n${tile.unroll}${expertKey(shape)}`,
    buffers: {
      input: read(element(input)),
      weight: read(element(dtype)),
      normWeight: norm && read("vec4<f32>"),
      bias: bias && read("f32"),
      routes: experts !== undefined && read("vec2<u32>"),
      output: write(output),
    },
    workgroups: [
      ...foldGrid(count),
      experts === undefined ? 1 : tokens * (experts.input === "token" ? experts.perToken : 1),
    ],
    code: () => matvecCode(shape, tile, count),
  });
}

/**
 * Adds `values` over the `lanes` lanes that differ in the low bits of `lane`, halving the list while it can: a lane
 * gives away the half that the other keeps. Afterwards the first `left` values of a lane are complete sums; value v
 * of a lane is number v + `offset` of the list.
 */
export function foldLanes(
  values: readonly string[],
  lanes: number,
): { code: string; left: number; offset: string } {
  const code: string[] = [];
  const offsets: string[] = [];
  let left = values.length;
  for (let mask = 1; mask < lanes; mask *= 2) {
    if (left === 1) {
      code.push(`${values[0]} += subgroupShuffleXor(${values[0]}, ${mask}u);`);
      continue;
    }
    left /= 2;
    code.push(`{ let high = (lane & ${mask}u) != 0u;`);
    for (let i = 0; i < left; i++) {
      const [a, b] = [values[i], values[i + left]];
      code.push(`${a} = select(${a}, ${b}, high) + subgroupShuffleXor(select(${b}, ${a}, high), ${mask}u);`);
    }
    code.push("}");
    offsets.push(`select(0u, ${left}u, (lane & ${mask}u) != 0u)`);
  }
  return { code: code.join("\n"), left, offset: offsets.length > 0 ? offsets.join(" + ") : "0u" };
}

function matvecCode(shape: LinearShape, tile: MatvecTile, count: number): string {
  const { columns, dtype, input, experts } = shape;
  const { tokens, sumLanes, rowLanes, units, rowSubgroups, split } = tile;
  const norm = shape.normEpsilon !== null;
  const paired = shape.epilogue === "gate-mul";
  const width = outputWidth(shape);
  const rows = paired ? 2 * units : units;
  const lanes = sumLanes * rowLanes;
  const threads = lanes * rowSubgroups * split;
  const vecs = columns / 8;
  const values = range(rows * tokens).map((i) => `sum${Math.floor(i / tokens)}_${i % tokens}`);

  // Sums are added in workgroup memory, laid out as [value of a unit set][part]; a part is a subgroup of a split sum, or a lane.
  const parts = tile.subgroups ? split : split * sumLanes;
  const fold = tile.subgroups ? foldLanes(values, sumLanes) : { code: "", left: values.length, offset: "0u" };
  // Lanes that hold the same complete sum would all write it; the lowest does.
  const writers = tile.subgroups ? Math.min(sumLanes, values.length) : sumLanes;
  const part = tile.subgroups ? "part" : "part * " + sumLanes + "u + sumLane";
  const sets = rowSubgroups * rowLanes;
  const place = (v: string) =>
    `((rowSubgroup * ${rowLanes}u + rowLane) * ${values.length}u + ${v}) * ${parts}u + ${part}`;

  const [low, high] = vecHalves(input, "x");
  const squares = `for (var token = thread / ${lanes}u; token < tokens; token += ${rowSubgroups * split}u) {
    var sum = 0.0;
    for (var i = thread % ${lanes}u; i < ${vecs}u; i += ${lanes}u) {
      ${loadVec(input, "x", { buffer: "input", row: `token * ${vecs}u`, vec: "i" })}
      let low = ${low}; let high = ${high};
      sum += dot(low, low) + dot(high, high);
    }
    ${
    tile.subgroups
      ? `sum = subgroupAdd(sum); if (thread % ${lanes}u == 0u) { squares[token] = sum; }`
      : `squares[token * ${lanes}u + thread % ${lanes}u] = sum;`
  }
  }`;
  const squaresPer = tile.subgroups ? 1 : lanes;
  const scale = norm
    ? `var square = 0.0;
    ${
      squaresPer === 1
        ? "square = squares[token];"
        : `for (var p = 0u; p < ${squaresPer}u; p++) { square += squares[token * ${squaresPer}u + p]; }`
    }
    let scale = inverseSqrt(square / ${columns}.0 + ${shape.normEpsilon});`
    : "let scale = 1.0;";
  const total = (v: string) =>
    wgsl`{
      let start = (owner * ${values.length}u + ${v}) * ${parts}u;
      ${
      parts <= 8
        ? range(parts).map((p) => `sum += partial[start + ${p}u];`)
        : `for (var p = 0u; p < ${parts}u; p++) { sum += partial[start + p]; }`
    }
    }`;
  const outputRow = experts === undefined ? "token" : "group.z";
  const finished = experts?.input === "pair" ? { ...shape, bias: false } : shape;
  const biasAt = biasArgument(finished, `expert + ${experts?.first ?? 0}u`);
  const outputs = sets * units * tokens;
  const shared = sharedNumbers(shape, tile);

  /** Where the rows of the weight begin, for WGSL of the expert's first row. */
  const rowStarts = (firstRow: string) =>
    range(rows).map((r) => {
      const row = paired
        ? `min(unit + ${r >> 1}u, ${width - 1}u) + ${(r & 1) * width}u`
        : `min(unit + ${r}u, ${width - 1}u)`;
      return `let row${r} = (${firstRow}${row}) * ${rowVecs(dtype, columns)}u;`;
    });
  const declared = values.map((value) => `var ${value} = 0.0;`);
  const sums = () => {
    if (experts === undefined) {
      const tokenStarts = range(tokens).map((t) =>
        `let token${t} = ${t === 0 ? "0u" : `min(${t}u, max(tokens, 1u) - 1u) * ${vecs}u`};`
      );
      return wgsl`${rowStarts("")}
  ${tokenStarts}
  ${declared}
  ${norm && squares}
  ${vecLoop(shape, rows, tile, sumLanes * split)}`;
    }
    const { perToken, first, count } = experts;
    if (experts.input === "token") {
      return wgsl`let expert = routes[group.z].x - ${first}u;
  // Uniform for the workgroup: all of it leaves before the first barrier.
  if (expert >= ${count}u) { return; }
  ${rowStarts(`expert * ${shape.rows}u + `)}
  let token0 = group.z / ${perToken}u * ${vecs}u;
  ${declared}
  ${vecLoop(shape, rows, tile, sumLanes * split)}`;
    }
    // The parts of the sum are experts here, not columns; each is weighted.
    return wgsl`${declared}
  for (var rank = part; rank < ${perToken}u; rank += ${split}u) {
    let pair = group.z * ${perToken}u + rank;
    let chosen = routes[pair];
    let expert = chosen.x - ${first}u;
    if (expert >= ${count}u) { continue; }
    ${rowStarts(`expert * ${shape.rows}u + `)}
    let token0 = pair * ${vecs}u;
    ${values.map((value, i) => `let before${i} = ${value}; ${value} = 0.0;`)}
    ${vecLoop(shape, rows, tile, sumLanes)}
    ${values.map((value, i) => `${value} = before${i} + bitcast<f32>(chosen.y) * ${value};`)}
  }`;
  };
  const first = experts?.input === "pair" ? "sumLane" : `part * ${sumLanes}u + sumLane`;
  return wgsl`var<workgroup> partial: array<f32, ${shared.sums}>;
${norm && `var<workgroup> squares: array<f32, ${shared.squares}>;`}
${formatFunctions([[dtype, "weight", columns], [input, "input", columns]])}
${finishFunction(finished)}
${plainMain(threads)} {
  let tokens = ${experts === undefined ? `min(plan[${shape.countWord}], ${tokens}u)` : "1u"};
  let lane = thread % ${lanes}u;
  let sumLane = lane % ${sumLanes}u;
  let rowLane = lane / ${sumLanes}u;
  let part = thread / ${lanes}u % ${split}u;
  let rowSubgroup = thread / ${lanes * split}u;
  let firstUnit = ${gridIndex(count)} * ${sets * units}u;
  let unit = firstUnit + (rowSubgroup * ${rowLanes}u + rowLane) * ${units}u;
  let first = ${first};
  ${sums()}
  ${fold.code}
  if (sumLane < ${writers}u) {
    let offset = ${fold.offset};
    ${range(fold.left).map((v) => `partial[${place(`offset + ${v}u`)}] = ${values[v]};`)}
  }
  workgroupBarrier();
  for (var i = thread; i < ${outputs}u; i += ${threads}u) {
    let token = i % ${tokens}u;
    let own = i / ${tokens}u % ${units}u;
    let owner = i / ${tokens * units}u;
    let column = firstUnit + i / ${tokens}u;
    if (token < tokens && column < ${width}u) {
      ${scale}
      var sum = 0.0;
      ${
    paired
      ? `${total(`own * ${2 * tokens}u + token`)}
      let gate = sum * scale;
      sum = 0.0;
      ${total(`own * ${2 * tokens}u + ${tokens}u + token`)}
      finish(${outputRow}, column, gate, sum * scale${biasAt});`
      : `${total(`own * ${tokens}u + token`)}
      ${pairBias(shape)}
      finish(${outputRow}, column, sum * scale${biasAt});`
  }
    }
  }
}`;
}

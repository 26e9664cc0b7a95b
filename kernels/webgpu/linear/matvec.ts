// Matrix–vector product for 1, 2, 4 or 8 activation rows, with the RMS norm in front and the epilogue behind.
//
// Grid: one workgroup per `teams × rowLanes × units` output columns. Workgroup: `teams × split` subgroups; the lanes of
// a subgroup form a grid of `sumLanes` along the sum (16-byte loads side by side) and `rowLanes` down the rows, each
// lane owning `units` output columns for all activation rows. More row lanes reuse an activation more often; `split`
// subgroups share rows and divide the sum, for matrices with too few rows to fill the device.
// Layout: weight [rows, columns] row-major, activations [tokens, columns]. Sums are float32.
// The norm costs no pass over the weights: x / rms(x) · g · w = (Σ x g w) / rms(x), and each subgroup sums x² of some
// of the activation rows before it starts.
// Bound by: memory bandwidth; from about 6 rows on, by arithmetic. One kernel per number of columns follows
// llama.cpp's Vulkan back end (mul_mat_vec).

import type { DeviceCaps, KernelCall } from "../shader/kernel.ts";
import type { LinearRole, LinearShape } from "./linear.ts";
import {
  declareBuffers,
  finishFunction,
  foldGrid,
  gridIndex,
  loadOctet,
  loadWeight,
  octetHalves,
  octetNumbers,
  octets,
  octetScale,
  outputWidth,
  repeat,
  rowOctets,
  scaleFunction,
  unpackFunctions,
} from "./finish.ts";

/** How a matrix–vector kernel divides its work; all numbers are powers of two. */
export interface MatvecTile {
  /** Activation rows it computes: 1, 2, 4 or 8. */
  readonly tokens: number;
  /** Lanes of a subgroup that walk the sum side by side. */
  readonly sumLanes: number;
  /** Lanes of a subgroup that own different rows; sumLanes · rowLanes is the subgroup's size where that is fixed. */
  readonly rowLanes: number;
  /** Whether the subgroup's size is known, so that lanes may add up by shuffles; else through workgroup memory. */
  readonly subgroups: boolean;
  /** Output columns (rows, or gate/up pairs) per lane. */
  readonly units: number;
  /** Subgroups with rows of their own. */
  readonly teams: number;
  /** Subgroups that share rows and divide the sum. */
  readonly split: number;
  /** Octets a lane loads before it uses the first. */
  readonly unroll: number;
}

/** Whether lanes of a subgroup can be counted on when the shader is written. */
export function fixedSubgroup(caps: DeviceCaps): boolean {
  return caps.minSubgroup === caps.maxSubgroup && caps.minSubgroup >= 4;
}

/** Numbers in workgroup memory: where sums meet, and the squares for a norm. */
function sharedNumbers(
  { epilogue }: LinearShape,
  { tokens, sumLanes, rowLanes, subgroups, units, teams, split }: MatvecTile,
): { readonly sums: number; readonly squares: number } {
  const values = units * (epilogue === "silu-mul" ? 2 : 1) * tokens;
  return {
    sums: teams * rowLanes * values * split * (subgroups ? 1 : sumLanes),
    squares: tokens * (subgroups ? 1 : sumLanes * rowLanes),
  };
}

/** Workgroup memory of a tile, in bytes, with a norm. */
export function matvecBytes(shape: LinearShape, tile: MatvecTile): number {
  const { sums, squares } = sharedNumbers(shape, tile);
  return 4 * (sums + squares);
}

/** The kernel for `tile.tokens` activation rows or fewer. */
export function matvecCall(shape: LinearShape, tile: MatvecTile): KernelCall<LinearRole> {
  const norm = shape.normEpsilon !== null;
  const bindings: LinearRole[] = ["input", "weight"];
  if (norm) bindings.push("normWeight");
  if (shape.bias) bindings.push("bias");
  bindings.push("output");
  const count = Math.ceil(outputWidth(shape) / (tile.units * tile.rowLanes * tile.teams));
  const key = [
    "matvec",
    `${shape.rows}x${shape.columns}`,
    shape.dtype,
    shape.epilogue,
    norm ? `norm${shape.normEpsilon}` : "plain",
    shape.bias ? "bias" : "",
    `${shape.input}-${shape.output}`,
    `s${shape.outputStride}+${shape.outputOffset}`,
    `n${shape.countWord}`,
    `t${tile.tokens}l${tile.sumLanes}x${tile.rowLanes}${tile.subgroups ? "s" : "w"}`,
    `u${tile.units}g${tile.teams}k${tile.split}n${tile.unroll}`,
  ].join("/");
  return {
    source: {
      key,
      code: () => matvecCode(shape, tile, count),
      access: bindings.map((role) => role === "output" ? "read_write" : "read"),
    },
    bindings,
    workgroups: [...foldGrid(count), 1],
  };
}

/** Statements that multiply-add one octet of every row with every activation row. */
function multiplyOctet(shape: LinearShape, rows: number, tokens: number, name: string, at: string): string {
  const norm = shape.normEpsilon !== null;
  // The norm's weight goes to whichever side has fewer vectors.
  const scaleRows = norm && rows < tokens;
  const scaleInput = norm && !scaleRows;
  return `{
    ${norm ? loadOctet("f32", "normWeight", "g", at) : ""}
    ${
    repeat(rows, (r) => {
      const [low, high] = octetNumbers(shape.dtype, `${name}_${r}`);
      const scale = (i: number) => scaleRows ? ` * g_${i}` : "";
      return `let wl${r} = ${low}${scale(0)}; let wh${r} = ${high}${scale(1)};`;
    })
  }
    ${
    repeat(tokens, (t) => {
      const [low, high] = octetHalves(shape.input, `x${t}`);
      const scale = (i: number) => scaleInput ? ` * g_${i}` : "";
      return `{ ${loadOctet(shape.input, "input", `x${t}`, `token${t} + ${at}`)}
      let xl = ${low}${scale(0)}; let xh = ${high}${scale(1)};
      ${
        repeat(rows, (r) => {
          const scale = octetScale(shape.dtype, `${name}_${r}`);
          return `sum${r}_${t} += ${scale}(dot(wl${r}, xl) + dot(wh${r}, xh));`;
        })
      } }`;
    })
  } }`;
}

/** The loop over a row's octets, unrolled, with the odd octets at its end. */
function octetLoop(shape: LinearShape, rows: number, tile: MatvecTile): string {
  const stride = tile.sumLanes * tile.split;
  const octetsPerRow = shape.columns / 8;
  const at = (start: string, u: number) => `${start} + ${u * stride}u`;
  const block = (start: string, depth: number) =>
    `${
      repeat(depth, (u) =>
        repeat(rows, (r) =>
          loadWeight(shape.dtype, "weight", `w${u}_${r}`, `row${r}`, at(start, u))))
    }
    ${repeat(depth, (u) => multiplyOctet(shape, rows, tile.tokens, `w${u}`, at(start, u)))}`;
  const perLane = Math.floor(octetsPerRow / stride);
  const blocks = Math.floor(perLane / tile.unroll);
  const rest = perLane - blocks * tile.unroll;
  const done = blocks * tile.unroll * stride;
  return [
    blocks > 1
      ? `for (var k = first; k < ${done}u; k += ${tile.unroll * stride}u) { ${block("k", tile.unroll)} }`
      : blocks === 1
      ? `{ ${block("first", tile.unroll)} }`
      : "",
    rest > 0 ? `{ let k = first + ${done}u; ${block("k", rest)} }` : "",
    octetsPerRow % stride === 0
      ? ""
      : `{ let k = first + ${perLane * stride}u; if (k < ${octetsPerRow}u) { ${block("k", 1)} } }`,
  ].join("\n");
}

/**
 * Adds `values` over the `lanes` lanes that differ in the low bits of `lane`, halving the list while it can: a lane
 * gives away the half that the other keeps. Afterwards the first `left` values of a lane are complete sums; value v
 * of a lane is number v + `offset` of the list.
 */
function foldLanes(values: readonly string[], lanes: number): { code: string; left: number; offset: string } {
  const lines: string[] = [];
  const offsets: string[] = [];
  let left = values.length;
  for (let mask = 1; mask < lanes; mask *= 2) {
    if (left === 1) {
      lines.push(`${values[0]} += subgroupShuffleXor(${values[0]}, ${mask}u);`);
      continue;
    }
    left /= 2;
    lines.push(`{ let high = (lane & ${mask}u) != 0u;`);
    for (let i = 0; i < left; i++) {
      const [a, b] = [values[i], values[i + left]];
      lines.push(`${a} = select(${a}, ${b}, high) + subgroupShuffleXor(select(${b}, ${a}, high), ${mask}u);`);
    }
    lines.push("}");
    offsets.push(`select(0u, ${left}u, (lane & ${mask}u) != 0u)`);
  }
  return { code: lines.join("\n"), left, offset: offsets.length > 0 ? offsets.join(" + ") : "0u" };
}

function matvecCode(shape: LinearShape, tile: MatvecTile, count: number): string {
  const { columns, dtype, input } = shape;
  const { tokens, sumLanes, rowLanes, units, teams, split } = tile;
  const norm = shape.normEpsilon !== null;
  const paired = shape.epilogue === "silu-mul";
  const width = outputWidth(shape);
  const rows = paired ? 2 * units : units;
  const lanes = sumLanes * rowLanes;
  const threads = lanes * teams * split;
  const octetsPerRow = columns / 8;
  const row = (r: number) =>
    paired
      ? `min(unit + ${r >> 1}u, ${width - 1}u) + ${(r & 1) * width}u`
      : `min(unit + ${r}u, ${width - 1}u)`;

  // Sums meet in workgroup memory as [value of a unit set][part]; a part is a subgroup of a split sum, or a lane.
  const values = Array.from(
    { length: rows * tokens },
    (_, i) => `sum${Math.floor(i / tokens)}_${i % tokens}`,
  );
  const parts = tile.subgroups ? split : split * sumLanes;
  const fold = tile.subgroups ? foldLanes(values, sumLanes) : { code: "", left: values.length, offset: "0u" };
  // Lanes that hold the same complete sum would all write it; the lowest does.
  const writers = tile.subgroups ? Math.min(sumLanes, values.length) : sumLanes;
  const part = tile.subgroups ? "part" : "part * " + sumLanes + "u + sumLane";
  const sets = teams * rowLanes;
  const place = (v: string) =>
    `((team * ${rowLanes}u + rowLane) * ${values.length}u + ${v}) * ${parts}u + ${part}`;

  const [low, high] = octetHalves(input, "x");
  const squares = `for (var token = thread / ${lanes}u; token < tokens; token += ${teams * split}u) {
    var sum = 0.0;
    for (var i = thread % ${lanes}u; i < ${octetsPerRow}u; i += ${lanes}u) {
      ${loadOctet(input, "input", "x", `token * ${octetsPerRow}u + i`)}
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

  const total = (v: string) =>
    `{
      let start = (owner * ${values.length}u + ${v}) * ${parts}u;
      ${
      parts <= 8
        ? repeat(parts, (p) => `sum += partial[start + ${p}u];`)
        : `for (var p = 0u; p < ${parts}u; p++) { sum += partial[start + p]; }`
    }
    }`;
  const scale = norm
    ? `var square = 0.0;
    ${
      squaresPer === 1
        ? "square = squares[token];"
        : `for (var p = 0u; p < ${squaresPer}u; p++) { square += squares[token * ${squaresPer}u + p]; }`
    }
    let scale = inverseSqrt(square / ${columns}.0 + ${shape.normEpsilon});`
    : "let scale = 1.0;";
  const outputs = sets * units * tokens;
  const shared = sharedNumbers(shape, tile);
  return `${input === "f16" || shape.output === "f16" ? "enable f16;" : ""}
${
    declareBuffers([
      { name: "input", element: octets(input).element },
      { name: "weight", element: octets(dtype).element },
      ...(norm ? [{ name: "normWeight", element: "vec4<f32>" }] : []),
      ...(shape.bias ? [{ name: "bias", element: "f32" }] : []),
      { name: "output", element: shape.output, write: true },
    ])
  }
var<workgroup> partial: array<f32, ${shared.sums}>;
${norm ? `var<workgroup> squares: array<f32, ${shared.squares}>;` : ""}
${unpackFunctions([dtype, input])}
${scaleFunction(dtype, "weight", columns)}
${finishFunction(shape)}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tokens = min(plan[${shape.countWord}], ${tokens}u);
  let lane = thread % ${lanes}u;
  let sumLane = lane % ${sumLanes}u;
  let rowLane = lane / ${sumLanes}u;
  let part = thread / ${lanes}u % ${split}u;
  let team = thread / ${lanes * split}u;
  let firstUnit = ${gridIndex(count)} * ${sets * units}u;
  let unit = firstUnit + (team * ${rowLanes}u + rowLane) * ${units}u;
  let first = part * ${sumLanes}u + sumLane;
  ${repeat(rows, (r) => `let row${r} = (${row(r)}) * ${rowOctets(dtype, columns)}u;`)}
  ${
    repeat(tokens, (t) =>
      `let token${t} = ${t === 0 ? "0u" : `min(${t}u, max(tokens, 1u) - 1u) * ${octetsPerRow}u`};`)
  }
  ${values.map((value) => `var ${value} = 0.0;`).join("\n")}
  ${norm ? squares : ""}
  ${octetLoop(shape, rows, tile)}
  ${fold.code}
  if (sumLane < ${writers}u) {
    let offset = ${fold.offset};
    ${repeat(fold.left, (v) => `partial[${place(`offset + ${v}u`)}] = ${values[v]};`)}
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
      finish(token, column, gate, sum * scale);`
      : `${total(`own * ${tokens}u + token`)}
      finish(token, column, sum * scale);`
  }
    }
  }
}
`;
}

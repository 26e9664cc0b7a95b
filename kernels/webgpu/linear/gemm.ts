// Tiled matrix product for many activation rows: output tile [tileTokens, tileRows] per workgroup, both operands
// row-major ("NT": both are walked along the sum).
//
// Grid: (tiles of the weight's rows, tiles of tokens, parts of the sum). Workgroup: one thread per
// `threadTokens × threadRows` results. Layout in workgroup memory: [k][4-row units], so that a thread reads the
// operands of one k with a few 8-byte loads; a unit's place is xor-ed with its octet number, which keeps the
// transposing stores free of bank conflicts. The next tile travels to registers while this one is multiplied, and
// two buffers leave one barrier per step.
// In f16 a `vec2<f16>` holds two neighbouring rows of the weight (or a gate/up pair), one fused multiply–add for both
// at twice the float32 rate; sums stay in f16 for one step of the sum (`step`), then are added to float32. Activations
// are first scaled by a power of two per token and step, so that neither they nor the sums leave f16's range.
// Bound by: arithmetic. Register blocking as in the usual SGEMM ladder (S. Boehm, "How to optimize a CUDA matmul
// kernel"); the f16 step with a float32 flush is ours.

import type { DType } from "../../ops.ts";
import type { KernelCall } from "../kernel.ts";
import type { LinearRole, LinearShape } from "./linear.ts";
import {
  declareBuffers,
  finishFunction,
  loadOctet,
  octetHalves,
  octets,
  outputWidth,
  repeat,
  unpackFunctions,
} from "./wgsl.ts";

/** How a tiled product divides its work. */
export interface GemmTile {
  /** Arithmetic of one step of the sum. */
  readonly arithmetic: "f16" | "f32";
  readonly tileTokens: number;
  /** Rows of the weight per tile, counting gate and up rows. */
  readonly tileRows: number;
  /** Columns per step; a multiple of 8. */
  readonly step: number;
  /** Results per thread: multiples of 4. */
  readonly threadTokens: number;
  readonly threadRows: number;
  /** Parts the sum is divided into; with more than one, partial sums go to scratchB as [part][token][row]. */
  readonly split: number;
  /** Threads side by side along the rows within 32 neighbouring ones. */
  readonly lanesX: number;
  /** Read eight rows at a time from workgroup memory (f16 only). */
  readonly wide: boolean;
  /** Copies of the tiles in workgroup memory: 2 needs one barrier a step, 1 needs two. */
  readonly buffers: 1 | 2;
}

/** Where the activations come from and whether they are normalised on the way. */
export interface GemmInput {
  readonly role: "input" | "scratchA";
  readonly type: "f32" | "f16";
  /** Scale per token and step so that f16 arithmetic cannot overflow. */
  readonly scaled: boolean;
}

/** The product for up to `tokens` activation rows. */
export function gemmCall(
  shape: LinearShape,
  tokens: number,
  tile: GemmTile,
  input: GemmInput,
): KernelCall<LinearRole> {
  const partial = tile.split > 1;
  const bindings: LinearRole[] = [input.role, "weight"];
  if (shape.bias && !partial) bindings.push("bias");
  bindings.push(partial ? "scratchB" : "output");
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
    `${tile.threadTokens}x${tile.threadRows}k${tile.split}x${tile.lanesX}${
      tile.wide ? "w" : ""
    }b${tile.buffers}`,
  ].join("/");
  return {
    source: {
      key,
      code: () => gemmCode(shape, tile, input),
      access: bindings.map((role) => role === "output" || role === "scratchB" ? "read_write" : "read"),
    },
    bindings,
    workgroups: [
      Math.ceil(outputWidth(shape) / tileColumns),
      Math.ceil(tokens / tile.tileTokens),
      tile.split,
    ],
  };
}

/** Columns of the sum that one part covers. */
export function partColumns(columns: number, tile: GemmTile): number {
  return Math.ceil(columns / (tile.step * tile.split)) * tile.step;
}

/** One side of the product: its rows are loaded four at a time, eight columns each, and stored transposed. */
interface Side {
  readonly prefix: string;
  readonly buffer: string;
  /** Loads of one octet: variables, statements and the expression of element k in the tile's type. */
  readonly element: string;
  readonly load: (name: string, index: string) => string;
  readonly declare: (name: string) => string;
  readonly at: (name: string, k: number) => string;
  /** Units of four rows in a tile. */
  readonly units: number;
  /** Expression for the number of row j of unit u in the operand. */
  readonly row: (unit: string, j: number) => string;
}

function gemmCode(shape: LinearShape, tile: GemmTile, input: GemmInput): string {
  const { columns, dtype } = shape;
  const { arithmetic, tileTokens, tileRows, step, threadTokens, threadRows } = tile;
  const half = arithmetic === "f16";
  const paired = shape.epilogue === "silu-mul";
  const partial = tile.split > 1;
  const width = outputWidth(shape);
  const threadsX = tileRows / threadRows;
  const threadsY = tileTokens / threadTokens;
  const threads = threadsX * threadsY;
  const octetsPerRow = columns / 8;
  const stepOctets = step / 8;
  const perPart = partColumns(columns, tile);
  const lastPart = columns - perPart * (tile.split - 1);
  const whole = columns % step === 0 && lastPart === perPart;
  const scaled = input.scaled && half;

  const access = (name: string, k: number, type: DType): string => {
    const [low, high] = octetHalves(type, name);
    return `${k < 4 ? low : high}.${"xyzw"[k & 3]}`;
  };
  const side = (
    prefix: string,
    buffer: string,
    type: DType,
    units: number,
    row: Side["row"],
  ): Side => {
    if (type === "f16" && half) {
      return {
        prefix,
        buffer,
        units,
        row,
        element: "mat2x4<f16>",
        declare: (name) => `var ${name} = mat2x4<f16>();`,
        load: (name, index) => `${name} = ${buffer}[${index}];`,
        at: (name, k) => `${name}[${k >> 2}].${"xyzw"[k & 3]}`,
      };
    }
    const { element, loads } = octets(type);
    return {
      prefix,
      buffer,
      units,
      row,
      element,
      declare: (name) => repeat(loads, (i) => `var ${name}_${i} = ${element}();`),
      load: (name, index) => loadOctet(type, buffer, name, index, ""),
      at: (name, k) => access(name, k, type),
    };
  };
  const a = side(
    "a",
    "input",
    input.type,
    tileTokens / 4,
    (unit, j) => `min(token0 + ${unit} * 4u + ${j}u, tokens - 1u)`,
  );
  const b = side(
    "b",
    "weight",
    dtype,
    tileRows / 4,
    (unit, j) =>
      paired
        ? `min(column0 + ${unit} * 2u + ${j >> 1}u, ${width - 1}u) + ${(j & 1) * width}u`
        : `min(column0 + ${unit} * 4u + ${j}u, ${width - 1}u)`,
  );

  // A task is one octet of four rows; tasks of a side are dealt to threads in rounds, the weight's from the other end
  // so that both sides' incomplete rounds fall on different threads.
  const tasks = (s: Side) => s.units * stepOctets;
  const rounds = (s: Side) => Math.ceil(tasks(s) / threads);
  const worker = (s: Side) => s.prefix === "a" ? "thread" : `(${threads - 1}u - thread)`;
  const guard = (s: Side, i: number, body: string) => {
    const left = tasks(s) - i * threads;
    return left >= threads ? `{ ${body} }` : `if (${worker(s)} < ${left}u) { ${body} }`;
  };
  const eachTask = (s: Side, body: (i: number) => string) => repeat(rounds(s), (i) => guard(s, i, body(i)));
  const taskNames = (s: Side, i: number) =>
    `let task = ${worker(s)} + ${
      i * threads
    }u; let octet = task % ${stepOctets}u; let unit = task / ${stepOctets}u;`;

  const bases = (s: Side) =>
    repeat(
      rounds(s),
      (i) =>
        `var ${s.prefix}base${i} = vec4<u32>(0u); ${
          guard(
            s,
            i,
            `${taskNames(s, i)} ${s.prefix}base${i} = vec4<u32>(${
              [0, 1, 2, 3].map((j) => `(${s.row("unit", j)}) * ${octetsPerRow}u`).join(", ")
            }) + octet;`,
          )
        }`,
    );
  const declareStage = (s: Side) =>
    repeat(rounds(s), (i) => repeat(4, (j) => s.declare(`${s.prefix}${i}_${j}`)));
  const clear = (s: Side, name: string) => s.declare(name).replaceAll("var ", "");
  const fetch = (s: Side) =>
    eachTask(s, (i) => {
      const loads = repeat(4, (j) => s.load(`${s.prefix}${i}_${j}`, `${s.prefix}base${i}.${"xyzw"[j]} + at`));
      if (whole) return loads;
      const zeros = repeat(4, (j) => clear(s, `${s.prefix}${i}_${j}`));
      return `let octet = (${worker(s)} + ${i * threads}u) % ${stepOctets}u;
        if (at + octet < end) { ${loads} } else { ${zeros} }`;
    });
  const type = half ? "f16" : "f32";
  /** Rows of a side that one read from workgroup memory brings. */
  const reach = (s: Side) =>
    tile.wide && half && (s.prefix === "a" ? threadTokens : threadRows) % 8 === 0 ? 8 : 4;
  const perK = (s: Side) => s.units * 4 / reach(s);
  const swizzle = (s: Side) => {
    const spread = Math.min(stepOctets, s.units / 4);
    return spread < 2 ? "0u" : `((octet & ${spread - 1}u) << ${reach(s) === 8 ? 1 : 2}u)`;
  };
  const twice = tile.buffers === 2;
  const origin = (s: Side) => `${twice ? `buffer * ${step * perK(s)}u + ` : ""}octet * ${8 * perK(s)}u`;
  const placeStart = (s: Side) =>
    `let to = ${origin(s)} + (${reach(s) === 8 ? "(unit >> 1u)" : "unit"} ^ ${swizzle(s)});`;
  const place = (s: Side, k: number) =>
    `s${s.prefix}[to + ${k * perK(s)}u]${reach(s) === 8 ? "[unit & 1u]" : ""}`;
  const commitPlain = (s: Side) =>
    eachTask(s, (i) =>
      `${taskNames(s, i)}
      ${placeStart(s)}
      ${
        repeat(8, (k) =>
          `${place(s, k)} = vec4<${type}>(vec4<${s.element === "mat2x4<f16>" ? "f16" : "f32"}>(${
            [0, 1, 2, 3].map((j) => s.at(`${s.prefix}${i}_${j}`, k)).join(", ")
          }));`)
      }`);
  const commitScaled = (s: Side) =>
    eachTask(s, (i) => {
      const value = (k: number) =>
        `vec4<f32>(${[0, 1, 2, 3].map((j) => `f32(${s.at(`${s.prefix}${i}_${j}`, k)})`).join(", ")})`;
      const neighbours = stepOctets === 1
        ? []
        : Array.from({ length: Math.log2(stepOctets) }, (_, n) => 1 << n);
      return `${taskNames(s, i)}
      ${repeat(8, (k) => `let v${k} = ${value(k)};`)}
      var top = max(max(max(abs(v0), abs(v1)), max(abs(v2), abs(v3))), max(max(abs(v4), abs(v5)), max(abs(v6), abs(v7))));
      ${neighbours.map((n) => `top = max(top, subgroupShuffleXor(top, ${n}u));`).join("\n")}
      let power = clamp(bitcast<vec4<u32>>(top) & vec4<u32>(0x7f800000u), vec4<u32>(0x04000000u), vec4<u32>(0x7a000000u));
      let shrink = bitcast<vec4<f32>>(vec4<u32>(0x7f000000u) - power);
      if (octet == 0u) { scales[${twice ? `buffer * ${s.units}u + ` : ""}unit] = bitcast<vec4<f32>>(power); }
      ${placeStart(s)}
      ${repeat(8, (k) => `${place(s, k)} = vec4<f16>(v${k} * shrink);`)}`;
    });

  const accumulators = threadTokens * threadRows / 2;
  const pairs = threadRows / 2;
  // A thread's units are interleaved with its neighbours', so that neighbouring lanes read neighbouring units.
  const reads = { a: threadTokens / reach(a), b: threadRows / reach(b) };
  const unitOf = (s: Side, i: number) => s.prefix === "a" ? `ty + ${i * threadsY}u` : `tx + ${i * threadsX}u`;
  /** Place of a thread's i-th row in the tile. */
  const rowOf = (s: Side, i: number) => {
    const n = reach(s);
    return `(${unitOf(s, Math.floor(i / n))}) * ${n}u + ${i % n}u`;
  };
  /** The four rows of a side that contain the thread's i-th, at one k. */
  const quad = (s: Side, i: number) =>
    reach(s) === 8 ? `${s.prefix}${i >> 3}[${(i >> 2) & 1}]` : `${s.prefix}${i >> 2}`;
  const multiply = (target: string) =>
    repeat(8, (k) =>
      `{
      ${repeat(reads.a, (i) => `let a${i} = sa[atA + ${k * perK(a)}u + ua${i}];`)}
      ${repeat(reads.b, (j) => `let b${j} = sb[atB + ${k * perK(b)}u + ub${j}];`)}
      ${
        repeat(threadTokens, (m) =>
          Array.from({ length: pairs }, (_, p) => {
            const acc = `${target}${m * pairs + p}`;
            return `${acc} = fma(vec2<${type}>(${quad(a, m)}.${"xyzw"[m & 3]}), ${quad(b, 2 * p)}.${
              p & 1 ? "zw" : "xy"
            }, ${acc});`;
          }).join(" "))
      } }`);
  const flush = half
    ? repeat(accumulators, (i) => {
      const m = Math.floor(i / pairs);
      return scaled
        ? `sum${i} = fma(vec2<f32>(part${i}), vec2<f32>(scale${m >> 2}.${"xyzw"[m & 3]}), sum${i});`
        : `sum${i} += vec2<f32>(part${i});`;
    })
    : "";

  const store = (m: number, p: number) => {
    const sum = `sum${m * pairs + p}`;
    const start = `let token = token0 + ${rowOf(a, m)}; let column = column0 + (${rowOf(b, 2 * p)})${
      paired ? " / 2u" : ""
    };`;
    const at = `(group.z * tokens + token) * ${shape.rows}u + column`;
    if (paired) {
      return `{ ${start} if (token < tokens && column < ${width}u) { ${
        partial
          ? `scratchB[${at}] = ${sum}.x; scratchB[${at} + ${width}u] = ${sum}.y;`
          : `finish(token, column, ${sum}.x, ${sum}.y);`
      } } }`;
    }
    const one = (offset: number, value: string) =>
      `if (column + ${offset}u < ${width}u) { ${
        partial ? `scratchB[${at} + ${offset}u] = ${value};` : `finish(token, column + ${offset}u, ${value});`
      } }`;
    return `{ ${start} if (token < tokens) { ${one(0, `${sum}.x`)} ${one(1, `${sum}.y`)} } }`;
  };

  const repeatSides = (line: (s: Side) => string) => [a, b].map(line).join("\n");
  const lanesY = 32 / tile.lanesX;
  const groupsX = threadsX / tile.lanesX;
  const needsF16 = half || input.type === "f16" || (!partial && shape.output === "f16");
  return `${needsF16 ? "enable f16;" : ""}
${
    declareBuffers([
      { name: "input", element: a.element },
      { name: "weight", element: b.element },
      ...(shape.bias && !partial ? [{ name: "bias", element: "f32" }] : []),
      partial
        ? { name: "scratchB", element: "f32", write: true }
        : { name: "output", element: shape.output, write: true },
    ])
  }
${
    repeatSides((s) =>
      `var<workgroup> s${s.prefix}: array<${reach(s) === 8 ? "mat2x4<f16>" : `vec4<${type}>`}, ${
        tile.buffers * step * perK(s)
      }>;`
    )
  }
${scaled ? `var<workgroup> scales: array<vec4<f32>, ${tile.buffers * a.units}>;` : ""}
${unpackFunctions([dtype, input.type])}
${partial ? "" : finishFunction(shape)}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tokens = plan[${shape.countWord}];
  let token0 = group.y * ${tileTokens}u;
  let column0 = group.x * ${paired ? tileRows / 2 : tileRows}u;
  // Uniform for the workgroup: all of it leaves before the first barrier.
  if (token0 >= tokens) { return; }
  let tx = (thread / 32u) % ${groupsX}u * ${tile.lanesX}u + thread % ${tile.lanesX}u;
  let ty = thread / ${32 * groupsX}u * ${lanesY}u + thread / ${tile.lanesX}u % ${lanesY}u;
  ${bases(a)}
  ${bases(b)}
  ${declareStage(a)}
  ${declareStage(b)}
  ${repeat(accumulators, (i) => `var sum${i} = vec2<f32>();`)}
  var at = group.z * ${perPart / 8}u;
  let end = min(at + ${perPart / 8}u, ${octetsPerRow}u);
  ${fetch(a)}
  ${fetch(b)}
  var buffer = 0u;
  while (at < end) {
    ${scaled ? commitScaled(a) : commitPlain(a)}
    ${commitPlain(b)}
    workgroupBarrier();
    at += ${stepOctets}u;
    if (at < end) {
      ${fetch(a)}
      ${fetch(b)}
    }
    ${half ? repeat(accumulators, (i) => `var part${i} = vec2<f16>();`) : ""}
    for (var octet = 0u; octet < ${stepOctets}u; octet++) {
      let atA = ${origin(a)};
      let atB = ${origin(b)};
      ${repeat(reads.a, (i) => `let ua${i} = (${unitOf(a, i)}) ^ ${swizzle(a)};`)}
      ${repeat(reads.b, (j) => `let ub${j} = (${unitOf(b, j)}) ^ ${swizzle(b)};`)}
      ${multiply(half ? "part" : "sum")}
    }
    ${
    scaled
      ? repeat(threadTokens / 4, (i) =>
        `let scale${i} = scales[${twice ? `buffer * ${a.units}u + ` : ""}(${rowOf(a, 4 * i)}) / 4u];`)
      : ""
  }
    ${flush}
    ${twice ? "buffer = buffer ^ 1u;" : "workgroupBarrier();"}
  }
  ${repeat(threadTokens, (m) => repeat(pairs, (p) => store(m, p)))}
}
`;
}

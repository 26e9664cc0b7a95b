// Tiled matrix product for many activation rows: output tile [tileTokens, tileRows] per workgroup, both operands
// row-major ("NT": both are walked along the sum).
//
// Grid: (tiles of the weight's rows, tiles of tokens, parts of the sum). Workgroup: one thread per
// `threadTokens × threadRows` results, which lie `threads` apart so that neighbours read neighbouring rows. Layout in
// workgroup memory: [octet of the sum][row], 16 bytes each, the row xor-ed with the octet, so that neither the stores
// (octets of a row side by side) nor the loads (rows side by side) collide in a bank. The next tile travels to
// registers while this one is multiplied; two buffers leave one barrier per step.
// In f16 a `vec2<f16>` sums even and odd terms, one fused multiply–add for both; the sums stay in f16 for a few octets
// (`4 · flush` terms a lane) and are then added in float32. Activations may be scaled by a power of two per token and
// step, so that neither they nor the sums leave f16's range, whatever their size.
// With few activation rows a tile is small and the sum is divided within the workgroup: `slices` sets of threads own
// the same results and different octets of each step, and meet in workgroup memory at the end.
// The RMS norm in front may be fused: octets are multiplied by its weight on their way, Σ x² is kept beside them, and
// results are divided by the root at the end.
// Bound by: arithmetic. Register blocking as in the usual SGEMM ladder (S. Boehm, "How to optimize a CUDA matmul
// kernel"); the f16 step with a float32 flush and its scaling are ours.
// The kernel is one file because its parts share the layout of a tile.

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

/** Workgroup memory in which slices meet. */
const SLICE_BYTES = 8192;

/** How a tiled product divides its work; all numbers are powers of two. */
export interface GemmTile {
  /** Arithmetic of one step of the sum. */
  readonly arithmetic: "f16" | "f32";
  readonly tileTokens: number;
  /** Rows of the weight per tile, counting gate and up rows. */
  readonly tileRows: number;
  /** Columns per step; a multiple of 8. */
  readonly step: number;
  /** Results per thread. */
  readonly threadTokens: number;
  readonly threadRows: number;
  /** Threads side by side along the rows within 32 neighbouring ones. */
  readonly lanesX: number;
  /** Copies of the tiles in workgroup memory: 2 needs one barrier a step, 1 needs two. */
  readonly buffers: 1 | 2;
  /** Sets of threads that divide a step's octets among them. */
  readonly slices: number;
  /** Octets of a slice's step whose code is written out; the rest is a loop. */
  readonly unroll: number;
  /** Octets whose products are summed in f16 before they are added to the float32 sums: more is less exact. */
  readonly flush: number;
  /** Parts the sum is divided into; with more than one, partial sums go to scratchB as [part][token][row]. */
  readonly split: number;
}

/** Where the activations come from. */
export interface GemmInput {
  readonly role: "input" | "scratchA";
  readonly type: "f32" | "f16";
  /** Scale per token and step so that f16 arithmetic cannot overflow. */
  readonly scaled: boolean;
  /** Multiply by the norm's weight on the way; "full": divide by the root of the mean square, too. */
  readonly norm: "none" | "weight" | "full";
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
  if (input.norm !== "none") bindings.push("normWeight");
  if (shape.bias && !partial) bindings.push("bias");
  bindings.push(partial ? "scratchB" : "output");
  const tileColumns = shape.epilogue === "silu-mul" ? tile.tileRows / 2 : tile.tileRows;
  const key = [
    "gemm",
    `${shape.rows}x${shape.columns}`,
    shape.dtype,
    shape.epilogue,
    shape.bias ? "bias" : "",
    `${input.type}${input.scaled ? "scaled" : ""}${
      input.norm === "full" ? `norm${shape.normEpsilon}` : input.norm
    }-${partial ? "partial" : shape.output}`,
    `s${shape.outputStride}+${shape.outputOffset}`,
    `n${shape.countWord}`,
    `${tile.arithmetic}:${tile.tileTokens}x${tile.tileRows}x${tile.step}`,
    `${tile.threadTokens}x${tile.threadRows}x${tile.lanesX}b${tile.buffers}n${tile.unroll}f${tile.flush}s${tile.slices}k${tile.split}`,
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

/** One operand: how its tile travels from memory through registers to workgroup memory. */
class Side {
  readonly name: "a" | "b";
  readonly #buffer: string;
  readonly #type: DType;
  readonly #half: boolean;
  /** Rows of the tile, rows a thread multiplies, and threads along them. */
  readonly rows: number;
  readonly perThread: number;
  readonly #threads: number;
  readonly #tile: GemmTile;
  readonly #norm: GemmInput["norm"];
  readonly #row: (local: string) => string;

  constructor(
    name: "a" | "b",
    buffer: string,
    type: DType,
    tile: GemmTile,
    norm: GemmInput["norm"],
    row: (local: string) => string,
  ) {
    this.name = name;
    this.#buffer = buffer;
    this.#type = type;
    this.#half = tile.arithmetic === "f16";
    this.#tile = tile;
    this.#norm = norm;
    this.#row = row;
    this.rows = name === "a" ? tile.tileTokens : tile.tileRows;
    this.perThread = name === "a" ? tile.threadTokens : tile.threadRows;
    this.#threads = threadCount(tile);
  }

  /** Type of the buffer's elements. */
  get element(): string {
    return octets(this.#type).element;
  }

  get #stepOctets(): number {
    return this.#tile.step / 8;
  }

  /** 16-byte units of an octet in workgroup memory. */
  get #units(): number {
    return this.#half ? 1 : 2;
  }

  get #across(): number {
    return this.rows / this.perThread;
  }

  /**
   * The tile in workgroup memory. Nested arrays, because every dynamic index is clamped: this way the indices that
   * differ between unrolled statements are constants, and the clamp of the others is computed once.
   */
  get declaration(): string {
    const unit = this.#half ? "mat2x4<f16>" : "vec4<f32>";
    const row = `array<array<${unit}, ${this.#across}>, ${this.perThread}>`;
    return `var<workgroup> s${this.name}: array<array<${row}, ${
      this.#stepOctets * this.#units
    }>, ${this.#tile.buffers}>;`;
  }

  /** Octets of the tile are dealt to threads in rounds, the weight's from the other end. */
  get #rounds(): number {
    return Math.ceil(this.rows * this.#stepOctets / this.#threads);
  }

  #eachTask(body: (round: number) => string): string {
    const worker = this.name === "a" ? "thread" : `(${this.#threads - 1}u - thread)`;
    return repeat(this.#rounds, (i) => {
      const left = this.rows * this.#stepOctets - i * this.#threads;
      const names = `let task = ${worker} + ${i * this.#threads}u; let octet = task % ${this.#stepOctets}u;
      let row = task / ${this.#stepOctets}u;`;
      return `{ ${names} ${
        left >= this.#threads ? body(i) : `if (task < ${this.rows * this.#stepOctets}u) { ${body(i)} }`
      } }`;
    });
  }

  #variables(round: number): string[] {
    const name = `${this.name}${round}`;
    return octets(this.#type).loads === 1 ? [`${name}_0`] : [`${name}_0`, `${name}_1`];
  }

  /** Where each of a thread's octets begins, and the registers they travel in. */
  get preparation(): string {
    const normed = this.#norm !== "none";
    return `${normed ? "var g_0 = vec4<f32>(); var g_1 = vec4<f32>();" : ""}
  ${this.#norm === "full" ? repeat(this.#rounds, (i) => `var squares${i} = 0.0;`) : ""}
  ${repeat(this.#rounds, (i) => `var ${this.name}from${i} = 0u;`)}
  ${this.#eachTask((i) => `${this.name}from${i} = (${this.#row("row")}) * COLUMN_OCTETS + octet;`)}
  ${repeat(this.#rounds, (i) => this.#variables(i).map((v) => `var ${v} = ${this.element}();`).join(" "))}`;
  }

  /** Loads the octets of the step at `at`; zeros behind `end` unless every step is whole. */
  fetch(whole: boolean): string {
    // All of a thread's octets lie at the same place of the step, so they share the norm's weights.
    const place = `thread % ${this.#stepOctets}u`;
    const weights = this.#norm === "none"
      ? ""
      : `${whole ? "" : `if (at + ${place} < end) `}{ ${
        loadOctet("f32", "normWeight", "g", `at + ${place}`, "")
      } }`;
    return weights + this.#eachTask((i) => {
      const from = `${this.name}from${i} + at`;
      const load = loadOctet(this.#type, this.#buffer, `${this.name}${i}`, from, "");
      const zeros = this.#variables(i).map((v) => `${v} = ${this.element}();`).join(" ");
      return whole ? load : `if (at + octet < end) { ${load} } else { ${zeros} }`;
    });
  }

  /** Puts the loaded octets into workgroup memory, scaled if asked for. */
  commit(scaled: boolean): string {
    return this.#eachTask((i) => {
      const name = `${this.name}${i}`;
      const spread = swizzle(this.#tile, this.#across);
      const place = (unit: number) =>
        `s${this.name}[buffer][octet * ${this.#units}u + ${unit}u][row / ${this.#across}u][(row % ${this.#across}u) ^ ${
          spread("octet")
        }]`;
      const [low, high] = octetHalves(this.#type, name);
      const values = `let x_0 = ${low}; let x_1 = ${high};
      ${this.#norm === "full" ? `squares${i} += dot(x_0, x_0) + dot(x_1, x_1);` : ""}
      ${
        this.#norm === "none"
          ? "let low = x_0; let high = x_1;"
          : "let low = x_0 * g_0; let high = x_1 * g_1;"
      }`;
      if (!this.#half) return `${values} ${place(0)} = low; ${place(1)} = high;`;
      if (!scaled) return `${values} ${place(0)} = mat2x4<f16>(vec4<f16>(low), vec4<f16>(high));`;
      const sliceOctets = this.#stepOctets / this.#tile.slices;
      const shuffles = Array.from({ length: Math.log2(sliceOctets) }, (_, n) => 1 << n);
      return `${values}
      let most = max(abs(low), abs(high));
      var top = max(max(most.x, most.y), max(most.z, most.w));
      ${shuffles.map((n) => `top = max(top, subgroupShuffleXor(top, ${n}u));`).join("\n")}
      let power = clamp(bitcast<u32>(top) & 0x7f800000u, 0x04000000u, 0x7a000000u);
      let shrink = bitcast<f32>(0x7f000000u - power);
      if (octet % ${sliceOctets}u == 0u) {
        scales[buffer][octet / ${sliceOctets}u][row / ${this.#across}u][row % ${this.#across}u] = bitcast<f32>(power);
      }
      ${place(0)} = mat2x4<f16>(vec4<f16>(low * shrink), vec4<f16>(high * shrink));`;
    });
  }

  /** After the last step: leaves 1 / rms of each token of the tile in `roots`. */
  finishNorm(columns: number, epsilon: number): string {
    return `${this.#eachTask((i) => `squares[row][octet] = squares${i};`)}
  workgroupBarrier();
  for (var i = thread; i < ${this.rows}u; i += ${this.#threads}u) {
    var sum = 0.0;
    for (var o = 0u; o < ${this.#stepOctets}u; o++) { sum += squares[i][o]; }
    roots[i] = inverseSqrt(sum / ${columns}.0 + ${epsilon});
  }
  workgroupBarrier();`;
  }

  get normDeclaration(): string {
    return `var<workgroup> squares: array<array<f32, ${this.#stepOctets}>, ${this.rows}>;
var<workgroup> roots: array<f32, ${this.rows}>;`;
  }

  /** The scales of a tile's tokens, beside it. */
  get scaleDeclaration(): string {
    const row = `array<array<f32, ${this.#across}>, ${this.perThread}>`;
    return `var<workgroup> scales: array<array<${row}, ${this.#tile.slices}>, ${this.#tile.buffers}>;`;
  }

  /** Reads the thread's units of octet `octet` into registers `a0…` or `b0…`. */
  read(octet: string, unit: number): string {
    const thread = this.name === "a" ? "ty" : "tx";
    const spread = swizzle(this.#tile, this.#across);
    const at = `${octet} * ${this.#units}u + ${unit}u`;
    return repeat(
      this.perThread,
      (i) => `let ${this.name}${i} = s${this.name}[buffer][${at}][${i}u][${thread} ^ ${spread(octet)}];`,
    );
  }
}

function threadCount(tile: GemmTile): number {
  return tile.tileTokens / tile.threadTokens * (tile.tileRows / tile.threadRows) * tile.slices;
}

/** How far an octet's rows are displaced: eight neighbouring lanes store to eight different banks of 16 bytes. */
function swizzle(tile: GemmTile, across: number): (octet: string) => string {
  const stepOctets = tile.step / 8;
  const shift = Math.max(0, 3 - Math.log2(stepOctets));
  const mask = Math.min(stepOctets, across >> shift) - 1;
  return (octet) => mask <= 0 ? "0u" : `((${octet} & ${mask}u) << ${shift}u)`;
}

function gemmCode(shape: LinearShape, tile: GemmTile, input: GemmInput): string {
  const { columns, dtype } = shape;
  const { tileTokens, tileRows, step, threadTokens, threadRows, lanesX, slices } = tile;
  const half = tile.arithmetic === "f16";
  const paired = shape.epilogue === "silu-mul";
  const partial = tile.split > 1;
  const scaled = input.scaled && half;
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
    input.norm,
    (row) => `min(token0 + ${row}, tokens - 1u)`,
  );
  const b = new Side(
    "b",
    "weight",
    dtype,
    tile,
    "none",
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
    return `sum${m}_${n} ${scaled ? `= fma(${part}, scale${m}, sum${m}_${n})` : `+= ${part}`};`;
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
      return `scratchB[${at}] = ${gate}; ${paired ? `scratchB[${at} + ${width}u] = ${up};` : ""}`;
    }
    return paired ? `finish(token, column, ${gate}, ${up});` : `finish(token, column, ${gate});`;
  };
  const normed = input.norm === "full";
  /** Results of one slice, straight from registers. */
  const store = (m: number) => {
    const root = normed ? `* roots[ty + ${m * threadsY}u]` : "";
    const one = (n: number) =>
      `{ let column = column0 + tx + ${n * threadsX}u; if (column < ${width}u) {
      ${write(`sum${m}_${n}${root}`, `sum${m}_${n + threadRows / 2}${root}`)} } }`;
    return `{ let token = token0 + ty + ${m * threadsY}u; if (token < tokens) {
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
      ${normed ? `let root = roots[${first * threadsY}u + local];` : "let root = 1.0;"}
      let gate = (${total("own")}) * root;
      ${paired ? `let up = (${total(`own + ${tileColumns}u`)}) * root;` : ""}
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
      ...(input.norm !== "none" ? [{ name: "normWeight", element: "vec4<f32>" }] : []),
      ...(shape.bias && !partial ? [{ name: "bias", element: "f32" }] : []),
      partial
        ? { name: "scratchB", element: "f32", write: true }
        : { name: "output", element: shape.output, write: true },
    ])
  }
const COLUMN_OCTETS = ${columns / 8}u;
${a.declaration}
${b.declaration}
${scaled ? a.scaleDeclaration : ""}
${normed ? a.normDeclaration : ""}
${
    slices > 1
      ? `var<workgroup> slabs: array<array<array<f32, ${tileRows}>, ${batch * threadsY}>, ${slices}>;`
      : ""
  }
${unpackFunctions([dtype, input.type])}
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
    ${a.commit(scaled)}
    ${b.commit(false)}
    workgroupBarrier();
    at += ${stepOctets}u;
    if (at < end) {
      ${a.fetch(whole)}
      ${b.fetch(whole)}
    }
    ${
    scaled
      ? repeat(
        threadTokens,
        (m) => `let scale${m} = scales[buffer][${slices > 1 ? "slice" : "0"}][${m}u][ty];`,
      )
      : ""
  }
    ${multiply}
    ${twice ? "buffer = buffer ^ 1u;" : "workgroupBarrier();"}
  }
  ${normed ? a.finishNorm(columns, shape.normEpsilon!) : ""}
  ${ending}
}
`;
}

// One operand of a tiled product: how its tile travels from memory through registers to workgroup memory and back.
//
// The tile lies there as [vec of the sum][row], 16 bytes each: a row's vecs are stored as they come, and neighbouring
// lanes read neighbouring rows. The row is xor-ed with the vec's number, so that neither stores nor reads collide in a
// bank.

import type { DType } from "../../formats/mod.ts";
import { clearVec, declareVec, loadVec, vecHalves } from "../formats/mod.ts";
import { divideUp, repeat } from "../shader/wgsl.ts";
import { type GemmTile, threadCount } from "./gemm_tile.ts";

/** The WGSL that moves one operand; statements refer to `thread`, `buffer`, `at` and `end`. */
export class Side {
  /** In the shader. */
  readonly name: "a" | "b";
  readonly #buffer: string;
  readonly #type: DType;
  readonly #half: boolean;
  /** Rows of the tile, rows a thread multiplies, and threads along them. */
  readonly rows: number;
  /** Rows that a thread multiplies. */
  readonly perThread: number;
  readonly #threads: number;
  readonly #tile: GemmTile;
  readonly #row: (local: string) => string;
  readonly #stepVecs: number;
  /** 16-byte units of a vec in workgroup memory. */
  readonly #units: number;
  readonly #across: number;
  /** Vecs of the tile are dealt to threads in rounds, the weight's from the other end. */
  readonly #rounds: number;

  /** Operand a (activations) or b (weight) of a tile; `row` is WGSL of a row of the buffer, from one of the tile. */
  constructor(name: "a" | "b", buffer: string, type: DType, tile: GemmTile, row: (local: string) => string) {
    this.name = name;
    this.#buffer = buffer;
    this.#type = type;
    this.#half = tile.arithmetic === "f16";
    this.#tile = tile;
    this.#row = row;
    this.rows = name === "a" ? tile.tileTokens : tile.tileRows;
    this.perThread = name === "a" ? tile.threadTokens : tile.threadRows;
    this.#threads = threadCount(tile);
    this.#stepVecs = tile.step / 8;
    this.#units = this.#half ? 1 : 2;
    this.#across = this.rows / this.perThread;
    this.#rounds = divideUp(this.rows * this.#stepVecs, this.#threads);
  }

  /**
   * The tile in workgroup memory. Nested arrays, because every dynamic index is clamped: this way the indices that
   * differ between unrolled statements are constants, and the clamp of the others is computed once.
   */
  get declaration(): string {
    const unit = this.#half ? "mat2x4<f16>" : "vec4<f32>";
    const row = `array<array<${unit}, ${this.#across}>, ${this.perThread}>`;
    return `var<workgroup> s${this.name}: array<array<${row}, ${
      this.#stepVecs * this.#units
    }>, ${this.#tile.buffers}>;`;
  }

  #eachTask(body: (round: number) => string): string {
    const worker = this.name === "a" ? "thread" : `(${this.#threads - 1}u - thread)`;
    return repeat(this.#rounds, (i) => {
      const left = this.rows * this.#stepVecs - i * this.#threads;
      const names = `let task = ${worker} + ${i * this.#threads}u; let vec = task % ${this.#stepVecs}u;
      let row = task / ${this.#stepVecs}u;`;
      return `{ ${names} ${
        left >= this.#threads ? body(i) : `if (task < ${this.rows * this.#stepVecs}u) { ${body(i)} }`
      } }`;
    });
  }

  /** Where each of a thread's vecs begins, and the registers they travel in. */
  get preparation(): string {
    const stride = this.name === "a" ? "COLUMN_VECS" : "WEIGHT_VECS";
    return `${repeat(this.#rounds, (i) => `var ${this.name}from${i} = 0u;`)}
  ${this.#eachTask((i) => `${this.name}from${i} = (${this.#row("row")}) * ${stride} + vec;`)}
  ${repeat(this.#rounds, (i) => declareVec(this.#type, `${this.name}${i}`))}`;
  }

  /** Loads the vecs of the step at `at`; zeros behind `end` unless every step is whole. */
  fetch(whole: boolean): string {
    return this.#eachTask((i) => {
      const name = `${this.name}${i}`, from = `${this.name}from${i}`;
      const place = { buffer: this.#buffer, row: `${from} - vec`, vec: "(at + vec)", index: `${from} + at` };
      const load = loadVec(this.#type, name, place, "");
      return whole ? load : `if (at + vec < end) { ${load} } else { ${clearVec(this.#type, name)} }`;
    });
  }

  /** Puts the loaded vecs into workgroup memory. */
  commit(): string {
    return this.#eachTask((i) => {
      const name = `${this.name}${i}`;
      const spread = swizzle(this.#tile, this.#across);
      const place = (unit: number) =>
        `s${this.name}[buffer][vec * ${this.#units}u + ${unit}u][row / ${this.#across}u][(row % ${this.#across}u) ^ ${
          spread("vec")
        }]`;
      const [low, high] = vecHalves(this.#type, name);
      return this.#half
        ? `${place(0)} = mat2x4<f16>(vec4<f16>(${low}), vec4<f16>(${high}));`
        : `${place(0)} = ${low}; ${place(1)} = ${high};`;
    });
  }

  /** Reads the thread's units of vec `vec` into registers `a0…` or `b0…`. */
  read(vec: string, unit: number): string {
    const thread = this.name === "a" ? "ty" : "tx";
    const spread = swizzle(this.#tile, this.#across);
    const at = `${vec} * ${this.#units}u + ${unit}u`;
    return repeat(
      this.perThread,
      (i) => `let ${this.name}${i} = s${this.name}[buffer][${at}][${i}u][${thread} ^ ${spread(vec)}];`,
    );
  }
}

/** How far an vec's rows are displaced: eight neighbouring lanes store to eight different banks of 16 bytes. */
function swizzle(tile: GemmTile, across: number): (vec: string) => string {
  const stepVecs = tile.step / 8;
  const shift = Math.max(0, 3 - Math.log2(stepVecs));
  const mask = Math.min(stepVecs, across >> shift) - 1;
  return (vec) => mask <= 0 ? "0u" : `((${vec} & ${mask}u) << ${shift}u)`;
}

// One operand of a tiled product: how its tile travels from memory through registers to workgroup memory and back.
//
// The tile lies there as [octet of the sum][row], 16 bytes each, so that octets of a row are stored as they come and
// rows side by side are read by lanes side by side; the row is xor-ed with the octet, so that neither collides in a
// bank.

import type { DType } from "../../formats/mod.ts";
import { type GemmTile, threadCount } from "./gemm_tile.ts";
import { loadOctet, loadWeight, octetHalves, octets, octetVariables, repeat } from "./finish.ts";

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

  /** One operand of a tile. */
  constructor(
    name: "a" | "b",
    buffer: string,
    type: DType,
    tile: GemmTile,
    row: (local: string) => string,
  ) {
    this.name = name;
    this.#buffer = buffer;
    this.#type = type;
    this.#half = tile.arithmetic === "f16";
    this.#tile = tile;
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

  /** Where each of a thread's octets begins, and the registers they travel in. */
  get preparation(): string {
    const stride = this.name === "a" ? "COLUMN_OCTETS" : "WEIGHT_OCTETS";
    return `${repeat(this.#rounds, (i) => `var ${this.name}from${i} = 0u;`)}
  ${this.#eachTask((i) => `${this.name}from${i} = (${this.#row("row")}) * ${stride} + octet;`)}
  ${
      repeat(this.#rounds, (i) =>
        octetVariables(this.#type, `${this.name}${i}`).map(([name, type]) =>
          `var ${name} = ${type}();`
        ).join(" "))
    }`;
  }

  /** Loads the octets of the step at `at`; zeros behind `end` unless every step is whole. */
  fetch(whole: boolean): string {
    return this.#eachTask((i) => {
      const name = `${this.name}${i}`, from = `${this.name}from${i}`;
      const load = this.#type === "q8"
        ? loadWeight("q8", this.#buffer, name, `${from} - octet`, "(at + octet)", "")
        : loadOctet(this.#type, this.#buffer, name, `${from} + at`, "");
      const zeros = octetVariables(this.#type, name).map(([v, type]) => `${v} = ${type}();`).join(" ");
      return whole ? load : `if (at + octet < end) { ${load} } else { ${zeros} }`;
    });
  }

  /** Puts the loaded octets into workgroup memory. */
  commit(): string {
    return this.#eachTask((i) => {
      const name = `${this.name}${i}`;
      const spread = swizzle(this.#tile, this.#across);
      const place = (unit: number) =>
        `s${this.name}[buffer][octet * ${this.#units}u + ${unit}u][row / ${this.#across}u][(row % ${this.#across}u) ^ ${
          spread("octet")
        }]`;
      const [low, high] = octetHalves(this.#type, name);
      return this.#half
        ? `${place(0)} = mat2x4<f16>(vec4<f16>(${low}), vec4<f16>(${high}));`
        : `${place(0)} = ${low}; ${place(1)} = ${high};`;
    });
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

/** How far an octet's rows are displaced: eight neighbouring lanes store to eight different banks of 16 bytes. */
function swizzle(tile: GemmTile, across: number): (octet: string) => string {
  const stepOctets = tile.step / 8;
  const shift = Math.max(0, 3 - Math.log2(stepOctets));
  const mask = Math.min(stepOctets, across >> shift) - 1;
  return (octet) => mask <= 0 ? "0u" : `((${octet} & ${mask}u) << ${shift}u)`;
}

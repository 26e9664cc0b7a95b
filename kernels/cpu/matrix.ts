// Weight matrices in panels of 32 rows, and the vectors and tables beside them.
//
// Panel p of a plain matrix has rows 32 p … 32 p + 31. A paired matrix (gate over up) has in panel p gate rows
// 16 p … 16 p + 15, then the up rows of the same numbers, so that SiLU·mul finds both among one panel's sums.
// Rows that do not exist are zeros. What a panel looks like is its format's matter, in `assembly/formats/`.

import type { Matrix, MatrixSpec, RopeTable, Vector } from "../ops.ts";
import { type DType, rowBytes } from "../formats/mod.ts";
import { type Bank, Constant } from "./bank.ts";
import { formatNumber } from "./formats.ts";

const panelRows = 32;

/** Rows that `writeRows` copies into the memory at a time, in bytes. */
const stagingBytes = 1 << 18;

/** A weight matrix, or a stack of experts, in panels. */
export class CpuMatrix implements Matrix {
  /** Panels of one expert. */
  readonly panels: number;
  /** Number of its format. */
  readonly format: number;
  readonly #panelBytes: number;
  /** Bytes of one expert; of all for a plain matrix. */
  readonly expertBytes: number;
  /** Bytes of all experts. */
  readonly byteLength: number;
  /** Where it lies. */
  readonly bank: Bank;
  /** Of the first panel. */
  readonly address: number;

  /** `place` finds a bank with so much room; 0 bytes fit into any. */
  constructor(readonly spec: MatrixSpec, place: (bytes: number) => Bank) {
    this.format = formatNumber(spec.dtype);
    this.#panelBytes = place(0).exports.panelBytes(this.format, spec.columns);
    this.panels = Math.ceil(spec.rows / panelRows);
    if (spec.layout === "paired") this.panels = Math.ceil(spec.rows / 2 / (panelRows / 2));
    this.expertBytes = this.panels * this.#panelBytes;
    this.byteLength = this.expertBytes * (spec.experts ?? 1);
    this.bank = place(this.byteLength);
    this.address = this.bank.allocate(this.byteLength);
    this.bank.widest = Math.max(this.bank.widest, spec.columns);
  }

  /** Brings whole rows into their panels. `staging` is an address of `stagingBytes` and one row in this bank. */
  writeRows(firstRow: number, data: Uint8Array, staging: number): void {
    const { rows, columns, dtype } = this.spec;
    const bytesPerRow = rowBytes(dtype, columns), { exports, bytes } = this.bank;
    const perPiece = Math.max(1, Math.floor(stagingBytes / bytesPerRow));
    const count = data.length / bytesPerRow;
    for (let done = 0; done < count;) {
      const piece = Math.min(perPiece, count - done);
      bytes.set(data.subarray(done * bytesPerRow, (done + piece) * bytesPerRow), staging);
      for (let i = 0; i < piece;) {
        const row = firstRow + done + i;
        const { panel, lane, run } = this.#place(row % rows), some = Math.min(run, piece - i);
        const at = this.address + Math.floor(row / rows) * this.expertBytes + panel * this.#panelBytes;
        exports.writeRows(this.format, at, lane, some, staging + i * bytesPerRow, bytesPerRow, columns);
        i += some;
      }
      done += piece;
    }
  }

  /** Panel and place in it of an expert's row, and how many rows from it on are neighbours there. */
  #place(row: number): { panel: number; lane: number; run: number } {
    const { rows, layout } = this.spec;
    if (layout !== "paired") {
      return { panel: row >> 5, lane: row & 31, run: Math.min(32 - (row & 31), rows - row) };
    }
    const half = rows / 2, up = row >= half, i = up ? row - half : row;
    return { panel: i >> 4, lane: (i & 15) + (up ? 16 : 0), run: Math.min(16 - (i & 15), half - i) };
  }

  /** A bias in the order of the panels, expert after expert. */
  arrangeBias(values: Float32Array): Float32Array {
    const { rows, experts = 1 } = this.spec;
    const arranged = new Float32Array(experts * this.panels * panelRows);
    // Behind the last row there may be zeros that fill a width up.
    values.subarray(0, experts * rows).forEach((value, row) => {
      const { panel, lane } = this.#place(row % rows);
      arranged[(Math.floor(row / rows) * this.panels + panel) * panelRows + lane] = value;
    });
    return arranged;
  }
}

/** Bytes that `writeRows` needs for staging. */
export const stagingRoom = (columns: number, dtype: DType): number => stagingBytes + rowBytes(dtype, columns);

/** A vector, as it is or arranged like the rows of a matrix. */
export class CpuVector extends Constant implements Vector {
  readonly #arranged = new Map<string, Constant>();

  get length(): number {
    return this.values.length;
  }

  /** Its address as the bias of a matrix. */
  biasOf(matrix: CpuMatrix): number {
    const key = `${matrix.spec.layout ?? "plain"} ${matrix.spec.rows}`;
    let arranged = this.#arranged.get(key);
    if (arranged === undefined) {
      this.#arranged.set(key, arranged = new Constant(matrix.arrangeBias(this.values)));
    }
    return arranged.in(matrix.bank);
  }
}

/** Tables of rotary angles. */
export class CpuRopeTable implements RopeTable {
  /** [positions, half] */
  readonly cosine: Constant;
  /** [positions, half] */
  readonly sine: Constant;
  readonly positions: number;

  /** Copies the tables. */
  constructor(cosine: Float32Array, sine: Float32Array, readonly half: number) {
    this.cosine = new Constant(cosine.slice());
    this.sine = new Constant(sine.slice());
    this.positions = cosine.length / half;
  }
}

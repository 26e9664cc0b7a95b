// Weight matrices in panels of 32 rows, and the vectors and tables beside them.
//
// Panel p of a plain matrix has rows 32 p … 32 p + 31. A paired matrix (gate over up) has in panel p gate rows
// 16 p … 16 p + 15, then the up rows of the same numbers, so that SiLU·mul finds both among one panel's sums.
// Rows that do not exist are zeros. The dtype stays as stored; bfloat16 and float16 are unpacked in registers
// (one shift and mask, or shift, mask and multiplication), which no wider form in memory would beat. Eight-bit
// panels are blocks of 32 columns, each with its rows' scales in front.

import type { DType } from "../formats/mod.ts";
import type { Matrix, MatrixSpec, RopeTable, Vector } from "../ops.ts";
import { rowBytes } from "../formats/mod.ts";
import { q8Block } from "../formats/q8.ts";
import { type Bank, Constant } from "./bank.ts";

const panelRows = 32;

/** Numbers of the dtypes in the kernels. */
export const dtypeCode: Readonly<Record<DType, number>> = { bf16: 0, f16: 1, f32: 2, q8: 3 };

/** Bytes of a panel. */
function panelBytes(dtype: DType, columns: number): number {
  if (dtype !== "q8") return panelRows * rowBytes(dtype, columns);
  return panelRows * (columns + 2 * Math.ceil(columns / q8Block));
}

/** Rows that `writeRows` copies into the memory at a time, in bytes. */
const stagingBytes = 1 << 18;

/** A weight matrix, or a stack of experts, in panels. */
export class CpuMatrix implements Matrix {
  /** Panels of one expert. */
  readonly panels: number;
  /** Bytes of one expert; of all for a plain matrix. */
  readonly expertBytes: number;
  /** Bytes of all experts. */
  readonly byteLength: number;
  /** Where it lies. */
  readonly bank: Bank;
  /** Of the first panel. */
  readonly address: number;

  /** `place` finds a bank with so much room. */
  constructor(readonly spec: MatrixSpec, place: (bytes: number) => Bank) {
    this.panels = Math.ceil(spec.rows / panelRows);
    if (spec.layout === "paired") this.panels = Math.ceil(spec.rows / 2 / (panelRows / 2));
    this.expertBytes = this.panels * panelBytes(spec.dtype, spec.columns);
    this.byteLength = this.expertBytes * (spec.experts ?? 1);
    this.bank = place(this.byteLength);
    this.address = this.bank.allocate(this.byteLength);
    this.bank.widest = Math.max(this.bank.widest, spec.columns);
  }

  /** Brings whole rows into their panels. `staging` is an address of `stagingBytes` and one row in this bank. */
  writeRows(firstRow: number, data: Uint8Array, staging: number): void {
    const { rows, columns, dtype } = this.spec;
    const bytesPerRow = rowBytes(dtype, columns), size = dtype === "f32" ? 4 : 2;
    const { exports, bytes } = this.bank;
    const perPiece = Math.max(1, Math.floor(stagingBytes / bytesPerRow));
    const count = data.length / bytesPerRow;
    for (let done = 0; done < count;) {
      const piece = Math.min(perPiece, count - done);
      bytes.set(data.subarray(done * bytesPerRow, (done + piece) * bytesPerRow), staging);
      for (let i = 0; i < piece;) {
        const row = firstRow + done + i;
        const { panel, lane, run } = this.#place(row % rows);
        const at = this.address + Math.floor(row / rows) * this.expertBytes +
          panel * panelBytes(dtype, columns);
        const from = staging + i * bytesPerRow;
        if (dtype === "q8") {
          exports.packRowQ8(at, lane, from, columns);
          i++;
        } else if (size === 2 && lane % 8 === 0 && run >= 8 && piece - i >= 8) {
          exports.packRows8(at, lane, from, columns);
          i += 8;
        } else {
          exports.packRow(at, lane, from, columns, size);
          i++;
        }
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

  /** A bias in the order of the panels. */
  arrangeBias(values: Float32Array): Float32Array {
    const arranged = new Float32Array(this.panels * panelRows);
    values.forEach((value, row) => {
      const { panel, lane } = this.#place(row);
      arranged[panel * panelRows + lane] = value;
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

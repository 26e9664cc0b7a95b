// Random weights for timing a shape without its checkpoint: small values from a seeded generator, norms 1.
//
// One block of random numbers is made and every matrix takes its rows from somewhere in it, so that a model of
// tens of gigabytes is ready as fast as the device takes the bytes. Where a matrix begins depends on its name
// alone, so ranks agree on what they replicate (the router).

import { type DType, formats } from "../../kernels/formats/mod.ts";
import { type Matrix } from "../../kernels/ops.ts";
import type { MatrixPlan, VectorPlan } from "./plan.ts";
import type { WeightSource, WriteRows } from "./source.ts";

/** Elements in the block: prime, so that successive rows do not repeat. */
const blockElements = 2_097_143;
/** About the spread that initialisations use; keeps activations of any depth finite. */
const amplitude = 0.03;

/** Source of dummy weights of one type, in rows of one length where the type has blocks. */
class DummyWeights {
  readonly #rowBytes: number;
  /** Whole rows of a quantized type; of other types numbers, from any of which a row may begin. */
  readonly #block: Uint8Array;
  readonly #step: number;

  constructor(dtype: DType, columns: number) {
    const { quantized, encode, rowBytes } = formats[dtype];
    const values = quantized
      ? randomValues(Math.ceil(blockElements / columns) * columns)
      : randomValues(blockElements);
    this.#rowBytes = rowBytes(columns);
    this.#block = encode(values, quantized ? columns : values.length);
    this.#step = quantized ? this.#rowBytes : rowBytes(1);
  }

  /** Calls `write` with whole rows, a few megabytes at a time, until the matrix is full. */
  fill({ spec }: MatrixPlan, write: (firstRow: number, data: Uint8Array) => void): void {
    const rows = spec.rows * (spec.experts ?? 1);
    const rowsInBlock = Math.max(1, Math.floor(this.#block.length / this.#rowBytes) - 1);
    let start = hash(spec.name) % (this.#block.length / this.#step) * this.#step;
    for (let row = 0; row < rows;) {
      const bytes = Math.min(rowsInBlock, rows - row) * this.#rowBytes;
      write(row, this.#take(start, bytes));
      start = (start + bytes) % this.#block.length;
      row += bytes / this.#rowBytes;
    }
  }

  /** `bytes` bytes of the endlessly repeated block. */
  #take(start: number, bytes: number): Uint8Array {
    if (start + bytes <= this.#block.length) return this.#block.subarray(start, start + bytes);
    const data = new Uint8Array(bytes);
    for (let at = 0, from = start; at < bytes; from = 0) {
      const part = this.#block.subarray(from, from + bytes - at);
      data.set(part, at);
      at += part.length;
    }
    return data;
  }
}

/** Numbers of xorshift32 (Marsaglia 2003), always the same. */
function randomValues(count: number): Float32Array {
  const values = new Float32Array(count);
  let state = 0x9e3779b9;
  for (let i = 0; i < count; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    values[i] = (state / 0x80000000) * amplitude;
  }
  return values;
}

/** Fills every matrix of a plan with dummy weights. */
export class DummySource implements WeightSource {
  /** Writes all matrices, with numbers small enough that sums stay finite; vectors keep what they hold. */
  async fill(
    matrices: ReadonlyMap<MatrixPlan, Matrix>,
    _vectors: ReadonlyMap<VectorPlan, Float32Array>,
    write: WriteRows,
    onProgress: (done: number, total: number) => void,
  ): Promise<void> {
    const weights = new Map<string, DummyWeights>();
    let done = 0;
    for (const [plan, matrix] of matrices) {
      const { dtype, columns } = plan.spec;
      const key = `${dtype} ${columns}`;
      const dummy = weights.get(key) ?? new DummyWeights(dtype, columns);
      weights.set(key, dummy);
      dummy.fill(plan, (row, data) => write(matrix, row, data));
      onProgress(++done, matrices.size);
    }
  }
}

/** A norm of ones, or a bias of zeros. */
export function dummyVector(plan: VectorPlan): Float32Array {
  const length = plan.pieces.reduce((sum, { width }) => sum + width, 0);
  return new Float32Array(length).fill(plan.neutral);
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return value;
}

// Random weights for timing a shape without its checkpoint: small values from a seeded generator, norms 1.
//
// One block of random numbers is made and every matrix takes its rows from somewhere in it, so that a model of
// tens of gigabytes is ready as fast as the device takes the bytes. Where a matrix begins depends on its name
// alone, so ranks agree on what they replicate (the router).

import { type DType, type Matrix, q8Block, rowBytes } from "../../kernels/ops.ts";
import type { MatrixPlan, VectorPlan } from "./plan.ts";
import type { WeightSource, WriteRows } from "./source.ts";
import { fromFloat32 } from "./convert.ts";

/** Elements in the block: prime, so that successive rows do not repeat. */
const blockElements = 2_097_143;
/** About the spread that initialisations use; keeps activations of any depth finite. */
const amplitude = 0.03;

/** Source of dummy weights of one type. */
class DummyWeights {
  readonly #block: Uint8Array;
  readonly #bytes: number;

  constructor(dtype: DType) {
    const values = new Float32Array(blockElements);
    let state = 0x9e3779b9;
    for (let i = 0; i < values.length; i++) {
      // xorshift32 (Marsaglia 2003)
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      values[i] = (state / 0x80000000) * amplitude;
    }
    this.#block = dtype === "q8"
      ? new Uint8Array(Int8Array.from(values, (value) => value / amplitude * 127).buffer)
      : fromFloat32(values, dtype, blockElements);
    this.#bytes = this.#block.length / blockElements;
  }

  /** Calls `write` with whole rows, a few megabytes at a time, until the matrix is full. */
  fill({ spec }: MatrixPlan, write: (firstRow: number, data: Uint8Array) => void): void {
    const rows = spec.rows * (spec.experts ?? 1);
    const bytesPerRow = rowBytes(spec.dtype, spec.columns);
    const rowsInBlock = Math.max(1, Math.floor(this.#block.length / bytesPerRow) - 1);
    let position = hash(spec.name) % blockElements;
    for (let row = 0; row < rows;) {
      const count = Math.min(rowsInBlock, rows - row);
      const elements = this.#take(position * this.#bytes, count * spec.columns * this.#bytes);
      write(row, spec.dtype === "q8" ? withScales(elements, spec.columns) : elements);
      position = (position + count * spec.columns) % blockElements;
      row += count;
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

/** Rows of q8 from their numbers, with scales that make them as large as other types' weights. */
function withScales(numbers: Uint8Array, columns: number): Uint8Array {
  const stride = rowBytes("q8", columns), rows = numbers.length / columns;
  const out = new Uint8Array(rows * stride), words = new Uint16Array(out.buffer);
  const scale = new Uint16Array(Float16Array.of(amplitude / 127).buffer)[0]!;
  for (let row = 0; row < rows; row++) {
    out.set(numbers.subarray(row * columns, (row + 1) * columns), row * stride);
    const first = (row * stride + columns) / 2;
    words.fill(scale, first, first + Math.ceil(columns / q8Block));
  }
  return out;
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
    // The matrices of a model are of one type, or of two where the router keeps its own.
    const weights = new Map<DType, DummyWeights>();
    let done = 0;
    for (const [plan, matrix] of matrices) {
      const { dtype } = plan.spec;
      const dummy = weights.get(dtype) ?? new DummyWeights(dtype);
      weights.set(dtype, dummy);
      dummy.fill(plan, (row, data) => write(matrix, row, data));
      onProgress(++done, matrices.size);
    }
  }
}

/** A norm of ones, or a bias of zeros. */
export function dummyVector(plan: VectorPlan): Float32Array {
  const length = plan.pieces.reduce((sum, { range }) => sum + range.end - range.start, 0);
  return new Float32Array(length).fill(plan.neutral);
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return value;
}

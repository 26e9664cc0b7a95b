// Weights on the device: matrices that may be larger than a binding, vectors, rotary tables.
//
// A matrix above the binding limit (128 MiB on Mesa's software driver) is split by rows into parts, each a buffer
// of its own. A part of a "paired" matrix holds matching gate and up rows, gate rows first, so that a kernel finds
// both; stacked experts are split between experts.

import { rowBytes } from "../../formats/mod.ts";
import { type Matrix, type MatrixSpec, type RopeTable, type Vector } from "../../ops.ts";
import type { BufferAllocator, DeviceBuffer } from "../device/buffers.ts";
import { DeviceError } from "../device/device.ts";

/** Rows of a matrix in one buffer. */
export interface MatrixPart {
  /** Where the rows stand. */
  readonly buffer: DeviceBuffer;
  /** First output feature (first expert, when there are several) and how many of them. */
  readonly first: number;
  /** How many output features (or experts). */
  readonly count: number;
  /** Rows in the buffer: twice `count` for a paired matrix. */
  readonly rows: number;
}

/** Consecutive rows of the matrix that are consecutive in a part. */
interface Segment {
  readonly firstRow: number;
  readonly rows: number;
  readonly part: MatrixPart;
  readonly rowInPart: number;
}

/** Split points are multiples of this, so that no kernel meets an odd edge in the middle of a matrix. */
const splitRows = 64;

/** A matrix in one or more buffers. */
export class DeviceMatrix implements Matrix {
  readonly spec: MatrixSpec;
  /** From top to bottom. */
  readonly parts: readonly MatrixPart[];
  readonly #segments: readonly Segment[];

  /**
   * Allocates all parts; at most `maxBytes` in one.
   * @throws {DeviceError} if not even one expert, or `splitRows` rows, fit a binding.
   */
  constructor(spec: MatrixSpec, allocator: BufferAllocator, maxBytes: number) {
    this.spec = spec;
    const { name, rows, columns, dtype, experts, layout } = spec;
    const bytesPerRow = rowBytes(dtype, columns);
    // A unit is what is never torn apart: an expert, a pair of rows, or a row.
    const unitRows = experts !== undefined ? rows : layout === "paired" ? 2 : 1;
    const units = rows * (experts ?? 1) / unitRows;
    let perPart = Math.floor(maxBytes / (unitRows * bytesPerRow));
    if (perPart < units && experts === undefined) perPart -= perPart % splitRows;
    if (perPart < 1) {
      throw new DeviceError(`${name}: a binding of ${maxBytes} bytes is too small for its rows`);
    }
    const parts: MatrixPart[] = [];
    for (let first = 0; first < units; first += perPart) {
      const count = Math.min(perPart, units - first);
      const partRows = count * unitRows;
      const buffer = allocator.create(`${name}[${first}]`, partRows * bytesPerRow);
      parts.push({ buffer, first, count, rows: partRows });
    }
    this.parts = parts;
    this.#segments = experts === undefined && layout === "paired"
      ? [...halves(parts, 0, 0), ...halves(parts, rows / 2, 1)]
      : parts.map((part) => ({ firstRow: part.first * unitRows, rows: part.rows, part, rowInPart: 0 }));
  }

  /** Calls `write` for each run of bytes that goes to one place; `data` begins at row `firstRow`. */
  scatter(
    firstRow: number,
    data: Uint8Array,
    write: (buffer: DeviceBuffer, offset: number, bytes: Uint8Array) => void,
  ): void {
    const bytesPerRow = rowBytes(this.spec.dtype, this.spec.columns);
    const endRow = firstRow + data.byteLength / bytesPerRow;
    for (const segment of this.#segments) {
      const from = Math.max(firstRow, segment.firstRow);
      const to = Math.min(endRow, segment.firstRow + segment.rows);
      if (from >= to) continue;
      const offset = (segment.rowInPart + from - segment.firstRow) * bytesPerRow;
      const bytes = data.subarray((from - firstRow) * bytesPerRow, (to - firstRow) * bytesPerRow);
      write(segment.part.buffer, offset, bytes);
    }
  }
}

/** The gate (0) or up (1) rows of every part, as rows of the whole matrix from `start` on. */
function halves(parts: readonly MatrixPart[], start: number, half: 0 | 1): Segment[] {
  return parts.map((part) => ({
    firstRow: start + part.first,
    rows: part.count,
    part,
    rowInPart: half * part.count,
  }));
}

/** A float32 vector; the values are kept so that the bias of a split matrix can be cut to its parts. */
export class DeviceVector implements Vector {
  /** All of the vector. */
  readonly buffer: DeviceBuffer;
  readonly #values: Float32Array;
  readonly #cuts = new Map<string, DeviceBuffer>();
  readonly #make: (values: Float32Array) => DeviceBuffer;

  /** Copies the values; `make` uploads. */
  constructor(values: Float32Array, make: (values: Float32Array) => DeviceBuffer) {
    this.#values = values.slice();
    this.#make = make;
    this.buffer = make(this.#values);
  }

  get length(): number {
    return this.#values.length;
  }

  /** The elements that belong to a part of a matrix, in the order of its rows. */
  cut(matrix: DeviceMatrix, part: MatrixPart): DeviceBuffer {
    if (matrix.parts.length === 1) return this.buffer;
    const key = `${part.first}+${part.rows}`;
    const known = this.#cuts.get(key);
    if (known) return known;
    const pick = (first: number) => this.#values.subarray(first, first + part.count);
    const paired = matrix.spec.layout === "paired";
    const values = paired
      ? [...pick(part.first), ...pick(matrix.spec.rows / 2 + part.first)]
      : pick(part.first);
    const buffer = this.#make(Float32Array.from(values));
    this.#cuts.set(key, buffer);
    return buffer;
  }
}

/** Cosine and sine of each (position, pair), in one buffer each. */
export class DeviceRope implements RopeTable {
  /** [positions, half] in both buffers. */
  constructor(
    readonly positions: number,
    readonly half: number,
    readonly cosine: DeviceBuffer,
    readonly sine: DeviceBuffer,
  ) {}
}

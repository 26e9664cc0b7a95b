// Weights from a checkpoint's files: checks that every tensor of a plan is there, then streams whole rows through
// conversion to whoever holds the matrices. No file is held in memory.
//
// A rank's share of columns is cut from whole rows: pieces of a few kilobytes would cost more system calls than the
// bytes they save, and ranks on one machine share the page cache.

import { formats } from "../../kernels/formats/mod.ts";
import type { Matrix } from "../../kernels/ops.ts";
import { ModelError } from "../model/json.ts";
import type { Model } from "../model/model.ts";
import { type BlockScales, convert, expandFp8, storedTypes } from "./convert.ts";
import { pickedRows } from "./picked_rows.ts";
import { type DecoderPlan, type MatrixPiece, type MatrixPlan, planParts, type VectorPlan } from "./plan.ts";
import { packedParts, type PackedScales, packedTypes, type Packing, unpackRows } from "./packed.ts";
import { readAhead, type ReadJob } from "./read_ahead.ts";
import type { TensorInfo } from "./safetensors.ts";
import type { WeightSource, WriteRows } from "./source.ts";
import type { TensorIndex } from "./tensor_index.ts";

/** Bytes per read: large enough for full speed, small enough that the bytes are still in the processor's cache. */
const chunkBytes = 2 << 20;

/** A checkpoint, for one plan. */
export class FileSource implements WeightSource {
  readonly #tensors: TensorIndex;
  readonly #directory: string;
  /** Of fp8 tensors, by the tensor's name. */
  readonly #scales = new Map<string, BlockScales>();
  /** Zeros and scales of packed matrices, by the matrix's name. */
  readonly #packed = new Map<string, Partial<PackedScales>>();
  readonly #packing: Packing | null;

  private constructor(model: Model, tensors: TensorIndex) {
    this.#tensors = tensors;
    this.#directory = model.directory;
    this.#packing = model.packing ?? null;
  }

  /** Checks that every tensor of the plan is there, with the right shape and a type that can be loaded. */
  static async open(model: Model, tensors: TensorIndex, plan: DecoderPlan): Promise<FileSource> {
    const source = new FileSource(model, tensors);
    const { matrices, vectors } = planParts(plan);
    const jobs: ReadJob[] = [];
    for (const { pieces } of matrices) {
      for (const { tensor, shape } of pieces) {
        const info = source.#tensor(tensor, shape);
        if (info.dtype === "F8_E4M3") jobs.push(source.#scaleJob(info, model.fp8Block));
        if (source.#isPacked(info)) jobs.push(...source.#packedJobs(info));
      }
    }
    for (const { pieces } of vectors) {
      for (const { tensor, length } of pieces) source.#tensor(tensor, [length]);
    }
    await readAhead(jobs);
    return source;
  }

  /** Streams all matrices' rows from the files, converted, and fills the vectors. */
  async fill(
    matrices: ReadonlyMap<MatrixPlan, Matrix>,
    vectors: ReadonlyMap<VectorPlan, Float32Array>,
    write: WriteRows,
    onProgress: (done: number, total: number) => void,
  ): Promise<void> {
    const jobs: ReadJob[] = [];
    for (const [plan, matrix] of matrices) {
      let row = 0;
      for (const piece of plan.pieces) {
        const first = row;
        jobs.push(...this.#rowJobs(plan, piece, (offset, data) => write(matrix, first + offset, data)));
        const stored = piece.rows.end - piece.rows.start;
        if (piece.height > stored) write(matrix, first + stored, zeroRows(plan, piece.height - stored));
        row += piece.height;
      }
    }
    for (const [plan, values] of vectors) jobs.push(...this.#vectorJobs(plan, values));
    // In the order of the files, so that disks read forwards.
    jobs.sort((a, b) => a.file < b.file ? -1 : a.file > b.file ? 1 : a.offset - b.offset);
    const total = jobs.reduce((sum, { bytes }) => sum + bytes, 0);
    let done = 0;
    await readAhead(withProgress(jobs, (bytes) => onProgress(done += bytes, total)));
  }

  /** Jobs that write a piece's rows, a few megabytes at a time; `write` counts rows from the piece's first. */
  *#rowJobs(
    plan: MatrixPlan,
    piece: MatrixPiece,
    write: (offset: number, data: Uint8Array) => void,
  ): Generator<ReadJob> {
    const info = this.#tensors.get(piece.tensor)!;
    const { file, offset, dtype, bytes, rowOrder } = info;
    const stored = storedTypes.get(dtype)!;
    const { rows, columns, width: padded, shape: [storedRows, storedColumns] } = piece;
    if (this.#isPacked(info)) {
      // Whole: a row's numbers lie in all of it.
      const use = (data: Uint8Array) => write(0, this.#unpacked(plan, piece, data));
      return yield { file, offset, bytes, use };
    }
    // Of the rows as they are when they have been picked out.
    const rowBytes = info.every === undefined
      ? bytes / storedRows
      : storedColumns / stored.blockElements * stored.blockBytes;
    const width = columns.end - columns.start;
    // Rows in another order are put back a head at a time.
    const together = rowOrder?.length ?? 1;
    const step = info.every === undefined
      ? Math.max(1, Math.floor(chunkBytes / (rowBytes * together))) * together
      // All at once: an expert's matrix is small enough for it.
      : rows.end - rows.start;
    for (let row = rows.start; row < rows.end; row += step) {
      const count = Math.min(step, rows.end - row);
      yield {
        file,
        ...info.every === undefined
          ? { offset: offset + row * rowBytes, bytes: count * rowBytes }
          : { offset, bytes, beside: info.exponents },
        use: (read, beside) => {
          const dense = info.every === undefined ? read : pickedRows(info, piece.rows, read, beside);
          const whole = rowOrder === undefined ? dense : ordered(dense, rowBytes, rowOrder);
          const target = plan.spec.dtype, scales = this.#scales.get(piece.tensor);
          const { blockElements, blockBytes } = stored;
          if (!scales && (padded !== width || (columns.start | width) % blockElements !== 0)) {
            // Zeros follow, or a share cuts through blocks.
            const { buffer, byteOffset, byteLength } = stored.decode(whole);
            const values = new Uint8Array(buffer, byteOffset, byteLength);
            const cut = cutColumns(values, 4 * storedColumns, 4 * columns.start, 4 * width, 4 * padded);
            return write(row - rows.start, convert(cut, "F32", target, padded));
          }
          const bytesOf = (elements: number) => elements / blockElements * blockBytes;
          const data = width === storedColumns
            ? whole
            : cutColumns(whole, rowBytes, bytesOf(columns.start), bytesOf(width), bytesOf(width));
          if (!scales) return write(row - rows.start, convert(data, dtype, target, width));
          const numbers = expandFp8(data, width, row, columns.start, scales);
          const wide = padded === width ? numbers : widened(numbers, width, padded);
          write(row - rows.start, formats[target].encode(wide, padded));
        },
      };
    }
  }

  *#vectorJobs(plan: VectorPlan, target: Float32Array): Generator<ReadJob> {
    let at = 0;
    for (const { tensor, length, range, width } of plan.pieces) {
      const info = this.#tensors.get(tensor)!, { file, offset, dtype, bytes, rowOrder, plus } = info;
      const { decode } = storedTypes.get(dtype)!, start = at;
      at += width;
      if (info.every !== undefined) {
        const { first, step } = info.every;
        const use = (data: Uint8Array) => {
          const all = decode(data);
          for (let i = range.start; i < range.end; i++) {
            target[start + i - range.start] = all[first + i * step]!;
          }
        };
        yield { file, offset, bytes, use };
        continue;
      }
      const elementBytes = bytes / length;
      yield {
        file,
        offset: offset + range.start * elementBytes,
        bytes: (range.end - range.start) * elementBytes,
        use: (data) => {
          const values = decode(rowOrder === undefined ? data : ordered(data, elementBytes, rowOrder));
          target.set(plus === undefined ? values : values.map((value) => value + plus), start);
        },
      };
    }
  }

  #isPacked({ dtype }: TensorInfo): boolean {
    return this.#packing !== null && (dtype === packedTypes.symmetric || dtype === packedTypes.varying);
  }

  /** Reads a packed matrix's zeros and scales, which its rows need before its numbers come. */
  #packedJobs({ name }: TensorInfo): ReadJob[] {
    const { zeros, scales } = packedParts(name, this.#tensors);
    const parts: { -readonly [Part in keyof PackedScales]?: PackedScales[Part] } = {};
    this.#packed.set(name, parts);
    return [
      { ...zeros, use: (data) => void (parts.zeros = new Uint32Array(data.slice().buffer)) },
      { ...scales, use: (data) => void (parts.scales = new Uint16Array(data.slice().buffer)) },
    ];
  }

  #unpacked({ spec: { dtype } }: MatrixPlan, piece: MatrixPiece, data: Uint8Array): Uint8Array {
    const { zeros, scales } = this.#packed.get(piece.tensor)!;
    const numbers = new Uint32Array(data.buffer, data.byteOffset, data.length / 4);
    return unpackRows(piece, numbers, { zeros: zeros!, scales: scales! }, this.#packing!, dtype);
  }

  /** Reads the scales of an fp8 matrix: `weight_scale_inv` by blocks (DeepSeek's and Qwen's way), or `weight_scale`. */
  #scaleJob(info: TensorInfo, [blockRows, blockColumns]: readonly [number, number]): ReadJob {
    const [rows, columns] = info.shape as readonly [number, number];
    const blocks = [Math.ceil(rows / blockRows), Math.ceil(columns / blockColumns)] as const;
    const name = [`${info.name}_scale_inv`, `${info.name}_scale`].find((name) => this.#tensors.has(name));
    if (name === undefined) throw new ModelError(`${info.file}: fp8 tensor ${info.name} has no scales`);
    const scale = this.#tensors.get(name)!;
    const { dtype, shape, bytes, file, offset } = scale;
    const layout = shape.join() === blocks.join()
      ? { blockRows, blockColumns, stride: blocks[1] }
      : shape.every((n) => n === 1)
      ? { blockRows: rows, blockColumns: columns, stride: 1 }
      : shape[0] === rows && shape.slice(1).every((n) => n === 1)
      ? { blockRows: 1, blockColumns: columns, stride: 1 }
      : null;
    if (layout === null) {
      throw new ModelError(
        `${file}: tensor ${name} has shape [${shape}]; expected [], [${rows}, 1] or [${blocks}]`,
      );
    }
    const stored = storedTypes.get(dtype);
    if (stored === undefined || dtype === "F8_E4M3") {
      throw new ModelError(`${file}: tensor ${name} has type ${dtype}; expected F32, BF16 or F16`);
    }
    return {
      file,
      offset,
      bytes,
      use: (data) => this.#scales.set(info.name, { ...layout, values: stored.decode(data).slice() }),
    };
  }

  #tensor(name: string, shape: readonly number[]): TensorInfo {
    const info = this.#tensors.get(name);
    if (!info) throw new ModelError(`${this.#directory}: the weights lack tensor ${name}`);
    if (info.shape.join() !== shape.join()) {
      throw new ModelError(
        `${info.file}: tensor ${name} has shape [${info.shape}], but config.json makes it [${shape}]`,
      );
    }
    if (!storedTypes.has(info.dtype) || (info.dtype === "F8_E4M3" && shape.length !== 2)) {
      throw new ModelError(`${info.file}: tensor ${name} has type ${info.dtype}, which cannot be loaded`);
    }
    return info;
  }
}

/** Rows of every head in their own order; see `TensorInfo`. */
function ordered(data: Uint8Array, rowBytes: number, order: readonly number[]): Uint8Array {
  const out = new Uint8Array(data.length);
  for (let row = 0; row * rowBytes < data.length; row++) {
    const at = row % order.length, to = row - at + order[at]!;
    out.set(data.subarray(row * rowBytes, (row + 1) * rowBytes), to * rowBytes);
  }
  return out;
}

/** Columns [start, start + width) of rows, with zeros behind them up to `padded`; all in bytes. */
function cutColumns(
  data: Uint8Array,
  rowBytes: number,
  start: number,
  width: number,
  padded: number,
): Uint8Array {
  const rows = data.length / rowBytes;
  const cut = new Uint8Array(rows * padded);
  for (let r = 0; r < rows; r++) {
    cut.set(data.subarray(r * rowBytes + start, r * rowBytes + start + width), r * padded);
  }
  return cut;
}

/** Rows of numbers with zeros behind them. */
function widened(numbers: Float32Array, width: number, padded: number): Float32Array {
  const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  return new Float32Array(cutColumns(bytes, 4 * width, 0, 4 * width, 4 * padded).buffer);
}

/** Rows of nothing. */
function zeroRows({ spec }: MatrixPlan, rows: number): Uint8Array {
  return formats[spec.dtype].encode(new Float32Array(rows * spec.columns), spec.columns);
}

function* withProgress(jobs: readonly ReadJob[], onBytes: (bytes: number) => void): Generator<ReadJob> {
  for (const job of jobs) {
    yield {
      ...job,
      use: (data, beside) => {
        job.use(data, beside);
        onBytes(job.bytes);
      },
    };
  }
}

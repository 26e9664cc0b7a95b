// Weights from a checkpoint's files: checks that every tensor of a plan is there, then streams whole rows through
// conversion to whoever holds the matrices. No file is held in memory.
//
// A rank's share of columns is cut from whole rows: pieces of a few kilobytes would cost more system calls than the
// bytes they save, and ranks on one machine share the page cache.

import { formats } from "../../kernels/formats/mod.ts";
import type { Matrix } from "../../kernels/ops.ts";
import { ModelError } from "../model/json.ts";
import type { Model } from "../model/open.ts";
import { type BlockScales, convert, expandFp8, isStoredType, toFloat32 } from "./convert.ts";
import { type DecoderPlan, type MatrixPiece, type MatrixPlan, planParts, type VectorPlan } from "./plan.ts";
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

  private constructor(model: Model, tensors: TensorIndex) {
    this.#tensors = tensors;
    this.#directory = model.directory;
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
        row += piece.rows.end - piece.rows.start;
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
    const { file, offset, dtype, bytes } = this.#tensors.get(piece.tensor)!;
    if (!isStoredType(dtype)) return;
    const [storedRows, storedColumns] = piece.shape;
    const { rows, columns } = piece;
    const rowBytes = bytes / storedRows;
    const elementBytes = rowBytes / storedColumns;
    const width = columns.end - columns.start;
    const step = Math.max(1, Math.floor(chunkBytes / rowBytes));
    for (let row = rows.start; row < rows.end; row += step) {
      const count = Math.min(step, rows.end - row);
      yield {
        file,
        offset: offset + row * rowBytes,
        bytes: count * rowBytes,
        use: (whole) => {
          const data = width === storedColumns
            ? whole
            : cutColumns(whole, rowBytes, columns.start * elementBytes, width * elementBytes);
          const scales = this.#scales.get(piece.tensor);
          write(
            row - rows.start,
            scales
              ? formats[plan.spec.dtype].encode(expandFp8(data, width, row, columns.start, scales), width)
              : convert(data, dtype, plan.spec.dtype, width),
          );
        },
      };
    }
  }

  *#vectorJobs(plan: VectorPlan, target: Float32Array): Generator<ReadJob> {
    let at = 0;
    for (const { tensor, length, range } of plan.pieces) {
      const { file, offset, dtype, bytes } = this.#tensors.get(tensor)!;
      if (!isStoredType(dtype)) return;
      const elementBytes = bytes / length;
      const start = at;
      yield {
        file,
        offset: offset + range.start * elementBytes,
        bytes: (range.end - range.start) * elementBytes,
        use: (data) => target.set(toFloat32(data, dtype), start),
      };
      at += range.end - range.start;
    }
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
    if (!isStoredType(dtype) || dtype === "F8_E4M3") {
      throw new ModelError(`${file}: tensor ${name} has type ${dtype}; expected F32, BF16 or F16`);
    }
    return {
      file,
      offset,
      bytes,
      use: (data) => this.#scales.set(info.name, { ...layout, values: toFloat32(data, dtype).slice() }),
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
    if (!isStoredType(info.dtype) || (info.dtype === "F8_E4M3" && shape.length !== 2)) {
      throw new ModelError(`${info.file}: tensor ${name} has type ${info.dtype}, which cannot be loaded`);
    }
    return info;
  }
}

/** Columns [start, start + width) of rows, in bytes. */
function cutColumns(data: Uint8Array, rowBytes: number, start: number, width: number): Uint8Array {
  const rows = data.length / rowBytes;
  const cut = new Uint8Array(rows * width);
  for (let r = 0; r < rows; r++) {
    cut.set(data.subarray(r * rowBytes + start, r * rowBytes + start + width), r * width);
  }
  return cut;
}

function* withProgress(jobs: readonly ReadJob[], onBytes: (bytes: number) => void): Generator<ReadJob> {
  for (const job of jobs) {
    yield {
      ...job,
      use: (data) => {
        job.use(data);
        onBytes(job.bytes);
      },
    };
  }
}

// Model folders for tests: safetensors files written by hand, and a backend that keeps what it is given.

import type { WeightBackend } from "../../../engine/model/load.ts";
import { dtypes, rowBytes } from "../../../kernels/formats/mod.ts";
import { type Matrix, type MatrixSpec, type Vector } from "../../../kernels/ops.ts";

/** A tensor to write. */
export interface TestTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** Bytes of a safetensors file. */
export function safetensors(tensors: Readonly<Record<string, TestTensor>>): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.length] };
    offset += data.length;
  }
  return withHeader(JSON.stringify(header), offset, Object.values(tensors).map(({ data }) => data));
}

/** A file with any header text, true or not, and so many bytes of data. */
export function withHeader(header: string, dataBytes: number, parts: readonly Uint8Array[] = []): Uint8Array {
  const text = new TextEncoder().encode(header);
  const file = new Uint8Array(8 + text.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  let at = 8 + text.length;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}

export function float32(values: readonly number[], shape: readonly number[]): TestTensor {
  return { dtype: "F32", shape, data: new Uint8Array(Float32Array.from(values).buffer) };
}

/** A folder with these files, removed at the end of its scope. */
export async function temporaryFolder(
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.makeTempDir({ prefix: "radish-test-" });
  for (const [name, content] of Object.entries(files)) {
    if (typeof content === "string") await Deno.writeTextFile(`${path}/${name}`, content);
    else await Deno.writeFile(`${path}/${name}`, content);
  }
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

export class RecordedMatrix implements Matrix {
  readonly data: Uint8Array;
  /** How often each row has been written. */
  readonly writes: Uint8Array;
  constructor(readonly spec: MatrixSpec) {
    const rows = spec.rows * (spec.experts ?? 1);
    this.data = new Uint8Array(rows * this.rowBytes);
    this.writes = new Uint8Array(rows);
  }
  get rowBytes(): number {
    return rowBytes(this.spec.dtype, this.spec.columns);
  }
}

export class RecordedVector implements Vector {
  constructor(readonly values: Float32Array) {}
  get length(): number {
    return this.values.length;
  }
}

export class RecordingBackend implements WeightBackend {
  bytes = 0;
  readonly dtypes = dtypes;
  readonly matrices: RecordedMatrix[] = [];

  createMatrix(spec: MatrixSpec): RecordedMatrix {
    const matrix = new RecordedMatrix(spec);
    this.matrices.push(matrix);
    this.bytes += matrix.data.length;
    return matrix;
  }
  writeRows(matrix: RecordedMatrix, firstRow: number, data: Uint8Array): void {
    matrix.data.set(data, firstRow * matrix.rowBytes);
    for (let row = 0; row < data.length / matrix.rowBytes; row++) matrix.writes[firstRow + row]!++;
  }
  createVector(values: Float32Array): RecordedVector {
    this.bytes += values.byteLength;
    return new RecordedVector(values.slice());
  }
}

/** Bytes of a matrix, with a check that every row was written once. */
export function bytesOf(matrix: Matrix): Uint8Array {
  const recorded = matrix as RecordedMatrix;
  if (recorded.writes.some((count) => count !== 1)) {
    throw new Error(`${matrix.spec.name}: rows written ${recorded.writes}`);
  }
  return recorded.data;
}

export function valuesOf(vector: Vector | null): number[] | null {
  return vector && [...(vector as RecordedVector).values];
}

// The header of a GGUF file (github.com/ggml-org/ggml/blob/master/docs/gguf.md): metadata and a table of tensors.
//
// Layout, little-endian: "GGUF", version, number of tensors, number of metadata entries; entries (key, type, value);
// tensor entries (name, dimensions innermost first, type, offset); padding to the alignment; data. The file is
// untrusted: every count and length is checked against the bytes that are left before memory is taken for it.

import { ModelError, shown } from "../../model/json.ts";
import { openForReading, type TensorInfo } from "../safetensors.ts";
import { ByteReader } from "./byte_reader.ts";
import { ggmlTypes } from "./types.ts";

/** A metadata value. 64-bit integers become numbers, which are exact up to 2⁵³; larger ones are refused. */
export type GgufValue = number | boolean | string | readonly GgufValue[] | Float32Array | Int32Array;

/** What a file says before its data. */
export interface GgufHeader {
  /** By key. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** In the order of the file, under GGUF's names. Shapes are outermost dimension first. */
  readonly tensors: readonly TensorInfo[];
}

const most = {
  tensors: 1 << 17,
  entries: 1 << 16,
  dimensions: 4,
  nesting: 2,
  nameBytes: 1 << 10,
  headerBytes: 1 << 28,
};

/** Numbers of the metadata's value types. */
const ValueType = {
  U8: 0,
  I8: 1,
  U16: 2,
  I16: 3,
  U32: 4,
  I32: 5,
  F32: 6,
  Bool: 7,
  String: 8,
  Array: 9,
  U64: 10,
  I64: 11,
  F64: 12,
} as const;

/** Fewest bytes that a value of each type takes. */
const leastBytes = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8];

/**
 * Reads and checks the header of one file.
 * @throws ModelError naming the file and what is wrong, in one line
 */
export async function readGgufHeader(path: string): Promise<GgufHeader> {
  using file = await openForReading(path);
  const { size } = await file.stat();
  const reader = new ByteReader(file, path, size, most.headerBytes);
  if (await reader.text(4) !== "GGUF") throw new ModelError(`${path}: not a GGUF file`);
  const version = await reader.u32();
  if (version !== 2 && version !== 3) {
    const why = version === 0x2000000 || version === 0x3000000 ? " (big-endian files are not supported)" : "";
    throw new ModelError(`${path}: GGUF version ${version} is not supported; versions 2 and 3 are${why}`);
  }
  const tensorCount = await reader.count("tensors", most.tensors, 24);
  const entryCount = await reader.count("metadata entries", most.entries, 13);
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < entryCount; i++) {
    const key = await reader.string(most.nameBytes);
    if (metadata.has(key)) throw new ModelError(`${path}: metadata ${shown(key)} stands there twice`);
    metadata.set(key, await readValue(reader, await reader.u32(), key, 0));
  }
  const alignment = metadata.get("general.alignment") ?? 32;
  if (
    typeof alignment !== "number" || alignment < 8 || alignment > 1 << 20 ||
    (alignment & (alignment - 1)) !== 0
  ) {
    throw new ModelError(
      `${path}: general.alignment is ${shown(alignment)}; it must be a power of two from 8`,
    );
  }
  const entries: Entry[] = [];
  for (let i = 0; i < tensorCount; i++) entries.push(await readTensor(reader, path));
  const dataStart = Math.ceil(reader.position / alignment) * alignment;
  return { metadata, tensors: placed(entries, dataStart, alignment, size, path) };
}

async function readValue(reader: ByteReader, type: number, key: string, depth: number): Promise<GgufValue> {
  switch (type) {
    case ValueType.U8:
      return await reader.u8();
    case ValueType.I8:
      return (await reader.view(1)).getInt8(0);
    case ValueType.U16:
      return (await reader.view(2)).getUint16(0, true);
    case ValueType.I16:
      return (await reader.view(2)).getInt16(0, true);
    case ValueType.U32:
      return await reader.u32();
    case ValueType.I32:
      return (await reader.view(4)).getInt32(0, true);
    case ValueType.F32:
      return (await reader.view(4)).getFloat32(0, true);
    case ValueType.F64:
      return (await reader.view(8)).getFloat64(0, true);
    case ValueType.Bool: {
      const value = await reader.u8();
      if (value > 1) throw reader.error(`metadata ${shown(key)} is neither true nor false`);
      return value === 1;
    }
    case ValueType.String:
      return await reader.string(Infinity);
    case ValueType.U64:
      return exact(await reader.u64(), key, reader);
    case ValueType.I64:
      return exact((await reader.view(8)).getBigInt64(0, true), key, reader);
    case ValueType.Array:
      return await readArray(reader, key, depth);
    default:
      throw reader.error(`metadata ${shown(key)} has the unknown type ${type}`);
  }
}

async function readArray(reader: ByteReader, key: string, depth: number): Promise<GgufValue> {
  if (depth >= most.nesting) throw reader.error(`metadata ${shown(key)} is nested too deeply`);
  const type = await reader.u32();
  const least = leastBytes[type];
  if (least === undefined) {
    throw reader.error(`metadata ${shown(key)} is an array of the unknown type ${type}`);
  }
  const length = await reader.count(`elements of ${shown(key)}`, Infinity, least);
  // The two kinds that vocabularies have hundreds of thousands of.
  if (type === ValueType.F32) return new Float32Array(await reader.bytes(4 * length));
  if (type === ValueType.I32) return new Int32Array(await reader.bytes(4 * length));
  const values: GgufValue[] = [];
  for (let i = 0; i < length; i++) values.push(await readValue(reader, type, key, depth + 1));
  return values;
}

function exact(value: bigint, key: string, reader: ByteReader): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw reader.error(`metadata ${shown(key)} is too large: ${value}`);
  return number;
}

/** A tensor as the table describes it; the offset counts from the beginning of the data. */
interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: number;
}

async function readTensor(reader: ByteReader, path: string): Promise<Entry> {
  const name = await reader.string(most.nameBytes);
  const where = `${path}: tensor ${shown(name)}`;
  const dimensions = await reader.u32();
  if (dimensions > most.dimensions) throw new ModelError(`${where} has ${dimensions} dimensions`);
  const innermostFirst: number[] = [];
  for (let d = 0; d < dimensions; d++) {
    const length = Number(await reader.u64());
    if (!Number.isSafeInteger(length) || length < 1) {
      throw new ModelError(`${where} has a dimension of ${length}`);
    }
    innermostFirst.push(length);
  }
  const typeNumber = await reader.u32();
  const offset = Number(await reader.u64());
  const type = ggmlTypes.get(typeNumber);
  if (type === undefined) throw new ModelError(`${where} has the unknown type ${typeNumber}`);
  const elements = innermostFirst.reduce((product, n) => product * n, 1);
  const columns = innermostFirst[0] ?? 1;
  if (columns % type.blockElements !== 0) {
    throw new ModelError(
      `${where} has rows of ${columns} elements, which blocks of ${type.blockElements} (${type.name}) do not divide`,
    );
  }
  const bytes = elements / type.blockElements * type.blockBytes;
  if (!Number.isSafeInteger(bytes) || !Number.isSafeInteger(offset)) {
    throw new ModelError(`${where} of shape ${shown(innermostFirst)} is too large`);
  }
  return { name, dtype: type.name, shape: innermostFirst.toReversed(), offset, bytes };
}

/** Where the tensors lie in the file: aligned, inside it, and none over another. */
function placed(
  entries: readonly Entry[],
  dataStart: number,
  alignment: number,
  fileSize: number,
  path: string,
): TensorInfo[] {
  const names = new Set<string>();
  let end = 0;
  for (const { name, offset, bytes } of entries.toSorted((a, b) => a.offset - b.offset)) {
    const where = `${path}: tensor ${shown(name)}`;
    if (names.has(name)) throw new ModelError(`${where} stands there twice`);
    names.add(name);
    if (offset % alignment !== 0) {
      throw new ModelError(`${where} begins at ${offset}, not a multiple of ${alignment}`);
    }
    if (offset < end) throw new ModelError(`${where} overlaps another one`);
    end = offset + bytes;
    if (dataStart + end > fileSize) {
      throw new ModelError(
        `${where} ends at byte ${dataStart + end}, but the file has ${fileSize} (truncated?)`,
      );
    }
  }
  return entries.map(({ name, dtype, shape, offset, bytes }) => ({
    name,
    dtype,
    shape,
    file: path,
    offset: dataStart + offset,
    bytes,
  }));
}

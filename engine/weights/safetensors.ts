// The header of a safetensors file: an untrusted JSON table of names, types, shapes and offsets.
//
// Layout (github.com/huggingface/safetensors): 8 bytes length of the header, little-endian; the header; the data,
// where the tensors lie one behind the other without gap or overlap, up to the end of the file. Everything the
// header says is checked against the file's real size before anyone may take memory for it.

import { ModelError, shown } from "../model/json.ts";

/** Bits per element of the types that files are made of; only some can be loaded. */
const elementBytes: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  F8_E8M0: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
};

/** Where one tensor lies. */
export interface TensorInfo {
  /** The tensor's name. */
  readonly name: string;
  /** As the file spells it, for example "BF16". */
  readonly dtype: string;
  /** Outermost dimension first; empty for a scalar. */
  readonly shape: readonly number[];
  /** Path of its file. */
  readonly file: string;
  /** From the beginning of the file. */
  readonly offset: number;
  /** Its length. */
  readonly bytes: number;
  /** Where the rows of each head belong, if they stand in another order: row i of a head at place rowOrder[i]. */
  readonly rowOrder?: readonly number[];
  /** Of all rows that are stored at `offset` every `step`-th from `first` on; all are [columns, rows] if transposed. */
  readonly every?: { readonly first: number; readonly step: number; readonly transposed?: boolean };
  /** Of MXFP4 in safetensors: where the exponents of all blocks are, which GGUF has in front of each. */
  readonly exponents?: { readonly file: string; readonly offset: number; readonly bytes: number };
  /** Added to every number: 1 for norm weights that are stored as w − 1. */
  readonly plus?: number;
}

const mostHeaderBytes = 64 << 20;
const mostTensors = 1 << 20;
const mostDimensions = 8;

/**
 * Reads and checks the header of one file.
 * @throws ModelError naming the file and what is wrong
 */
export async function readSafetensorsHeader(path: string): Promise<TensorInfo[]> {
  using file = await openForReading(path);
  const { size } = await file.stat();
  if (size < 8) throw new ModelError(`${path}: ${size} bytes are too few for a safetensors file`);
  const prefix = await readExactly(file, 8, path);
  const headerBytes = new DataView(prefix.buffer).getBigUint64(0, true);
  if (headerBytes > BigInt(size - 8)) {
    throw new ModelError(
      `${path}: the header claims ${headerBytes} bytes, but the file has ${size} (truncated?)`,
    );
  }
  if (headerBytes > mostHeaderBytes) {
    throw new ModelError(
      `${path}: a header of ${headerBytes} bytes is more than the ${mostHeaderBytes} allowed`,
    );
  }
  const header = await readExactly(file, Number(headerBytes), path);
  return parseSafetensorsHeader(header, size, path);
}

/** Checks a header (without its length field) against the size of the whole file. */
export function parseSafetensorsHeader(header: Uint8Array, fileSize: number, path: string): TensorInfo[] {
  let table: unknown;
  try {
    table = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(header));
  } catch {
    throw new ModelError(`${path}: the safetensors header is not valid JSON`);
  }
  if (typeof table !== "object" || table === null || Array.isArray(table)) {
    throw new ModelError(`${path}: the safetensors header is not a JSON object`);
  }
  const names = Object.keys(table).filter((name) => name !== "__metadata__");
  if (names.length > mostTensors) throw new ModelError(`${path}: ${names.length} tensors are too many`);
  const dataStart = 8 + header.byteLength;
  const entries = table as Record<string, unknown>;
  const tensors = names.map((name) => parseEntry(name, entries[name], dataStart, path));
  checkCoverage(tensors, dataStart, fileSize, path);
  return tensors;
}

function parseEntry(name: string, entry: unknown, dataStart: number, path: string): TensorInfo {
  const where = `${path}: tensor ${shown(name)}`;
  if (typeof entry !== "object" || entry === null) {
    throw new ModelError(`${where} is not described by an object`);
  }
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  if (typeof dtype !== "string" || !Object.hasOwn(elementBytes, dtype)) {
    throw new ModelError(`${where} has an unknown type ${shown(dtype)}`);
  }
  if (!isCountList(shape) || shape.length > mostDimensions) {
    throw new ModelError(`${where} has an invalid shape ${shown(shape)}`);
  }
  if (!isCountList(offsets) || offsets.length !== 2) {
    throw new ModelError(`${where} has invalid offsets ${shown(offsets)}`);
  }
  const [begin, end] = offsets as readonly [number, number];
  // Sizes multiply beyond exact integers in hostile files; a product that is not exact cannot match the offsets.
  const bytes = shape.reduce((product, n) => product * n, elementBytes[dtype]!);
  if (end - begin !== bytes || !Number.isSafeInteger(bytes)) {
    throw new ModelError(
      `${where} of type ${dtype} and shape ${shown(shape)} takes ${bytes} bytes, but its offsets are ${
        shown(offsets)
      }`,
    );
  }
  return { name, dtype, shape, file: path, offset: dataStart + begin, bytes };
}

/** Tensors must fill the data part exactly. */
function checkCoverage(
  tensors: readonly TensorInfo[],
  dataStart: number,
  fileSize: number,
  path: string,
): void {
  let at = dataStart;
  const ordered = tensors.toSorted((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  for (const { name, offset, bytes } of ordered) {
    if (offset < at) throw new ModelError(`${path}: tensor ${shown(name)} overlaps another one`);
    if (offset > at) {
      throw new ModelError(`${path}: ${offset - at} unused bytes before tensor ${shown(name)}`);
    }
    at = offset + bytes;
  }
  if (at > fileSize) {
    throw new ModelError(`${path}: its tensors need ${at} bytes, but the file has ${fileSize} (truncated?)`);
  }
  if (at < fileSize) throw new ModelError(`${path}: ${fileSize - at} bytes follow after the last tensor`);
}

function isCountList(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

/** Opens a file, or says in one line why not. */
export async function openForReading(path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path, { read: true });
  } catch (cause) {
    throw new ModelError(`${path}: ${reason(cause)}`, { cause });
  }
}

function reason(cause: unknown): string {
  if (cause instanceof Deno.errors.NotFound) return "no such file";
  if (cause instanceof Deno.errors.PermissionDenied) return "no permission to read it";
  return cause instanceof Error ? cause.message : String(cause);
}

async function readExactly(
  file: Deno.FsFile,
  length: number,
  path: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const data = new Uint8Array(length);
  await fill(file, data, path);
  return data;
}

/** Reads from the file's position until `target` is full; an early end of the file is an error. */
export async function fill(file: Deno.FsFile, target: Uint8Array, path: string): Promise<void> {
  for (let at = 0; at < target.length;) {
    const count = await file.read(target.subarray(at));
    if (count === null) throw new ModelError(`${path}: the file ended while it was read`);
    at += count;
  }
}

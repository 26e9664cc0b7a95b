// What lives on the device: scratch that grows on demand, pages and tables, weights, activations.

import type { KvFormats } from "../kv_format.ts";
import type { Activation, ActivationKind, Matrix, MatrixSpec, RopeTable, StateSpec, Vector } from "../ops.ts";
import { matrixBytes } from "../ops.ts";
import type { CudaDevice, DeviceBuffer } from "./device.ts";
import { CudaError } from "./errors.ts";

/** Types of elements; the kernels' numbers of them. */
export const ElementType = { f32: 0, bf16: 1, f16: 2, q8: 3, q4_0: 4, q4_1: 5, q4_k: 6, q6_k: 7 } as const;

/** Formats of weights that there are kernels for; the loader makes q8 of others. */
export type WeightType = keyof typeof ElementType;

/** The same as a list. */
export const weightTypes = Object.keys(ElementType) as WeightType[];

/** What an activation can hold. */
export type ActivationType = "f32" | "bf16" | "f16";

/** Bytes of an activation's element. */
export const elementBytes = (type: ActivationType): number => type === "f32" ? 4 : 2;

/** Products may read whole tiles of rows: activations have room for them. */
const rowTile = 128;

/** Rows that an array of at most `tokens` rows is given. */
export const paddedRows = (tokens: number): number => Math.ceil(tokens / rowTile) * rowTile;

/** A matrix in one piece. */
export class CudaMatrix implements Matrix {
  /** Rows of `rowBytes`, of all experts one after the other. */
  readonly buffer: DeviceBuffer;
  /** How they are stored. */
  readonly type: WeightType;

  /** Allocates it. */
  constructor(readonly spec: MatrixSpec, device: CudaDevice) {
    const type = weightTypes.find((type) => type === spec.dtype);
    if (type === undefined) {
      throw new CudaError(`${spec.name}: there are no kernels for ${spec.dtype} on CUDA`);
    }
    this.type = type;
    this.buffer = device.alloc(matrixBytes(spec), spec.name);
  }
}

/** A float32 vector. */
export class CudaVector implements Vector {
  /** Of `length` floats. */
  constructor(readonly length: number, readonly buffer: DeviceBuffer) {}
}

/** Cosine and sine of each (position, pair). */
export class CudaRope implements RopeTable {
  /** [positions, half] in both. */
  constructor(
    readonly positions: number,
    readonly half: number,
    readonly cosine: DeviceBuffer,
    readonly sine: DeviceBuffer,
  ) {}
}

/** Room for [tokens, width] numbers. */
export class CudaActivation implements Activation {
  /** Of `width` elements per token. */
  constructor(readonly width: number, readonly type: ActivationType, readonly buffer: DeviceBuffer) {}
}

/** What scratch is for. */
export type ScratchRole =
  | "writes"
  | "plan"
  | "wide"
  | "prepared"
  | "converted"
  | "expanded"
  | "partials"
  | "counters"
  | "query"
  | "attentionCounters"
  | "partial"
  | "sampled"
  | "hidden"
  | "logits"
  | "localLogits"
  | "kept"
  | "rawLogits"
  | "limits"
  | "candidates"
  | "ownCandidates"
  | "counts"
  | "chunkStats"
  | "results"
  | "routing"
  | "routes"
  | "routingCounters"
  | "expertOrder"
  | "expertTiles"
  | "otherTiles"
  | "expertGated"
  | "ungated"
  | "expertResults";

/** Buffers that steps share, grown to what is asked of them. */
export class Scratch {
  readonly #device: CudaDevice;
  readonly #buffers = new Map<ScratchRole, DeviceBuffer>();
  #generation = 0;

  /** Nothing is allocated yet. */
  constructor(device: CudaDevice) {
    this.#device = device;
  }

  /** Counts replacements: graphs captured in an older generation may use memory that is gone. */
  get generation(): number {
    return this.#generation;
  }

  /** At least `bytes` of a role, zeroed when new; what was in a smaller buffer is lost. */
  get(role: ScratchRole, bytes: number): DeviceBuffer {
    const known = this.#buffers.get(role);
    if (known && known.bytes >= bytes) return known;
    if (known) {
      this.#device.synchronize(`growing ${role}`);
      this.#device.free(known);
      this.#generation++;
    }
    // Large ones are sized by fixed limits of the engine, so rounding them up would only waste memory.
    const size = bytes < 2 ** 24 ? 2 ** Math.ceil(Math.log2(Math.max(bytes, 256))) : bytes;
    const buffer = this.#device.alloc(size, `scratch (${role})`);
    this.#device.fill(buffer.address, 0, buffer.bytes / 4);
    this.#buffers.set(role, buffer);
    return buffer;
  }
}

/** Two halves, and a float, that are NaN. */
const nanHalves = 0x7e007e00, nanFloat = 0x7fc00000;

/** Keys, values and the tables that lead to them. */
export class CudaState {
  /** Entries of a row of the page table. */
  readonly pagesPerRow: number;
  /** log2 of the page size. */
  readonly pageShift: number;
  /** [maxRows + 1, contextLength] */
  readonly tokenPool: DeviceBuffer;
  /** [maxRows + 1, pagesPerRow] */
  readonly pageTable: DeviceBuffer;
  /** Per layer, [page][kvHead][slot][headDim]: f16, or bytes as attention/cache.cuh has them. */
  readonly keys: readonly DeviceBuffer[];
  /** Per layer. */
  readonly values: readonly DeviceBuffer[];
  /** Per layer, [page][kvHead][slot] pairs of floats, of the key and of the value; none where numbers are f16. */
  readonly scales: readonly DeviceBuffer[];
  readonly #device: CudaDevice;

  /** Allocates everything. */
  constructor(readonly spec: StateSpec, device: CudaDevice) {
    const { numLayers, numPages, pageSize, maxRows, contextLength } = spec;
    this.#device = device;
    this.pagesPerRow = Math.ceil(contextLength / pageSize);
    this.pageShift = Math.log2(pageSize);
    const rows = maxRows + 1;
    this.tokenPool = device.alloc(4 * rows * contextLength, "the token pool");
    device.fill(this.tokenPool.address, 0, rows * contextLength);
    this.pageTable = device.alloc(4 * rows * this.pagesPerRow, "the page table");
    device.fill(this.pageTable.address, numPages, rows * this.pagesPerRow);
    const { numbers, scales } = pageBytes(spec);
    const make = (what: string, pageBytes: number) => {
      const bytes = (numPages + 1) * pageBytes;
      const buffer = device.alloc(bytes, `${what} of a layer (${numPages} pages)`);
      device.fill(buffer.address, 0, buffer.bytes / 4);
      return buffer;
    };
    this.keys = Array.from({ length: numLayers }, () => make("keys", numbers));
    this.values = Array.from({ length: numLayers }, () => make("values", numbers));
    this.scales = Array.from({ length: scales > 0 ? numLayers : 0 }, () => make("scales", scales));
  }

  /** Whether numbers have eight bits, and scales. */
  get int8(): boolean {
    return this.scales.length > 0;
  }

  /** Fills pages with NaN: a scale that is NaN makes NaN of all that it applies to. */
  poison(pages: Uint32Array): void {
    const { numbers, scales } = pageBytes(this.spec), { int8 } = this;
    const bytes = int8 ? scales : numbers, nan = int8 ? nanFloat : nanHalves;
    for (const page of pages) {
      for (const { address } of int8 ? this.scales : [...this.keys, ...this.values]) {
        this.#device.fill(address + BigInt(page * bytes), nan, bytes / 4);
      }
    }
  }
}

/** The formats that the kernels know. */
export const kvFormats = {
  auto: { numberBytes: 2, scaleBytes: 0 },
  int8: { numberBytes: 1, scaleBytes: 4 },
} as const satisfies KvFormats;

/** Bytes of a page: the numbers of its keys (or of its values), and its scales of both. */
function pageBytes({ heads: { numKvHeads, headDim }, pageSize, kvDType = "auto" }: StateSpec) {
  const { numberBytes, scaleBytes } = kvFormats[kvDType], slots = pageSize * numKvHeads;
  return { numbers: slots * headDim * numberBytes, scales: 2 * slots * scaleBytes };
}

/** What an activation of a kind holds, where products run on the matrix units in `type`. */
export function activationType(kind: ActivationKind, type: ActivationType): ActivationType {
  return kind === "residual" ? "f32" : type;
}

/** Numbers as bf16 or f16, rounded to nearest. */
export function halves(values: Float32Array, type: "bf16" | "f16"): Uint16Array | Float16Array {
  if (type === "f16") return new Float16Array(values);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(bits, (word) => word + 0x7fff + (word >>> 16 & 1) >>> 16);
}

/** What the device keeps as one of its types, as numbers. */
export function singles(data: ArrayBuffer, type: ActivationType): Float32Array {
  switch (type) {
    case "f32":
      return new Float32Array(data);
    case "f16":
      return new Float32Array(new Float16Array(data));
    case "bf16":
      return new Float32Array(Uint32Array.from(new Uint16Array(data), (half) => half << 16).buffer);
  }
}

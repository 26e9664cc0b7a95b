// What outlives a step on the device: pages, page table, token pool; and the buffers that steps share.
//
// Shared buffers (scratch, logits, results) grow on demand. A recorded step may still refer to the old buffer, so
// that one is kept until the step has been read.

import type { StateSpec } from "../../ops.ts";
import { type CacheLayout, cacheLayout, pageBytes } from "../attention/cache.ts";
import type { BufferAllocator, DeviceBuffer } from "../device/buffers.ts";
import type { PipelineCache } from "../device/pipelines.ts";
import { powerOfTwo } from "../shader/wgsl.ts";

/** Buffers that steps share, by what is in them: of the products, of attention, of sampling, of experts. */
export type SharedRole =
  | ("preparedA" | "preparedB" | "rowScales" | "parts")
  | "partials"
  | (
    | "sampled"
    | "hidden"
    | "logits"
    | "rawLogits"
    | "localLogits"
    | "kept"
    | "limits"
    | "candidates"
    | "counts"
    | "chunkStats"
  )
  | "results"
  | ("normed" | "routing" | "routes" | "expertOrder" | "expertTiles" | "expertGated" | "expertResults");

/** Buffers grown to what is asked of them. */
export class SharedBuffers {
  readonly #allocator: BufferAllocator;
  readonly #pipelines: PipelineCache;
  readonly #buffers = new Map<SharedRole, DeviceBuffer>();
  #retired: { buffer: DeviceBuffer; serial: number }[] = [];
  #generation = 0;

  /** Nothing is allocated yet. */
  constructor(allocator: BufferAllocator, pipelines: PipelineCache) {
    this.#allocator = allocator;
    this.#pipelines = pipelines;
  }

  /** Counts growths: bind groups made in an older generation may hold a retired buffer. */
  get generation(): number {
    return this.#generation;
  }

  /** At least `bytes` of a role; what was in a smaller buffer is lost. `serial` is the step being recorded. */
  get(role: SharedRole, bytes: number, serial: number): DeviceBuffer {
    const known = this.#buffers.get(role);
    if (known && known.bytes >= bytes) return known;
    if (known) {
      this.#retired.push({ buffer: known, serial });
      this.#generation++;
    }
    // Large ones are sized by fixed limits of the engine, so rounding them up would only waste memory.
    const buffer = this.#allocator.create(role, bytes < 2 ** 24 ? powerOfTwo(bytes) : bytes);
    this.#buffers.set(role, buffer);
    return buffer;
  }

  /** Frees what only steps up to `serial`, which is done, could use. */
  release(serial: number): void {
    if (this.#retired.length === 0) return;
    for (const { buffer } of this.#retired.filter((r) => r.serial <= serial)) {
      this.#pipelines.forget(buffer);
      this.#allocator.release(buffer);
    }
    this.#retired = this.#retired.filter((r) => r.serial > serial);
  }
}

/** Keys, values and the tables that lead to them. */
export class DeviceState {
  /** Sizes. */
  readonly spec: StateSpec;
  /** Layout of the pages. */
  readonly cache: CacheLayout;
  /** [maxRows, contextLength] */
  readonly tokenPool: DeviceBuffer;
  /** [maxRows, pages of a row] */
  readonly pageTable: DeviceBuffer;
  /** Per layer. */
  readonly keys: readonly DeviceBuffer[];
  /** Per layer. */
  readonly values: readonly DeviceBuffer[];
  /** Per layer, where the numbers have scales. */
  readonly scales: readonly DeviceBuffer[];
  readonly #allocator: BufferAllocator;

  /**
   * Allocates everything.
   * @throws {DeviceError} if the pages of a layer do not fit a binding.
   */
  constructor(spec: StateSpec, allocator: BufferAllocator) {
    this.spec = spec;
    this.cache = cacheLayout(spec);
    this.#allocator = allocator;
    const { numLayers, numPages, maxRows, contextLength } = spec;
    const rows = maxRows + 1;
    this.tokenPool = allocator.create("token pool", 4 * rows * contextLength);
    const entries = new Uint32Array(rows * this.cache.pagesPerRow).fill(numPages);
    this.pageTable = allocator.create("page table", entries.byteLength);
    allocator.write(this.pageTable, 0, entries);
    const page = pageBytes(spec);
    const make = (what: string, bytes: number) =>
      Array.from(
        { length: bytes > 0 ? numLayers : 0 },
        (_, i) => allocator.create(`${what} of layer ${i} (${numPages} pages)`, (numPages + 1) * bytes),
      );
    this.keys = make("keys", page.numbers);
    this.values = make("values", page.numbers);
    this.scales = make("scales", page.scales);
  }

  /** Fills pages with NaN. */
  poison(pages: Uint32Array): void {
    const { numbers, scales } = pageBytes(this.spec), int8 = scales > 0;
    const nan = int8 ? new Float32Array(scales / 4).fill(NaN) : new Uint32Array(numbers / 4).fill(0x7e007e00);
    for (const page of pages) {
      for (const buffer of int8 ? this.scales : [...this.keys, ...this.values]) {
        this.#allocator.write(buffer, page * nan.byteLength, nan);
      }
    }
  }
}

// Tensor maps: what the copy engine of compute capability 9.0 (TMA) must know about a matrix. The driver encodes them;
// the same matrices come again with every step, so encoded maps are kept.

import type { Driver } from "./driver.ts";
import type { TensorMapSpec } from "./gemm/launch.ts";
import type { PinnedBuffer } from "./pinned.ts";

/** Bytes of a map, and what its address must be a multiple of. */
const mapBytes = 128, alignment = 64n;

/** The driver's numbers: of element types, of the 128-byte exchange, of fetching whole 256-byte lines. */
const elementTypes = { bf16: 9, f16: 6 } as const, exchange128 = 3, promotion256 = 3;

/** Most maps kept: prompts of ever different lengths would fill the memory otherwise. */
const mostMaps = 4096;

/** Numbers of a box's row: 128 bytes. */
const boxColumns = 64;

/** Encodes and keeps maps. */
export class TensorMaps {
  readonly #driver: Driver;
  readonly #check: (code: number, what: string) => void;
  /** Where the driver encodes. */
  readonly #room: Uint8Array<ArrayBuffer>;
  readonly #known = new Map<string, Uint8Array>();

  /** `check` throws for a code that is not 0; `room` holds 256 bytes. */
  constructor(driver: Driver, check: (code: number, what: string) => void, room: PinnedBuffer) {
    this.#driver = driver;
    this.#check = check;
    const from = Number((alignment - room.address % alignment) % alignment);
    this.#room = room.data.subarray(from, from + mapBytes);
  }

  /** The map of a matrix. */
  get({ address, rows, columns, boxRows, element }: TensorMapSpec): Uint8Array {
    const key = `${address} ${rows} ${columns} ${boxRows} ${element}`;
    const known = this.#known.get(key);
    if (known) return known;
    const code = this.#driver.cuTensorMapEncodeTiled(
      this.#room,
      elementTypes[element],
      2,
      address,
      bytes(BigUint64Array.of(BigInt(columns), BigInt(rows))),
      bytes(BigUint64Array.of(BigInt(2 * columns))),
      bytes(Uint32Array.of(boxColumns, boxRows)),
      bytes(Uint32Array.of(1, 1)),
      0,
      exchange128,
      promotion256,
      0,
    );
    this.#check(code, `cuTensorMapEncodeTiled of ${rows}×${columns}`);
    const map = this.#room.slice();
    if (this.#known.size >= mostMaps) this.#known.clear();
    this.#known.set(key, map);
    return map;
  }
}

const bytes = (array: BigUint64Array<ArrayBuffer> | Uint32Array<ArrayBuffer>) => new Uint8Array(array.buffer);

// Reads numbers and strings from the beginning of a file, a megabyte at a time, never further than the file goes.

import { ModelError, shown } from "../../model/json.ts";
import { fill } from "../safetensors.ts";

const chunkBytes = 1 << 20;

/** A cursor over a file; all numbers are little-endian. */
export class ByteReader {
  readonly #file: Deno.FsFile;
  readonly #path: string;
  readonly #size: number;
  readonly #most: number;
  /** What has been read ahead; the cursor stands at `#at` in it. */
  #chunk = new Uint8Array();
  #at = 0;
  /** Bytes of the file before the chunk. */
  #before = 0;

  /** Reads at most `most` bytes of a file of `size` bytes, from its beginning. */
  constructor(file: Deno.FsFile, path: string, size: number, most: number) {
    this.#file = file;
    this.#path = path;
    this.#size = size;
    this.#most = most;
  }

  /** Bytes read so far. */
  get position(): number {
    return this.#before + this.#at;
  }

  /** An error about this file. */
  error(message: string): ModelError {
    return new ModelError(`${this.#path}: ${message}`);
  }

  /** The next bytes, as a copy. */
  async bytes(length: number): Promise<ArrayBuffer> {
    const left = Math.min(this.#size, this.#most) - this.position;
    if (length > left) {
      throw this.error(
        this.#size <= this.#most
          ? `the header goes beyond the end of the file (truncated?)`
          : `a header of more than ${this.#most} bytes is not read`,
      );
    }
    const out = new Uint8Array(length);
    for (let done = 0; done < length;) {
      if (this.#at === this.#chunk.length) await this.#next();
      const part = this.#chunk.subarray(this.#at, this.#at + length - done);
      out.set(part, done);
      done += part.length;
      this.#at += part.length;
    }
    return out.buffer;
  }

  /** The next bytes, to take numbers from. */
  async view(length: number): Promise<DataView> {
    if (this.#at + length <= this.#chunk.length) {
      const view = new DataView(this.#chunk.buffer, this.#chunk.byteOffset + this.#at, length);
      this.#at += length;
      return view;
    }
    return new DataView(await this.bytes(length));
  }

  /** An unsigned byte. */
  async u8(): Promise<number> {
    return (await this.view(1)).getUint8(0);
  }

  /** 32 bits, unsigned. */
  async u32(): Promise<number> {
    return (await this.view(4)).getUint32(0, true);
  }

  /** 64 bits, unsigned. */
  async u64(): Promise<bigint> {
    return (await this.view(8)).getBigUint64(0, true);
  }

  /** A 64-bit count of things that take `leastBytes` each; refused where the file has no room for them. */
  async count(what: string, most: number, leastBytes: number): Promise<number> {
    const count = await this.u64();
    if (count > BigInt(Math.floor((this.#size - this.position) / leastBytes))) {
      throw this.error(`it claims ${count} ${what}, more than the file has room for (truncated?)`);
    }
    if (count > most) throw this.error(`${count} ${what} are more than the ${most} allowed`);
    return Number(count);
  }

  /** A string with its 64-bit length in front. */
  async string(most: number): Promise<string> {
    const length = await this.count("bytes of a string", Infinity, 1);
    if (length > most) throw this.error(`a name of ${length} bytes is longer than the ${most} allowed`);
    return await this.text(length);
  }

  /** UTF-8 of a known length; what is not UTF-8 is refused. */
  async text(length: number): Promise<string> {
    const view = await this.view(length);
    const bytes = new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, length);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw this.error(`a string is not UTF-8: ${shown([...bytes.subarray(0, 8)])}`);
    }
  }

  async #next(): Promise<void> {
    this.#before += this.#chunk.length;
    this.#chunk = new Uint8Array(Math.min(chunkBytes, this.#size - this.#before));
    this.#at = 0;
    await fill(this.#file, this.#chunk, this.#path);
  }
}

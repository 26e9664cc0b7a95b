// How far each segment of a download is, kept in a small file beside it so that a later call can go on.

import { readJson } from "../../engine/weights/json_file.ts";

/** How many bytes of each segment there are. */
export class Parts {
  readonly #path: string;
  readonly #size: number;
  readonly #segmentBytes: number;
  readonly #done: number[];
  #written = Promise.resolve();

  private constructor(path: string, size: number, segmentBytes: number, done: number[]) {
    this.#path = path;
    this.#size = size;
    this.#segmentBytes = segmentBytes;
    this.#done = done;
  }

  /** From the notes of an earlier download, if they fit the file. */
  static async read(path: string, size: number, segmentBytes: number): Promise<Parts> {
    const none = new Array<number>(Math.ceil(size / segmentBytes)).fill(0);
    const parts = new Parts(path, size, segmentBytes, none);
    const noted = await readJson(path, 1 << 20).catch(() => undefined) as
      | { size?: unknown; done?: unknown }
      | undefined;
    const done = noted?.done;
    if (noted?.size !== size || !Array.isArray(done) || done.length !== none.length) return parts;
    const valid = done.every((count, i) =>
      Number.isSafeInteger(count) && count >= 0 &&
      count <= parts.segment(i).bytes
    );
    return valid ? new Parts(path, size, segmentBytes, done as number[]) : parts;
  }

  /** Bytes that are there. */
  get total(): number {
    return this.#done.reduce((sum, count) => sum + count, 0);
  }

  /** Where a segment begins, its length, and how much of it is there. */
  segment(index: number): { start: number; bytes: number; done: number } {
    const start = index * this.#segmentBytes;
    return { start, bytes: Math.min(this.#segmentBytes, this.#size - start), done: this.#done[index] ?? 0 };
  }

  /** Segments that are not complete. */
  missing(): number[] {
    return this.#done.flatMap((count, i) => count < this.segment(i).bytes ? [i] : []);
  }

  /** Notes that a segment has grown. */
  async add(index: number, count: number): Promise<void> {
    this.#done[index]! += count;
    // One write at a time, so that the last one wins.
    this.#written = this.#written.then(() =>
      Deno.writeTextFile(this.#path, JSON.stringify({ size: this.#size, done: this.#done }))
    );
    await this.#written;
  }
}

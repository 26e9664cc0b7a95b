// Reads pieces of files ahead of their use: while one piece is on its way to the device, the next ones come from
// disk. A few buffers go round, so memory stays at a few pieces however large the model is.

import { fill, openForReading } from "./safetensors.ts";

/** One contiguous piece of a file. */
export interface Piece {
  /** Path. */
  readonly file: string;
  /** First byte. */
  readonly offset: number;
  /** Number of bytes. */
  readonly bytes: number;
}

/** A piece that is read, and another that is needed at the same time, if there is one. */
export interface ReadJob extends Piece {
  /** Read with it. */
  readonly beside?: Piece | undefined;
  /** Gets the bytes, 8-byte aligned, and those beside them; they are valid only during the call. */
  use(data: Uint8Array, beside: Uint8Array): void;
}

/** Reads in flight; enough to keep a fast disk or the page cache busy beside the device. */
const depth = 8;

/** Performs the jobs, calling `use` in their order. Rejects with the first error, when nothing is in flight any more. */
export async function readAhead(jobs: Iterable<ReadJob>): Promise<void> {
  const readers = Array.from({ length: depth }, () => new Reader());
  const pending: { job: ReadJob; data: Promise<[Uint8Array, Uint8Array]> }[] = [];
  const finishOldest = async () => {
    const { job, data } = pending[0]!;
    job.use(...await data);
    pending.shift();
  };
  try {
    let turn = 0;
    for (const job of jobs) {
      if (pending.length === depth) await finishOldest();
      pending.push({ job, data: readers[turn++ % depth]!.readBoth(job) });
    }
    while (pending.length > 0) await finishOldest();
  } finally {
    await Promise.allSettled(pending.map(({ data }) => data));
    for (const reader of readers) reader.close();
  }
}

const none = new Uint8Array(0);

/** A buffer and a file handle (whose position is its own), used for one read at a time. */
class Reader {
  #buffer = new Uint8Array(0);
  #path = "";
  #file: Deno.FsFile | null = null;

  async readBoth(job: ReadJob): Promise<[Uint8Array, Uint8Array]> {
    // The first read's buffer is taken again by the second.
    const beside = job.beside === undefined ? none : (await this.#read(job.beside)).slice();
    return [await this.#read(job), beside];
  }

  async #read(job: Piece): Promise<Uint8Array> {
    if (this.#file === null || this.#path !== job.file) {
      this.close();
      this.#file = await openForReading(job.file);
      this.#path = job.file;
    }
    if (this.#buffer.length < job.bytes) this.#buffer = new Uint8Array(job.bytes);
    const data = this.#buffer.subarray(0, job.bytes);
    await this.#file.seek(job.offset, Deno.SeekMode.Start);
    await fill(this.#file, data, job.file);
    return data;
  }

  close(): void {
    this.#file?.close();
    this.#file = null;
  }
}

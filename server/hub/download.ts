// Downloads one file in segments, several at a time, so that it can be taken up where it was left; and checks what
// came against the size and hash that the hub announced before it gets its name.
//
// While a download runs there are two files beside the target: `….radish` with the data, at full length, and
// `….radish.json` with how many bytes of each segment it has. A lock file keeps two processes apart.

import { createHash } from "node:crypto";
import { ModelError } from "../../engine/model/json.ts";
import { firstLine, type HubClient, PassingError } from "./client.ts";
import { Parts } from "./parts.ts";
import { refusal, type RemoteFile } from "./sources.ts";
import { sizeOf } from "./store.ts";

/** Bytes of a segment between two notes of how far it is. */
const noteBytes = 8 << 20;

/** Runs tasks, so many at a time over all files. */
export type Pool = <T>(task: () => Promise<T>) => Promise<T>;

/** At most `width` tasks at a time, in the order of the calls. */
export function createPool(width: number): Pool {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (task) => {
    if (running >= width) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };
}

/** One file's way from a hub to the disk. */
export interface Download {
  /** Whom to ask. */
  readonly client: HubClient;
  /** For messages. */
  readonly model: string;
  /** What is wanted. */
  readonly file: RemoteFile;
  /** The file's path once it is whole. */
  readonly target: string;
  /** A file to lock meanwhile. */
  readonly lock: string;
  /** Length of a segment. */
  readonly segmentBytes: number;
  /** Limits how many segments are fetched at once. */
  readonly pool: Pool;
  /** Hears first how many bytes an earlier call has left, then of more (less, when they turn out to be wrong). */
  readonly onBytes: (count: number) => void;
}

/**
 * Brings a file to its target, resuming what an earlier call has left.
 * @throws ModelError when the hub does not give the file, or gives another one
 */
export async function downloadFile(download: Download): Promise<void> {
  const { file, target, pool, onBytes } = download;
  const data = `${target}.radish`;
  const notes = `${data}.json`;
  using lock = await Deno.open(download.lock, { write: true, create: true });
  await lock.lock(true);
  if (await sizeOf(target) !== null) return onBytes(file.size); // another process was faster
  for (let round = 0;; round++) {
    const parts = await Parts.read(notes, file.size, download.segmentBytes);
    await setLength(data, file.size);
    onBytes(parts.total);
    const failures = await allOf(
      parts.missing().map((segment) => pool(() => new SegmentDownload(download, data, parts, segment).run())),
    );
    if (failures.length > 0) throw failures[0];
    const hash = await hashFile(data, file);
    if (hash === file.hash.value) break;
    onBytes(-file.size);
    await Deno.remove(notes).catch(() => {}); // an empty file has none
    if (round > 0) {
      await Deno.remove(data);
      throw new ModelError(
        `${file.name} of ${download.model} came with hash ${hash}, not ${file.hash.value}`,
      );
    }
  }
  await Deno.rename(data, target);
  await Deno.remove(notes).catch(() => {});
}

/** Makes a file of this length, keeping what is in it. */
async function setLength(path: string, length: number): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true });
  await file.truncate(length);
}

/** Waits for all, and returns what went wrong. */
async function allOf(tasks: readonly Promise<void>[]): Promise<unknown[]> {
  const results = await Promise.allSettled(tasks);
  return results.flatMap((result) => result.status === "rejected" ? [result.reason] : []);
}

/** Hash of a file's content, as the hub computes it. */
async function hashFile(path: string, file: RemoteFile): Promise<string> {
  const hash = createHash(file.hash.type === "sha256" ? "sha256" : "sha1");
  if (file.hash.type === "git-sha1") hash.update(`blob ${file.size}\0`);
  using input = await Deno.open(path);
  const buffer = new Uint8Array(4 << 20);
  for (let count; (count = await input.read(buffer)) !== null;) {
    hash.update(buffer.subarray(0, count));
  }
  return hash.digest("hex");
}

/** One segment: a range request, repeated from where it broke. */
class SegmentDownload {
  #unnoted = 0;

  constructor(
    readonly download: Download,
    readonly path: string,
    readonly parts: Parts,
    readonly index: number,
  ) {}

  async run(): Promise<void> {
    using output = await Deno.open(this.path, { write: true });
    const transfer = () => this.#transfer(output).finally(() => this.#note());
    await this.download.client.retrying(transfer, () => this.parts.segment(this.index).done);
  }

  /** Asks for what is missing and writes it until it ends. */
  async #transfer(output: Deno.FsFile): Promise<void> {
    const { client, file, onBytes } = this.download;
    const { start, bytes, done } = this.parts.segment(this.index);
    const first = start + done;
    const last = start + bytes - 1;
    client.signal?.throwIfAborted();
    const watch = new StallWatch(client.retry.stall, client.signal);
    try {
      const headers = new Headers({ range: `bytes=${first}-${last}`, "accept-encoding": "identity" });
      const response = await client.open(file.url, headers, watch.signal);
      this.#checkAnswer(response, first, last);
      await output.seek(first, Deno.SeekMode.Start);
      let missing = last + 1 - first;
      for await (const chunk of response.body ?? []) {
        watch.reset();
        if (chunk.length > missing) {
          throw new ModelError(`${file.name}: the server sends more than it was asked for`);
        }
        await writeAll(output, chunk, this.path);
        missing -= chunk.length;
        this.#unnoted += chunk.length;
        onBytes(chunk.length);
        if (this.#unnoted >= noteBytes) await this.#note();
      }
      if (missing > 0) throw new PassingError(`${file.name}: the connection ended too early`);
    } catch (error) {
      client.signal?.throwIfAborted();
      if (error instanceof ModelError || error instanceof PassingError) throw error;
      throw new PassingError(`${file.name}: the connection broke: ${firstLine(error)}`);
    } finally {
      watch.stop();
    }
  }

  #checkAnswer(response: Response, first: number, last: number): void {
    const { client, file, model } = this.download;
    const whole = first === 0 && last === file.size - 1;
    const range = `bytes ${first}-${last}/${file.size}`;
    if (response.status === 206 && response.headers.get("content-range") === range) return;
    if (response.status === 200 && whole) return;
    void response.body?.cancel();
    if (response.status === 206 || response.status === 200) {
      throw new ModelError(
        `${file.name}: the server does not send the part of the file that it was asked for`,
      );
    }
    if (response.status === 404) {
      throw new ModelError(`${new URL(response.url).host} has no ${file.name} of ${model}`);
    }
    throw refusal({ statusCode: response.status }, model, client);
  }

  async #note(): Promise<void> {
    const count = this.#unnoted;
    this.#unnoted = 0;
    if (count > 0) await this.parts.add(this.index, count);
  }
}

async function writeAll(file: Deno.FsFile, data: Uint8Array, path: string): Promise<void> {
  try {
    for (let at = 0; at < data.length;) at += await file.write(data.subarray(at));
  } catch (error) {
    throw new ModelError(`${path}: cannot be written: ${firstLine(error)}`, { cause: error });
  }
}

/** Aborts a transfer that has brought nothing for a while, or with the whole download. */
class StallWatch {
  readonly signal: AbortSignal;
  readonly #milliseconds: number;
  readonly #controller = new AbortController();
  #timer: ReturnType<typeof setTimeout>;

  constructor(milliseconds: number, signal: AbortSignal | undefined) {
    this.#milliseconds = milliseconds;
    this.signal = signal ? AbortSignal.any([signal, this.#controller.signal]) : this.#controller.signal;
    this.#timer = this.#start();
  }

  reset(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#start();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #start(): ReturnType<typeof setTimeout> {
    return setTimeout(() => this.#controller.abort(new Error("no data for too long")), this.#milliseconds);
  }
}

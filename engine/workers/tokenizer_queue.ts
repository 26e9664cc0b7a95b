// What waits for the tokenizer, on the main process's side of its port.
//
// The worker gets a few jobs at a time; the rest wait here, where they can be counted, bounded, taken out when their
// client leaves, and given to a new worker when one is lost. Clients take turns. A job that takes longer than its
// budget is ended together with the worker, which is busy with it and cannot be asked to stop.

import type { FinishReason, SamplingParams } from "../params.ts";
import type { PromptInput, RequestId, ToTokenizer } from "../messages.ts";

/** Why a job was not done. */
export type JobFailure = FinishReason & { readonly type: "error" };

/** Something that the tokenizer is to do. */
export type Job =
  & { readonly client: string; /** Told once, when it will not be done. */ fail(finish: JobFailure): void }
  & (
    | { readonly type: "call"; readonly message: ToTokenizer & { readonly type: "encode" | "decode" } }
    | {
      readonly type: "generate";
      id: RequestId;
      readonly input: PromptInput;
      readonly params: SamplingParams;
      readonly salt: string;
    }
  );

/** Jobs that are done by one message: one call, or all generations that continue one prompt. */
interface Batch {
  readonly client: string;
  /** Of its text, counted once. */
  readonly size: number;
  readonly jobs: Job[];
}

/** What the queue needs. */
export interface QueueOptions {
  /** Most jobs that wait, of generations and calls each. */
  readonly mostWaiting: number;
  /** Most characters and ids of all that waits. */
  readonly mostText: number;
  /** A batch that takes longer is given up. */
  readonly budgetMilliseconds: number;
  /** To the worker. */
  send(message: ToTokenizer): void;
  /**
   * The oldest batch has taken longer than its budget: the worker has to be ended, then `lost` called. Where the batch
   * is `short`, nothing in it can be the reason.
   */
  overdue(short: boolean): void;
}

/** Batches that the worker has at a time: enough that it does not wait for the next message. */
const mostSent = 4;

const ticksOfBudget = 4;

/** Characters and ids that take milliseconds, whatever they are. */
const shortText = 4096;

/** Jobs in front of the tokenizer. */
export class TokenizerQueue {
  /** Batches that the tokenizer has done. */
  done = 0;
  /** How long it was busy with them, in seconds. */
  seconds = 0;
  readonly #options: QueueOptions;
  /** By client; the one whose turn it is comes first. */
  readonly #waiting = new Map<string, Batch[]>();
  readonly #sent: Batch[] = [];
  #jobs = 0;
  #text = 0;
  #paused = false;
  #flushing = false;
  #timer: ReturnType<typeof setInterval> | undefined;
  #ticks = 0;
  #since = 0;

  /** Empty. */
  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /** Jobs that are not done yet. */
  get length(): number {
    return this.#jobs;
  }

  /** Takes a job in, or fails it at once when too much waits. */
  add(job: Job): void {
    const { mostWaiting, mostText } = this.#options;
    const size = sizeOf(job);
    if (this.#jobs >= mostWaiting || (this.#text > 0 && this.#text + size > mostText)) {
      const message = `${this.#jobs} requests wait for the tokenizer already; try again later`;
      return job.fail({ type: "error", code: "queue_full", message });
    }
    this.#jobs++;
    const batches = this.#batchesOf(job.client);
    const last = batches.at(-1);
    if (last !== undefined && joins(job, last.jobs[0]!)) {
      last.jobs.push(job);
    } else {
      batches.push({ client: job.client, size, jobs: [job] });
      this.#text += size;
    }
    this.#flushSoon();
  }

  /** Takes a generation out that has not been sent. False if it has, or is not here. */
  remove(id: RequestId): boolean {
    for (const [client, batches] of this.#waiting) {
      for (const [i, { jobs, size }] of batches.entries()) {
        const at = jobs.findIndex((job) => job.type === "generate" && job.id === id);
        if (at < 0) continue;
        jobs.splice(at, 1);
        this.#jobs--;
        if (jobs.length > 0) return true;
        batches.splice(i, 1);
        this.#text -= size;
        if (batches.length === 0) this.#waiting.delete(client);
        return true;
      }
    }
    return false;
  }

  /** The worker has answered a generation or a call; batches are answered in order. */
  answered(key: RequestId | number): void {
    const batch = this.#sent[0];
    const at = batch?.jobs.findIndex((job) => keyOf(job) === key) ?? -1;
    if (batch === undefined || at < 0) return; // of a worker that is gone
    batch.jobs.splice(at, 1);
    this.#jobs--;
    if (batch.jobs.length > 0) return;
    this.#text -= batch.size;
    this.#sent.shift();
    this.done++;
    this.seconds += (performance.now() - this.#since) / 1000;
    this.#watch();
    this.#flush();
  }

  /**
   * The worker is gone: what it was busy with fails, the rest waits for the next one, each generation under the id
   * that `rename` gives it; null fails it too.
   */
  lost(finish: JobFailure, rename: (id: RequestId) => RequestId | null): void {
    this.#paused = true;
    clearInterval(this.#timer);
    const [busy, ...rest] = this.#sent.splice(0);
    if (busy) this.#drop(busy, finish);
    for (const { client, size, jobs } of rest.reverse()) {
      const kept: Job[] = [], failed: Job[] = [];
      for (const job of jobs) {
        const id = job.type === "generate" ? rename(job.id) : "";
        if (job.type === "generate" && id !== null) job.id = id;
        (id === null ? failed : kept).push(job);
      }
      this.#drop({ client, size: kept.length === 0 ? size : 0, jobs: failed }, finish);
      if (kept.length > 0) this.#batchesOf(client).unshift({ client, size, jobs: kept });
    }
  }

  /** There is a worker again. */
  resume(): void {
    this.#paused = false;
    this.#flush();
  }

  /** Fails everything; nothing is sent any more. */
  clear(finish: JobFailure): void {
    this.lost(finish, () => null);
    for (const batches of [...this.#waiting.values()]) for (const batch of batches) this.#drop(batch, finish);
    this.#waiting.clear();
  }

  #batchesOf(client: string): Batch[] {
    const known = this.#waiting.get(client);
    if (known) return known;
    const batches: Batch[] = [];
    this.#waiting.set(client, batches);
    return batches;
  }

  #drop({ size, jobs }: Batch, finish: JobFailure): void {
    this.#text -= size;
    this.#jobs -= jobs.length;
    for (const job of jobs) job.fail(finish);
  }

  /** Generations that are submitted together are sent together, so that their prompt is encoded once. */
  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    const wasIdle = this.#sent.length === 0;
    while (!this.#paused && this.#sent.length < mostSent) {
      const turn = this.#waiting.entries().next();
      if (turn.done) break;
      const [client, batches] = turn.value;
      const batch = batches.shift()!;
      this.#waiting.delete(client);
      if (batches.length > 0) this.#waiting.set(client, batches); // behind the others
      this.#sent.push(batch);
      this.#options.send(messageOf(batch));
    }
    if (wasIdle) this.#watch();
  }

  /**
   * The oldest batch has its budget from the moment when it became the oldest. Counted in ticks, so that a pause of
   * this process is not taken for one of the worker.
   */
  #watch(): void {
    clearInterval(this.#timer);
    this.#ticks = 0;
    this.#since = performance.now();
    if (this.#sent.length === 0) return;
    const short = this.#sent[0]!.size < shortText;
    this.#timer = setInterval(() => {
      if (++this.#ticks < ticksOfBudget) return;
      clearInterval(this.#timer);
      this.#options.overdue(short);
    }, this.#options.budgetMilliseconds / ticksOfBudget);
  }
}

function joins(job: Job, other: Job): boolean {
  return job.type === "generate" && other.type === "generate" && job.input === other.input &&
    job.salt === other.salt;
}

function keyOf(job: Job): RequestId | number {
  return job.type === "generate" ? job.id : job.message.call;
}

function messageOf({ jobs }: Batch): ToTokenizer {
  const first = jobs[0]!;
  if (first.type === "call") return first.message;
  const { input, salt, client } = first;
  const requests = jobs.flatMap((job) => job.type === "generate" ? [{ id: job.id, params: job.params }] : []);
  return { type: "generate", input, salt, client, requests };
}

/** Roughly what a job holds in memory, in characters and ids; tools and template arguments are taken to be long. */
function sizeOf(job: Job): number {
  if (job.type === "call" && job.message.type === "decode") return job.message.ids.length;
  const input = job.type === "generate" ? job.input : (job.message as ToTokenizer & { type: "encode" }).input;
  switch (input.type) {
    case "text":
      return input.text.length;
    case "ids":
      return input.ids.length;
    case "chat":
      return input.messages.reduce(
        (sum, { content }) => sum + (content?.length ?? 0) + 64,
        input.tools || input.templateArgs ? shortText : 0,
      );
  }
}

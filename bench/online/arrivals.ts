// Who asks when: a Poisson process, or the requests of a recorded trace. Prompts are token ids made from nothing but
// seeded numbers; what a trace says about shared beginnings is kept, so that a prefix cache sees what it would see.

import { PythonRandom } from "../common/python_random.ts";

/** One request to come. */
export interface Arrival {
  /** Seconds after the start. */
  readonly at: number;
  readonly ids: readonly number[];
  /** Tokens to generate, whatever they are. */
  readonly outputTokens: number;
}

/** A recorded request. */
export interface TraceRequest {
  /** Seconds after the trace's first request. */
  readonly at: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** What each block of {@link traceBlock} input tokens is known by: equal ids, equal contents; null if not recorded. */
  readonly blocks: readonly number[] | null;
}

/** Tokens of a block of Mooncake's traces. */
export const traceBlock = 512;

export interface PoissonOptions {
  /** Requests per second. */
  readonly rate: number;
  readonly count: number;
  /** Of a prompt's own part, and of an answer, in tokens; uniform, both ends included. */
  readonly minTokens: number;
  readonly maxTokens: number;
  /** Tokens that all prompts begin with, like an instruction to a chat model. */
  readonly sharedTokens: number;
  /** How many such beginnings there are; each request has one of them, by chance. 1 unless said otherwise. */
  readonly prefixes?: number;
  readonly vocabSize: number;
  readonly seed: number;
}

/** Independent requests: the times between them are exponential. */
export function poissonArrivals(options: PoissonOptions): Arrival[] {
  const { rate, count, minTokens, maxTokens, sharedTokens, prefixes = 1, vocabSize, seed } = options;
  const random = new PythonRandom(seed);
  const tokens = (length: number) => Array.from({ length }, () => random.int(0, vocabSize - 1));
  const shared = Array.from({ length: prefixes }, () => tokens(sharedTokens));
  let at = 0;
  return Array.from({ length: count }, () => {
    at += -Math.log(1 - random.next()) / rate;
    const beginning = shared[prefixes === 1 ? 0 : random.int(0, prefixes - 1)]!;
    const ids = [...beginning, ...tokens(random.int(minTokens, maxTokens))];
    return { at, ids, outputTokens: random.int(minTokens, maxTokens) };
  });
}

export interface ReplayOptions {
  /** Times are divided by this. */
  readonly speed: number;
  /** Lengths are multiplied by this, so that a small model can follow. */
  readonly scale: number;
  /** Most requests, and the last second in which one may arrive (after `speed`). */
  readonly count: number;
  readonly seconds: number;
  readonly vocabSize: number;
  readonly seed: number;
}

/** The beginning of a trace. */
export function traceArrivals(trace: readonly TraceRequest[], options: ReplayOptions): Arrival[] {
  const { speed, scale, count, seconds, vocabSize, seed } = options;
  const blockTokens = Math.ceil(traceBlock * scale);
  const blocks = new Map<number, readonly number[]>();
  /** The same ids for the same block, whichever trace or run asks. */
  const block = (id: number): readonly number[] => {
    let ids = blocks.get(id);
    if (ids === undefined) blocks.set(id, ids = randomIds(blockTokens, vocabSize, seed, id));
    return ids;
  };
  return trace.slice(0, count).flatMap((request, i): Arrival[] => {
    const at = request.at / speed;
    if (at > seconds) return [];
    const length = Math.max(1, Math.round(request.inputTokens * scale));
    const ids = request.blocks === null
      ? randomIds(length, vocabSize, seed, i)
      : request.blocks.flatMap(block).slice(0, length);
    return [{ at, ids, outputTokens: Math.max(1, Math.round(request.outputTokens * scale)) }];
  });
}

function randomIds(length: number, vocabSize: number, seed: number, id: number): readonly number[] {
  const random = new PythonRandom((Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(id + 1, 0x85ebca6b)) >>> 0);
  return Array.from({ length }, () => random.int(0, vocabSize - 1));
}

// What a recorded server writes down, line by line.

import { z } from "zod";
import { profileSchema } from "./profile.ts";

const time = z.number();
const count = z.number().min(0);

const record = z.discriminatedUnion("type", [
  /** The scheduler's settings, once. */
  z.object({ type: z.literal("config"), config: profileSchema.shape.config }),
  /** A request reached the scheduler. */
  z.object({ type: z.literal("request"), at: time, key: z.string(), prompt: count }),
  /** A plan was sent; `turn` milliseconds after the result that it followed, if it followed one. */
  z.object({
    type: z.literal("plan"),
    at: time,
    id: count,
    turn: z.number().nullable(),
    shape: z.object({
      forwards: count,
      rows: count,
      context: count,
      longest: count,
      prompt: count,
      chunks: count,
      pairs: count,
    }),
  }),
  /** Its result came. */
  z.object({ type: z.literal("result"), at: time, id: count, milliseconds: z.number() }),
  /** Tokens were sent on: whose, and how many, in order. */
  z.object({ type: z.literal("news"), at: time, news: z.array(z.tuple([z.string(), count]).readonly()) }),
]);

/** One line. */
export type ServerRecord = z.infer<typeof record>;

/** @throws {Error} for a line that is none */
export function parseRecords(text: string): ServerRecord[] {
  return text.split("\n").filter((line) => line !== "").map((line) => record.parse(JSON.parse(line)));
}

/** Milliseconds of the system's clock, finely: the same in every process of a machine, to a fraction of one. */
export function systemTime(): number {
  return performance.timeOrigin + performance.now();
}

/** Tells prompts apart, so that client and scheduler speak of the same request. */
export function requestKey(ids: ArrayLike<number>): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < ids.length; i++) {
    hash = Math.imul(hash ^ ids[i]!, 0x01000193);
    hash ^= hash >>> 15;
  }
  return `${ids.length}.${hash >>> 0}`;
}

// The counters of every engine that is served, for whoever asks how busy each is.

import type { SchedulerCounters } from "../../engine/scheduler/config.ts";
import { replicasOf, type ServedEngine } from "./engine_api.ts";
import type { Service } from "./service.ts";

/** One engine and its counters at a moment. */
export interface Scraped {
  /** Its dp_rank. */
  readonly rank: number;
  /** The engine. */
  readonly engine: ServedEngine;
  /** Its totals and sizes. */
  readonly counters: SchedulerCounters;
}

/** Asks all that live. @throws {ApiError} 503 if none answers. */
export async function scrape(service: Service): Promise<Scraped[]> {
  const asked = await Promise.allSettled(
    replicasOf(service.engine).map(async (engine, rank) => ({
      rank,
      engine,
      counters: await service.ask(engine.counters()),
    })),
  );
  const answers = asked.flatMap((answer) => answer.status === "fulfilled" ? [answer.value] : []);
  const refusal = asked.find((answer) => answer.status === "rejected");
  if (answers.length === 0 && refusal !== undefined) throw refusal.reason;
  return answers;
}

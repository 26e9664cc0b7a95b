// Whether an engine is alive, asked as often as anybody likes.
//
// Ranks answer between two steps, and a step of a large model on a CPU takes seconds. So one question is under way at
// a time, nobody waits for it long, and the engine is given up only when a question has been open for too long.

import { withDeadline } from "../../engine/workers/deadline.ts";
import type { ServedEngine } from "./engine_api.ts";

/** Milliseconds that one caller waits: probes give up after a second. */
const defaultWait = 800;

/** What is known about an engine. */
export type Life =
  | { readonly state: "ok" }
  /** In the middle of a step, for so many milliseconds at least. */
  | { readonly state: "busy"; readonly milliseconds: number }
  | { readonly state: "unresponsive"; readonly milliseconds: number };

/** Asks one engine. */
export class Liveness {
  readonly #engine: Pick<ServedEngine, "ping">;
  readonly #patience: number;
  readonly #wait: number;
  #open: { readonly answer: Promise<true>; readonly since: number } | null = null;

  /** An engine that has left a question open for `patience` milliseconds is unresponsive; a caller waits for `wait`. */
  constructor(engine: Pick<ServedEngine, "ping">, patience: number, wait: number = defaultWait) {
    this.#engine = engine;
    this.#patience = patience;
    this.#wait = Math.min(wait, patience);
  }

  /** Rejects with the reason if a worker has died. */
  async check(): Promise<Life> {
    const { answer, since } = this.#open ??= this.#ask();
    if (await withDeadline(answer, this.#wait)) return { state: "ok" };
    const milliseconds = Math.round(performance.now() - since);
    return { state: milliseconds < this.#patience ? "busy" : "unresponsive", milliseconds };
  }

  #ask(): { answer: Promise<true>; since: number } {
    const answer = this.#engine.ping().then(() => true as const).finally(() => this.#open = null);
    answer.catch(() => {}); // Whoever asks next hears of it.
    return { answer, since: performance.now() };
  }
}

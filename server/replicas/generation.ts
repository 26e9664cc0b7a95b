// A generation on one of several replicas, as the HTTP layer sees it. If its replica dies, or is full, before anything
// of the answer has been passed on, it is done once more on another one; the client sees one answer and one end.
//
// Once only: a request that kills what computes it may take two replicas with it, not all.

import type { Delta } from "../../engine/messages.ts";
import type { FinishReason } from "../../engine/params.ts";
import type { Generation } from "../http/engine_api.ts";

/** The request on a replica. */
export interface Attempt {
  /** The replica's. */
  readonly generation: Generation;
  /** Whether an end of this kind means that another replica should try. */
  failed(finish: FinishReason): boolean;
  /** The replica has one request less. Called once. */
  ended(): void;
}

/** Deltas of the replica's generation, or of the second one's. */
export class RoutedGeneration implements Generation {
  /** The same on both. */
  readonly id: string;
  /** Of the first attempt that knows them. */
  readonly promptIds: Promise<Uint32Array>;
  readonly #prompt = Promise.withResolvers<Uint32Array>();
  readonly #again: () => Attempt | null;
  #attempt: Attempt;
  #aborted = false;

  /** `again` is called at most once: another replica's attempt, or null if there is none. */
  constructor(id: string, attempt: Attempt, again: () => Attempt | null) {
    this.id = id;
    this.#attempt = attempt;
    this.#again = again;
    this.promptIds = this.#prompt.promise;
    this.promptIds.catch(() => {}); // asked for or not
    this.#follow(attempt);
  }

  /** Ends it, wherever it runs. */
  abort(): void {
    this.#aborted = true;
    this.#attempt.generation.abort();
  }

  /** Deltas in order, the last with a finish. Iterate once. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Delta, void, void> {
    let begun = false, retried = false, again: Attempt | null = null;
    do {
      const attempt = this.#attempt;
      again = null;
      try {
        for await (const delta of attempt.generation) {
          const mayRetry = !begun && !retried && !this.#aborted;
          if (mayRetry && delta.finish !== null && attempt.failed(delta.finish)) again = this.#again();
          if (again !== null) break;
          begun ||= delta.tokens.length > 0 || delta.promptLogprobs !== null;
          if (delta.finish?.type === "error") this.#prompt.reject(new Error(delta.finish.message));
          yield delta;
        }
      } finally {
        attempt.ended();
      }
      if (again !== null) {
        this.#attempt = again;
        this.#follow(again);
        retried = true;
      }
    } while (again !== null);
  }

  #follow({ generation }: Attempt): void {
    generation.promptIds.then(this.#prompt.resolve, () => {}); // why it was refused is told by its finish
  }
}

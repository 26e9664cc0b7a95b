// A generation on one of several replicas, as the HTTP layer sees it. If its replica dies, or is full, before anything
// of the answer has been passed on, it is done once more on another one; the client sees one answer and one end.
//
// Once only: a request that kills what computes it may take two replicas with it, not all.

import { Generation } from "../../engine/generation.ts";
import type { FinishReason } from "../../engine/params.ts";
import type { Generation as ServedGeneration } from "../http/engine_api.ts";

/** The request on a replica. */
export interface Attempt {
  /** The replica's. */
  readonly generation: ServedGeneration;
  /** Whether an end of this kind means that another replica should try. */
  failed(finish: FinishReason): boolean;
  /** The replica has one request less. Called once. */
  ended(): void;
}

/** Deltas of the replica's generation, or of the second one's. */
export class RoutedGeneration extends Generation {
  readonly #again: () => Attempt | null;
  #attempt: Attempt;
  #begun = false;
  #retried = false;

  /** `again` is called at most once: another replica's attempt, or null if there is none. */
  constructor(id: string, attempt: Attempt, again: () => Attempt | null) {
    super(id, () => this.#attempt.generation.abort());
    this.#again = again;
    this.#attempt = attempt;
    this.#follow(attempt);
  }

  #follow(attempt: Attempt): void {
    this.#attempt = attempt;
    // Why it was refused is told by its finish.
    attempt.generation.promptIds.then((ids) => this.accept(ids), () => {});
    attempt.generation.follow((delta) => {
      if (delta.finish !== null) {
        attempt.ended();
        const again = attempt.failed(delta.finish) ? this.#another() : null;
        if (again !== null) return this.#follow(again);
      }
      this.#begun ||= delta.tokens.length > 0 || delta.promptLogprobs !== null;
      this.push(delta);
    });
  }

  /** Of a request that has not been answered in part, is still wanted, and has been tried once. */
  #another(): Attempt | null {
    if (this.#begun || this.#retried || this.aborted) return null;
    this.#retried = true;
    return this.#again();
  }
}

// A probe's way through the scheduler: on to every rank, and when all have sent it back on to the detokenizer. How far
// the last one came tells which worker's ports are broken.

import type { Probe, ProbeProgress } from "./protocol.ts";

/** Passes probes on. */
export class ProbeRelay {
  readonly #ranks: readonly MessagePort[];
  readonly #last = new Map<MessagePort, number>();
  #received = 0;

  /** Ports to all ranks. */
  constructor(ranks: readonly MessagePort[]) {
    this.#ranks = ranks;
  }

  /** How far they have come. */
  get progress(): ProbeProgress {
    const returned = Math.min(...this.#ranks.map((rank) => this.#last.get(rank) ?? 0));
    return { received: this.#received, returned };
  }

  /** From the tokenizer. */
  forward(probe: Probe): void {
    this.#received = probe.probe;
    for (const rank of this.#ranks) rank.postMessage(probe);
  }

  /** From a rank; true if it was the last one, and the probe goes on to the detokenizer. */
  back(rank: MessagePort, { probe }: Probe): boolean {
    this.#last.set(rank, probe);
    return this.progress.returned === probe;
  }
}

// A fleet of servers under a stream of arrivals, in virtual time: what its clients would measure.
//
// Requests are told and summed up exactly as the online benchmark does (`bench/online/`), so that a prediction stands
// beside a measurement figure by figure.

import { PythonRandom } from "../common/python_random.ts";
import type { Arrival } from "../online/arrivals.ts";
import type { Outcome } from "../online/client.ts";
import { type ReplaySummary, summarize } from "../online/replay.ts";
import { VirtualClock } from "./events.ts";
import type { Profile } from "./profile.ts";
import { Router, type Routing } from "./router.ts";
import { VirtualServer } from "./server.ts";

/** What is simulated. */
export interface Fleet {
  readonly profile: Profile;
  /** Servers, each with its own device. */
  readonly servers: number;
  readonly routing: Routing;
  /** Of all that is drawn by chance. */
  readonly seed: number;
  /** Requests that are not done by then (seconds) count as unfinished. */
  readonly limit?: number;
}

/** What came of it. */
export interface Simulation {
  readonly outcomes: readonly Outcome[];
  readonly summary: ReplaySummary;
  /** Share of the time that each server's device had a step, 0 to 1. */
  readonly utilisation: readonly number[];
  /** Requests that each server got. */
  readonly shares: readonly number[];
  /** Requests that gave up their pages to continue later. */
  readonly retractions: number;
}

/** Plays arrivals against a fleet. The same arguments give the same result. */
export function simulate(fleet: Fleet, arrivals: readonly Arrival[]): Simulation {
  const clock = new VirtualClock();
  const random = new PythonRandom(fleet.seed);
  const servers = Array.from(
    { length: fleet.servers },
    () => new VirtualServer(fleet.profile, clock, random),
  );
  const router = new Router(fleet.routing, fleet.profile);
  const shares = servers.map(() => 0);
  const outcomes = arrivals.map((): Outcome => ({ status: "unfinished" }));
  let last = 0;
  arrivals.forEach((arrival, i) =>
    clock.at(arrival.at * 1000, () => {
      const rank = router.choose(servers.map(({ load }) => load), arrival.ids);
      shares[rank]!++;
      const client = new VirtualClient(arrival, (outcome) => {
        outcomes[i] = outcome;
        last = clock.now;
      });
      servers[rank]!.submit(`${i}`, arrival, (news) => client.hear(clock.now, news));
    })
  );
  clock.run((fleet.limit ?? Infinity) * 1000);
  const unfinished = outcomes.some(({ status }) => status === "unfinished");
  const milliseconds = unfinished && fleet.limit !== undefined ? fleet.limit * 1000 : last;
  return {
    outcomes,
    summary: summarize(outcomes, arrivals, milliseconds / 1000),
    utilisation: servers.map((server) => Math.min(1, server.busyMilliseconds / milliseconds)),
    shares,
    retractions: servers.reduce((sum, server) => sum + server.counters().retractionsTotal, 0),
  };
}

/** Keeps what a client of the online benchmark would write down. */
class VirtualClient {
  readonly #arrival: Arrival;
  readonly #done: (outcome: Outcome) => void;
  readonly #between: number[] = [];
  #count = 0;
  #first = 0;
  #latest = 0;

  constructor(arrival: Arrival, done: (outcome: Outcome) => void) {
    this.#arrival = arrival;
    this.#done = done;
  }

  hear(
    now: number,
    { tokens, cachedTokens, end }: { tokens: number; cachedTokens: number; end: "done" | "refused" | null },
  ): void {
    if (end === "refused") return this.#done({ status: "refused", code: 429, message: "refused" });
    if (tokens > this.#count) {
      const fresh = tokens - this.#count, isFirst = this.#count === 0;
      if (isFirst) this.#first = now;
      const since = isFirst ? 0 : now - this.#latest, gaps = isFirst ? fresh - 1 : fresh;
      for (let i = 0; i < gaps; i++) this.#between.push(since / fresh);
      this.#count = tokens;
      this.#latest = now;
    }
    if (end === null) return;
    const due = this.#arrival.at * 1000;
    this.#done({
      status: "done",
      firstToken: this.#first - due,
      total: this.#latest - due,
      betweenTokens: this.#between,
      inputTokens: this.#arrival.ids.length,
      outputTokens: this.#count,
      cachedTokens,
    });
  }
}

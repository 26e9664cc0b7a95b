// Fairness between clients: whose request is admitted next, and who gives a row up for it.
//
// Rows are shared max-min: of the clients that wait, the one that holds the fewest rows comes next. Between clients
// with equally many rows the one that has been served the fewest prompt tokens comes first (the virtual token counter
// of Sheng et al. 2024, "Fairness in Serving Large Language Models"; a client that was away starts at the least
// counter of those present, so it saves nothing up). Within a client it is first come, first served, so a single
// client sees no difference. A row changes hands before its request is done only where its owner keeps more rows than
// the client that gets it.

import type { Request } from "../scheduler/request.ts";

/** What is asked of the table of rows. */
interface Rows {
  readonly freeRows: number;
  holders(): Iterable<Request>;
}

interface Share {
  /** Rows it holds. */
  held: number;
  /** Its requests in the queue, and which of them is next. */
  readonly waiting: Request[];
  next: number;
}

/** Keeps what each client has been served; clients are those of requests that wait or run. */
export class Fairness {
  /** Prompt tokens computed for a client while it was present. */
  readonly #served = new Map<string, number>();

  /** The requests of a queue (ascending by arrival) in the order in which they should be admitted. */
  *order(queue: readonly Request[], holders: Iterable<Request>): Generator<Request, void, void> {
    const shares = this.#shares(queue, holders);
    while (true) {
      let best: [string, Share] | null = null;
      for (const entry of shares) {
        if (entry[1].next < entry[1].waiting.length && (best === null || this.#before(entry, best))) {
          best = entry;
        }
      }
      if (best === null) return;
      const share = best[1];
      const request = share.waiting[share.next++]!;
      yield request;
      if (request.allocation !== null) share.held++;
    }
  }

  /** Whether the request that comes next finds a row, and its client holds at least two rows fewer than another. */
  favours(queue: readonly Request[], rows: Rows): boolean {
    if (queue.length === 0 || rows.freeRows === 0) return false;
    const shares = this.#shares(queue, rows.holders());
    let most = 0, least = Infinity;
    for (const { held, waiting } of shares.values()) {
      most = Math.max(most, held);
      if (waiting.length > 0) least = Math.min(least, held);
    }
    return least + 1 < most;
  }

  /** A request is admitted: its client is charged for what will be computed of it. */
  charge({ client, deviceLength, cachedLength }: Request): void {
    this.#served.set(client, (this.#served.get(client) ?? 0) + deviceLength - cachedLength);
  }

  /**
   * The running request that gives way to one that finds no room: `blocked`, or without a free row the next of the
   * queue. Null where none has to, or one does already.
   */
  yielding(blocked: Request | null, queue: readonly Request[], rows: Rows): Request | null {
    let waiting: Request | void | null = blocked;
    if (rows.freeRows === 0) waiting ??= this.order(queue, rows.holders()).next().value;
    if (!waiting) return null;
    const held = new Map<string, Request[]>();
    for (const request of rows.holders()) {
      if (request.retracting) return null;
      const of = held.get(request.client);
      if (of) of.push(request);
      else held.set(request.client, [request]);
    }
    const own = held.get(waiting.client)?.length ?? 0;
    let most: Request[] = [];
    for (const requests of held.values()) if (requests.length > most.length) most = requests;
    if (most.length <= own + 1) return null;
    let youngest: Request | null = null;
    for (const request of most) {
      if (request.runnable && (youngest === null || request.arrival > youngest.arrival)) youngest = request;
    }
    return youngest;
  }

  #before([a, x]: [string, Share], [b, y]: [string, Share]): boolean {
    if (x.held !== y.held) return x.held < y.held;
    const difference = (this.#served.get(a) ?? 0) - (this.#served.get(b) ?? 0);
    return difference !== 0 ? difference < 0 : x.waiting[x.next]!.arrival < y.waiting[y.next]!.arrival;
  }

  #shares(queue: readonly Request[], holders: Iterable<Request>): Map<string, Share> {
    const shares = new Map<string, Share>();
    const shareOf = (client: string): Share => {
      let share = shares.get(client);
      if (share === undefined) shares.set(client, share = { held: 0, waiting: [], next: 0 });
      return share;
    };
    for (const request of holders) shareOf(request.client).held++;
    for (const request of queue) shareOf(request.client).waiting.push(request);
    for (const client of this.#served.keys()) if (!shares.has(client)) this.#served.delete(client);
    const least = this.#served.size > 0 ? Math.min(...this.#served.values()) : 0;
    for (const client of shares.keys()) if (!this.#served.has(client)) this.#served.set(client, least);
    return shares;
  }
}

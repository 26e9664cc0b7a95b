// Fairness between clients: whose request is admitted next, and who gives a row up for it.
//
// Rows are shared max-min: of the clients that wait, the one that holds the fewest rows comes next. Between clients
// with equally many rows the one that has been served the fewest prompt tokens comes first (the virtual token counter
// of Sheng et al. 2024, "Fairness in Serving Large Language Models"; a client that was away starts at the least
// counter of those present, so it saves nothing up). Within a client the queue's own order holds, so a single client
// sees no difference. A row changes hands before its request is done only where its owner keeps more rows than
// the client that gets it.
//
// One row is spare: only a client that is behind in this sense gets it, so that its request is in the next plan and
// does not wait until another gives way. That one does afterwards, and the row is spare again.

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

/** Rows beside `--max-running-requests` for clients that are behind. */
export const spareRows = 1;

/** Keeps what each client has been served; clients are those of requests that wait or run. */
export class Fairness {
  /** Prompt tokens computed for a client while it was present. */
  readonly #served = new Map<string, number>();

  /**
   * The requests of a queue in the order in which they should be admitted, as far as there are rows. A client's own keep
   * the order of the queue: by priority, then by arrival.
   */
  *order(queue: readonly Request[], rows: Rows): Generator<Request, void, void> {
    let free = rows.freeRows;
    if (queue.length === 0 || free === 0) return;
    const shares = this.#shares(queue, rows.holders());
    for (; free > 0; free--) {
      let best: [string, Share] | null = null;
      for (const entry of shares) {
        if (entry[1].next < entry[1].waiting.length && (best === null || this.#before(entry, best))) {
          best = entry;
        }
      }
      if (best === null || (free <= spareRows && !isBehind(best[1], shares))) return;
      const share = best[1];
      const request = share.waiting[share.next++]!;
      yield request;
      if (request.allocation !== null) share.held++;
    }
  }

  /** Whether the request that comes next finds a row, and its client is behind another. */
  favours(queue: readonly Request[], rows: Rows): boolean {
    if (queue.length === 0 || rows.freeRows === 0) return false;
    const shares = this.#shares(queue, rows.holders());
    return [...shares.values()].some((share) => share.waiting.length > 0 && isBehind(share, shares));
  }

  /** A request is admitted: its client is charged for what will be computed of it. */
  charge({ client, deviceLength, cachedLength }: Request): void {
    this.#served.set(client, (this.#served.get(client) ?? 0) + deviceLength - cachedLength);
  }

  /**
   * The running request that gives way to `blocked`, which finds no pages, or gives back the spare row. Null where none
   * has to, or one does already.
   */
  yielding(blocked: Request | null, rows: Rows): Request | null {
    if (blocked === null && rows.freeRows > 0) return null;
    const held = new Map<string, Request[]>();
    for (const request of rows.holders()) {
      if (request.retracting || request.ended) return null;
      const of = held.get(request.client);
      if (of) of.push(request);
      else held.set(request.client, [request]);
    }
    const own = blocked === null ? 0 : held.get(blocked.client)?.length ?? 0;
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

/** Whether a client would still hold fewer rows than another if it had one more. */
function isBehind({ held }: Share, shares: ReadonlyMap<string, Share>): boolean {
  return [...shares.values()].some((other) => held + 1 < other.held);
}

// Which replica gets a request: the one that has seen most of its beginning, unless that one is overloaded.
//
// The idea, its thresholds and their names are those of the cache-aware policy of SGLang's router (sgl-router). What
// differs: load decides between equal matches and where nothing matches, so that a few long answers do not pile up on
// one replica; thresholds are smaller, because the replicas of one process are few and load is known exactly.

/** What is known of a replica when a request comes. */
export interface Candidate {
  /** Its number. */
  readonly rank: number;
  /** Requests that it has and that have not ended. */
  readonly load: number;
  /** Blocks of the request's key that it has seen, the salt's element included. */
  readonly matched: number;
  /** Elements of its routing tree. */
  readonly size: number;
}

/** When a known prefix decides, and when load does. */
export interface RoutingOptions {
  /** A prefix decides if it is more than this share of the prompt's blocks, 0 to 1. */
  readonly cacheThreshold: number;
  /** Loads are unbalanced if the largest is more than this above the least … */
  readonly balanceAbsolute: number;
  /** … and more than this times the least; then the least loaded replica is taken. */
  readonly balanceRelative: number;
}

/** What `radish serve --dp` begins with. */
export const defaultRouting: RoutingOptions = {
  cacheThreshold: 0.3,
  balanceAbsolute: 16,
  balanceRelative: 1.5,
};

/** The rank of the replica for a request of `blocks` blocks, the salt's element included. Needs a candidate. */
export function chooseReplica(
  candidates: readonly Candidate[],
  blocks: number,
  { cacheThreshold, balanceAbsolute, balanceRelative }: RoutingOptions,
): number {
  const loads = candidates.map(({ load }) => load);
  const [least, most] = [Math.min(...loads), Math.max(...loads)];
  if (most - least > balanceAbsolute && most > least * balanceRelative) {
    return first(candidates, leastLoaded, longestMatch, smallest).rank;
  }
  const best = first(candidates, longestMatch, leastLoaded, smallest);
  const share = (best.matched - 1) / Math.max(1, blocks - 1);
  return (share > cacheThreshold ? best : first(candidates, leastLoaded, smallest, longestMatch)).rank;
}

type Order = (a: Candidate, b: Candidate) => number;

const leastLoaded: Order = (a, b) => a.load - b.load;
const longestMatch: Order = (a, b) => b.matched - a.matched;
const smallest: Order = (a, b) => a.size - b.size;

/** The first in an order, where equal ones are in the next; the lowest rank of those that are equal in all. */
function first(candidates: readonly Candidate[], ...orders: readonly Order[]): Candidate {
  const better = (a: Candidate, b: Candidate) =>
    orders.map((order) => order(a, b)).find((by) => by !== 0) ?? 0;
  return candidates.reduce((best, each) => better(each, best) < 0 ? each : best);
}

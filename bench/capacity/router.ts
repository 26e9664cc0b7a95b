// Who gets a request: in turn, the least loaded, or by the policy of `serve --dp`, which is used itself.

import { blockTokens, prefixKey } from "../../server/replicas/prefix_key.ts";
import { chooseReplica, defaultRouting } from "../../server/replicas/policy.ts";
import { treeBlocksPerCached } from "../../server/replicas/replica.ts";
import { RoutingTree } from "../../server/replicas/routing_tree.ts";
import type { Profile } from "./profile.ts";

export const routings = ["round-robin", "least-loaded", "prefix"] as const;
/** A router's policy. */
export type Routing = (typeof routings)[number];

/** Chooses servers. */
export class Router {
  readonly #routing: Routing;
  readonly #bound: number;
  readonly #trees: RoutingTree[] = [];
  #turn = 0;

  /** For servers of this profile. */
  constructor(routing: Routing, { config: { numPages, pageSize } }: Profile) {
    this.#routing = routing;
    this.#bound = treeBlocksPerCached * Math.ceil(numPages * pageSize / blockTokens);
  }

  /** The index of the server for a prompt, from the requests that each has now. */
  choose(loads: readonly number[], ids: readonly number[]): number {
    if (loads.length === 1) return 0;
    switch (this.#routing) {
      case "round-robin":
        return this.#turn++ % loads.length;
      case "least-loaded":
        return loads.indexOf(Math.min(...loads));
      case "prefix":
        return this.#byPrefix(loads, ids);
      default:
        throw new Error(`no such routing: ${this.#routing satisfies never}`);
    }
  }

  #byPrefix(loads: readonly number[], ids: readonly number[]): number {
    const key = prefixKey({ type: "ids", ids: Uint32Array.from(ids) });
    while (this.#trees.length < loads.length) this.#trees.push(new RoutingTree(this.#bound));
    const candidates = loads.map((load, rank) => {
      const tree = this.#trees[rank]!;
      return { rank, load, matched: tree.match(key), size: tree.size };
    });
    const rank = chooseReplica(candidates, key.length, defaultRouting);
    this.#trees[rank]!.insert(key);
    return rank;
  }
}

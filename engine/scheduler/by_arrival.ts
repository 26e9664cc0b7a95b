// Lists of requests in the order in which they arrived: first come, first served; in the queue among equal priorities.

import type { Request } from "./request.ts";

/** Puts a request in its place; most come last. */
export function insertByArrival(list: Request[], request: Request): void {
  list.splice(list.findLastIndex(({ arrival }) => arrival <= request.arrival) + 1, 0, request);
}

/** The same in a list that goes by priority first. */
export function insertByPriority(list: Request[], request: Request): void {
  const after = ({ arrival, params }: Request) =>
    (params.priority - request.params.priority || arrival - request.arrival) <= 0;
  list.splice(list.findLastIndex(after) + 1, 0, request);
}

/** Takes a request out, if it is there. */
export function removeRequest(list: Request[], request: Request): void {
  const at = list.indexOf(request);
  if (at >= 0) list.splice(at, 1);
}

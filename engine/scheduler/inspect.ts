// The scheduler's state for people to look at: what each request is doing, and which prefixes are shared. Asked for
// rarely, copied whole, and taken between two steps, so that its figures agree with each other.

import type { RequestState } from "./config.ts";
import type { Request } from "./request.ts";

/** Most requests and runs in one answer. */
export const mostShown = 1000;

/** What `request` is doing. */
export function stateOf(request: Request): RequestState {
  const { id, prompt, output, allocation, cachedLength, cachedTokens, launchedTokens } = request;
  return {
    id,
    phase: allocation === null ? "waiting" : launchedTokens === 0 ? "prefill" : "decode",
    promptTokens: prompt.length,
    computedTokens: allocation === null ? 0 : cachedLength,
    cachedTokens: cachedTokens ?? 0,
    outputTokens: output.length,
  };
}

// The second tab: what the scheduler is doing. Requests in their phases, the tree of cached prefixes with its locks,
// and speeds over the last two minutes. The tree is the one of `engine/kvcache/radix.ts`.

import { useEffect } from "preact/hooks";
import {
  type CachedRun,
  type RequestState,
  samples,
  type SchedulerState,
  state,
  trouble,
  watch,
} from "./engine_state.ts";
import { Plot } from "./plot.tsx";

const count = (value: number | undefined) => (value ?? 0).toLocaleString("en");
const plural = (value: number, one: string) => `${count(value)} ${one}${value === 1 ? "" : "s"}`;

/** The tab. */
export function Engine() {
  useEffect(watch, []);
  const now = state.value;
  const history = samples.value;
  return (
    <div class="engine-view" tabIndex={0} role="region" aria-label="Engine">
      {trouble.value !== "" && <p class="error" role="alert">no news from the engine: {trouble.value}</p>}
      <section>
        <h2>Speed</h2>
        <div class="plots">
          <Plot name="generated" unit="tokens/s" values={history.map(({ generated }) => generated)} />
          <Plot name="prompts" unit="tokens/s" values={history.map(({ prefilled }) => prefilled)} />
          <Plot name="first token" unit="ms" values={history.map(({ firstToken }) => firstToken)} />
          <Plot name="between tokens" unit="ms" values={history.map(({ interToken }) => interToken)} />
          <Plot name="running" unit="" values={history.map(({ running }) => running)} />
          <Plot name="waiting" unit="" values={history.map(({ queued }) => queued)} />
          <Plot name="pages held by requests" unit="%" most={1} values={history.map(({ used }) => used)} />
          <Plot name="pages filled" unit="%" most={1} values={history.map(({ filled }) => filled)} />
        </div>
      </section>
      {now === null ? <p class="soft">asking the engine …</p> : (
        <>
          <Requests requests={now.requests} />
          <Tree state={now} />
        </>
      )}
    </div>
  );
}

function Requests({ requests }: { readonly requests: readonly RequestState[] }) {
  return (
    <section>
      <h2>Requests</h2>
      {requests.length === 0
        ? <p class="soft">none</p>
        : (
          <div class="table" tabIndex={0} role="region" aria-label="Requests">
            <table>
              <thead>
                <tr>
                  <th>request</th>
                  <th>phase</th>
                  <th>prompt</th>
                  <th>cached</th>
                  <th>computed</th>
                  <th>generated</th>
                </tr>
              </thead>
              <tbody>
                {requests.map((request) => (
                  <tr key={request.id}>
                    <td>
                      <code>{request.id.slice(0, 18)}</code>
                    </td>
                    <td>
                      <span class={`phase ${request.phase}`}>{request.phase}</span>
                    </td>
                    <td class="right">{count(request.prompt_tokens)}</td>
                    <td class="right">{count(request.cached_tokens)}</td>
                    <td class="right">{count(request.computed_tokens)}</td>
                    <td class="right">{count(request.output_tokens)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
    </section>
  );
}

function Tree({ state: { runs, runs_total: total, counters } }: { readonly state: SchedulerState }) {
  const shown = joined(runs);
  const longest = Math.max(1, ...shown.map(({ tokens }) => tokens));
  return (
    <section>
      <h2>Prefix cache</h2>
      <p class="soft">
        {plural(counters["lockedTokens"] ?? 0, "token")} held by requests,{" "}
        {count(counters["evictableTokens"])} free to be evicted; {count(counters["freePages"])} of{" "}
        {plural(counters["totalPages"] ?? 0, "page")} empty; {count(counters["cachedTokensTotal"])} of{" "}
        {plural(counters["promptTokensTotal"] ?? 0, "prompt token")} came from here
      </p>
      <ul class="runs" tabIndex={0} aria-label="Radix tree">
        {shown.map((run, i) => <Run key={i} run={run} longest={longest} />)}
      </ul>
      {total > runs.length && <p class="soft">and {count(total - runs.length)} more</p>}
    </section>
  );
}

/** Runs that continue each other without a branch, held by the same requests, as one: a prompt comes in chunks. */
function joined(runs: readonly CachedRun[]): readonly CachedRun[] {
  const children = new Map<number, number>();
  const parents: number[] = [];
  const above: number[] = [];
  runs.forEach(({ depth }, i) => {
    parents[i] = depth === 0 ? -1 : above[depth - 1]!;
    above[depth] = i;
    children.set(parents[i]!, (children.get(parents[i]!) ?? 0) + 1);
  });
  const shown: CachedRun[] = [];
  const place: number[] = [];
  runs.forEach((run, i) => {
    const parent = parents[i]!;
    const upper = runs[parent];
    if (upper !== undefined && children.get(parent) === 1 && upper.locks === run.locks) {
      const at = place[i] = place[parent]!;
      shown[at] = { ...shown[at]!, tokens: shown[at]!.tokens + run.tokens };
      return;
    }
    place[i] = shown.length;
    shown.push({ ...run, depth: upper === undefined ? 0 : shown[place[parent]!]!.depth + 1 });
  });
  return shown;
}

/** A run: a bar as long as its tokens, on a logarithmic scale, below the one it continues. */
function Run(
  { run: { depth, tokens, locks, hits }, longest }: { readonly run: CachedRun; readonly longest: number },
) {
  const share = Math.log2(tokens + 1) / Math.log2(longest + 1);
  return (
    <li class={locks > 0 ? "locked" : undefined} style={{ marginInlineStart: `${Math.min(depth, 12)}rem` }}>
      <span class="bar" style={{ width: `${(share * 8).toFixed(2)}rem` }} aria-hidden="true" />
      <span>
        <span class="unseen">level {depth + 1}:</span>
        {plural(tokens, "token")} · {plural(locks, "lock")} · {plural(hits, "hit")}
      </span>
    </li>
  );
}

// The figures of several schedulers, or engines, as those of one: at a time, or one after the other.

import type { EngineStats } from "../../engine/engine.ts";
import {
  type SchedulerCounters,
  type SchedulerState,
  type SchedulerTotals,
  zeroTotals,
} from "../../engine/scheduler/config.ts";

type Key = keyof SchedulerCounters;

/** Totals and sizes added up; of what is no amount, the page size and the slowest step's time. At least one. */
export function sumCounters(all: readonly SchedulerCounters[]): SchedulerCounters {
  const sum = { ...all[0]! };
  for (const counters of all.slice(1)) {
    for (const key of Object.keys(sum) as Key[]) sum[key] += counters[key];
  }
  return {
    ...sum,
    pageSize: all[0]!.pageSize,
    stepMilliseconds: Math.max(...all.map(({ stepMilliseconds }) => stepMilliseconds)),
  };
}

/** Of a scheduler that is not there, and has never done anything. */
export function atRest(pageSize: number): SchedulerCounters {
  return {
    runningRequests: 0,
    queuedRequests: 0,
    freePages: 0,
    totalPages: 0,
    pageSize,
    usedTokens: 0,
    lockedTokens: 0,
    evictableTokens: 0,
    ...zeroTotals,
    generationThroughput: 0,
    stepMilliseconds: 0,
  };
}

/** `sizes` with the totals of all of `parts` instead of its own. */
export function addTotals(
  sizes: SchedulerCounters,
  ...parts: readonly SchedulerCounters[]
): SchedulerCounters {
  return withTotals(sizes, (key) => parts.reduce((sum, part) => sum + part[key], 0));
}

/** Of two looks at one scheduler the later one, key by key: which came first is not known. */
export function largerTotals(a: SchedulerCounters, b: SchedulerCounters): SchedulerCounters {
  return withTotals(b, (key) => Math.max(a[key], b[key]));
}

function withTotals(
  sizes: SchedulerCounters,
  total: (key: keyof SchedulerTotals) => number,
): SchedulerCounters {
  const totals = Object.keys(zeroTotals) as (keyof SchedulerTotals)[];
  return { ...sizes, ...Object.fromEntries(totals.map((key) => [key, total(key)])) };
}

/** All requests and all trees, one behind the other. At least one. */
export function joinStates(all: readonly SchedulerState[]): SchedulerState {
  return {
    counters: sumCounters(all.map(({ counters }) => counters)),
    requests: all.flatMap(({ requests }) => requests),
    runs: all.flatMap(({ runs }) => runs),
    runsTotal: all.reduce((sum, { runsTotal }) => sum + runsTotal, 0),
  };
}

/** Restarts and queues added up. */
export function addStats(all: readonly EngineStats[]): EngineStats {
  const sum = (of: (stats: EngineStats) => number) => all.reduce((total, stats) => total + of(stats), 0);
  return {
    restarts: {
      tokenizer: sum(({ restarts }) => restarts.tokenizer),
      detokenizer: sum(({ restarts }) => restarts.detokenizer),
    },
    tokenizerQueue: sum(({ tokenizerQueue }) => tokenizerQueue),
    tokenized: sum(({ tokenized }) => tokenized),
    tokenizerSeconds: sum(({ tokenizerSeconds }) => tokenizerSeconds),
    counters: null,
  };
}

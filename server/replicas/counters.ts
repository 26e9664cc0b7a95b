// The figures of several schedulers, or engines, as those of one.

import type { EngineStats } from "../../engine/engine.ts";
import type { SchedulerCounters, SchedulerState } from "../../engine/scheduler/config.ts";

/** Totals and sizes added up; of what is no amount, the page size and the slowest step's time. At least one. */
export function sumCounters(all: readonly SchedulerCounters[]): SchedulerCounters {
  const sum = { ...all[0]! };
  for (const counters of all.slice(1)) {
    for (const key of Object.keys(sum) as (keyof SchedulerCounters)[]) sum[key] += counters[key];
  }
  return {
    ...sum,
    pageSize: all[0]!.pageSize,
    stepMilliseconds: Math.max(...all.map(({ stepMilliseconds }) => stepMilliseconds)),
  };
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
export function sumStats(all: readonly EngineStats[]): EngineStats {
  const sum = (of: (stats: EngineStats) => number) => all.reduce((total, stats) => total + of(stats), 0);
  return {
    restarts: {
      tokenizer: sum(({ restarts }) => restarts.tokenizer),
      detokenizer: sum(({ restarts }) => restarts.detokenizer),
    },
    tokenizerQueue: sum(({ tokenizerQueue }) => tokenizerQueue),
    tokenized: sum(({ tokenized }) => tokenized),
    tokenizerSeconds: sum(({ tokenizerSeconds }) => tokenizerSeconds),
  };
}

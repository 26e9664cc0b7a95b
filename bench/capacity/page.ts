// The page of simulated fleets: tables and plots as in the other reports.

import { figure } from "../common/table.ts";
import type { ReplaySummary } from "../online/replay.ts";
import { heading, htmlTable, legend, page, paragraph, section } from "../report/page.ts";
import { linePlot, rangePlot } from "../report/plots.ts";

/** One fleet at one rate. */
export interface SimulatedRun extends ReplaySummary {
  readonly rate: number;
  readonly servers: number;
  readonly routing: string;
  readonly utilisation: readonly number[];
}

/** What `simulate` writes. */
export interface CapacityResult {
  readonly model: string;
  readonly device: string;
  readonly source: string;
  readonly runs: readonly SimulatedRun[];
}

/** The whole document. */
export function capacityPage({ model, device, source, runs }: CapacityResult): string {
  const fleets = [...new Set(runs.map(fleetOf))];
  const of = (fleet: string) => runs.filter((run) => fleetOf(run) === fleet);
  const rates = [...new Set(runs.map(({ rate }) => rate))];
  const lines = (value: (run: SimulatedRun) => number) =>
    fleets.map((name) => ({
      name,
      points: of(name).map((run) => [run.rate, value(run)] as const).filter(([, y]) => Number.isFinite(y)),
    })).filter(({ points }) => points.length > 0);
  const plot = (title: string, yLabel: string, value: (run: SimulatedRun) => number) => [
    heading(title),
    linePlot({ title, xLabel: "requests per second", yLabel, series: lines(value) }),
  ];
  const ranges = (title: string, latency: "time_to_first_token_ms" | "inter_token_latency_ms") => [
    heading(title),
    legend(fleets, "From the median (dot) to the 99th percentile:"),
    rangePlot({
      title,
      unit: "ms",
      groups: rates.map((rate) => ({
        name: `${figure(rate)} requests/s`,
        ranges: runs.filter((run) => run.rate === rate && run[latency].p50 > 0).map((run) => ({
          ...run[latency],
          name: fleetOf(run),
          series: fleets.indexOf(fleetOf(run)) % 5,
        })),
      })),
    }),
  ];
  return page(`radish: capacity of ${model}`, [
    paragraph(`A simulation: radish's scheduler in virtual time, on ${device}. Times: ${source}.`),
    section(
      "Fleets",
      htmlTable(
        [
          "fleet",
          "requests/s",
          "busiest",
          "hit rate",
          "output tokens/s",
          "first token p99 ms",
          "end to end p99 ms",
        ],
        runs.map((run) => [
          fleetOf(run),
          figure(run.rate),
          `${(Math.max(...run.utilisation) * 100).toFixed(0)} %`,
          `${(run.cache_hit_rate * 100).toFixed(0)} %`,
          figure(run.output_tokens_per_second),
          figure(run.time_to_first_token_ms.p99),
          figure(run.end_to_end_ms.p99),
        ]),
      ),
      ...ranges("Time to the first token", "time_to_first_token_ms"),
      ...ranges("Time between tokens", "inter_token_latency_ms"),
      ...plot("Throughput", "output tokens/s", (run) => run.output_tokens_per_second),
      ...plot("Prompt tokens from the cache", "%", (run) => run.cache_hit_rate * 100),
    ),
  ]);
}

function fleetOf({ servers, routing }: SimulatedRun): string {
  return servers === 1 ? "1 server" : `${servers} servers, ${routing}`;
}

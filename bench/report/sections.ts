// What the report says about each kind of result.

import { median } from "../common/statistics.ts";
import { figure } from "../common/table.ts";
import { reaches } from "../suite/reach.ts";
import { heading, htmlTable, legend, paragraph, section, verbatim } from "./page.ts";
import { linePlot, type Range, rangePlot, type Series, shareGrid } from "./plots.ts";
import type {
  KernelsResult,
  OfflineResult,
  OnlineResult,
  OtherResult,
  PeersResult,
  Result,
  SuiteResult,
} from "./results.ts";

/** The section of one result. */
export function resultSection(result: Result | OtherResult): string {
  switch (result.kind) {
    case "suite":
      return suiteSection(result);
    case "offline":
      return offlineSection(result);
    case "online":
      return onlineSection(result);
    case "peers":
      return peersSection(result);
    case "kernels":
      return kernelsSection(result);
    case "other":
      return section(result.file, verbatim(JSON.stringify(result.json, null, 2)));
  }
}

function taken({ environment, device }: Pick<SuiteResult, "environment" | "device">): string {
  const { date, commit, processor, cores, gpus } = environment;
  const driver = gpus[0] ? `, driver ${gpus[0].driver}` : "";
  return paragraph(
    `${device}${driver}; ${processor}, ${cores} cores; commit ${commit ?? "unknown"}; ${
      date.slice(0, 16).replace("T", " ")
    } UTC`,
  );
}

function suiteSection(result: SuiteResult): string {
  const figures = result.parts.flatMap((part) => part.figures);
  const compared = figures.some(({ name }) => name in reaches);
  const bad = result.parts.filter(({ status }) => status !== "ok");
  return section(
    `Every figure: ${result.device}`,
    taken(result),
    compared
      ? htmlTable(["figure", "radish", "llama.cpp", "reach", "of reach"], figures.map(comparedRow))
      : htmlTable(
        ["figure", "radish"],
        figures.map(({ name, value, unit }) => [name, rateText(value, unit)]),
      ),
    ...(compared
      ? [paragraph("llama.cpp: its CUDA build on an H200; reach: what radish aims at there.")]
      : []),
    ...bad.map(({ name, status, problem }) => paragraph(`${name}: ${status}: ${problem}`)),
    ...decodePlots(figures),
  );
}

type Figure = SuiteResult["parts"][number]["figures"][number];

function comparedRow({ name, value, unit }: Figure): string[] {
  const { peer = null, reach = null } = reaches[name] ?? {};
  const share = reach === null ? "" : `${(value / reach * 100).toFixed(0)} %`;
  return [name, rateText(value, unit), peer ?? "", reach === null ? "" : figure(reach), share];
}

function rateText(value: number, unit: string): string {
  return `${figure(value)} ${unit}`.trim();
}

/** Throughput against batch size, a plot per model with more than one size. */
function decodePlots(figures: readonly Figure[]): string[] {
  const points = figures.flatMap(({ name, value }) => {
    const match = /^(.+): decode, (\d+) sequences?, context (\d+)(, no overlap)?$/.exec(name);
    if (match === null) return [];
    const [, model, size, context, plain] = match;
    return [{
      model: model!,
      context: context!,
      size: Number(size),
      value,
      plain: plain !== undefined,
      name,
    }];
  });
  const models = [...new Set(points.map(({ model }) => model))];
  return models.flatMap((model) => {
    const own = points.filter((point) => point.model === model);
    const line = (name: string, plain: boolean): Series => ({
      name,
      points: own.filter((point) => point.plain === plain).map(({ size, value }) => [size, value] as const),
    });
    const peer: Series = {
      name: "llama.cpp CUDA, H200",
      points: own.flatMap(({ size, name }) => {
        const text = reaches[name]?.peer ?? null;
        return text === null ? [] : [[size, Number(text.replaceAll(",", ""))] as const];
      }),
    };
    const series = [line("radish", false), line("radish, no overlap", true), peer].filter(({ points }) =>
      points.length > 1
    );
    if (series.length === 0) return [];
    return [
      heading(`${model}: decode throughput against sequences at once, context ${own[0]!.context}`),
      linePlot({ title: `${model}: decode throughput`, xLabel: "sequences", yLabel: "tokens/s", series }),
    ];
  });
}

function offlineSection(result: OfflineResult): string {
  const { prompt_tokens, output_tokens } = result.runs[0]!;
  return section(
    `Offline throughput: ${result.model}`,
    taken(result),
    paragraph(
      `${result.workload.requests} requests at once, ${figure(prompt_tokens)} tokens in, ${
        figure(output_tokens)
      } out.`,
    ),
    htmlTable(
      ["overlap", "seconds", "output tokens/s", "all tokens/s", "steps", "device busy"],
      result.runs.map((run) => [
        run.overlap ? "on" : "off",
        figure(run.seconds),
        figure(run.output_tokens_per_second),
        figure(run.total_tokens_per_second),
        figure(run.steps),
        `${(run.busy_share * 100).toFixed(1)} %`,
      ]),
    ),
  );
}

function onlineSection(result: OnlineResult): string {
  const caches = [...new Set(result.runs.map(({ cache }) => cache))];
  const groups = [...Map.groupBy(result.runs, (run) => paceName(run.workload, run.pace))];
  const plot = (title: string, of: (run: OnlineResult["runs"][number]) => Range) => {
    const drawn = groups.map(([name, runs]) => ({
      name,
      ranges: runs.map((run) => ({ ...of(run), name: run.cache, series: caches.indexOf(run.cache) }))
        .filter(({ p50 }) => p50 > 0),
    })).filter(({ ranges }) => ranges.length > 0);
    return drawn.length === 0 ? [] : [heading(title), rangePlot({ title, unit: "ms", groups: drawn })];
  };
  return section(
    `Serving under load: ${result.model}`,
    taken(result),
    htmlTable(
      ["workload", "cache", "done", "left out", "hit rate", "requests/s", "output tokens/s"],
      result.runs.map((run) => [
        paceName(run.workload, run.pace),
        run.cache,
        `${run.done} of ${run.requests}`,
        figure(run.left_out),
        `${(run.cache_hit_rate * 100).toFixed(0)} %`,
        figure(run.requests_per_second),
        figure(run.output_tokens_per_second),
      ]),
    ),
    legend(
      caches,
      "Dot: median; ticks: 90th and 99th percentile; from when a request was due. Prefix cache:",
    ),
    ...plot("Time to first token", (run) => run.time_to_first_token_ms),
    ...plot("Between tokens", (run) => run.inter_token_latency_ms),
    ...plot("End to end", (run) => run.end_to_end_ms),
  );
}

function paceName(workload: string, pace: number): string {
  if (workload === "poisson") return `Poisson, ${figure(pace)} a second`;
  const name = /^[a-z]+/i.exec(workload)?.[0] ?? workload;
  return `${/azure/i.test(workload) ? "Azure" : name} trace, speed ${figure(pace)}`;
}

function peersSection(result: PeersResult): string {
  const { radish, llama, peer, shape, environment } = result;
  const rate = (runs: PeersResult["radish"], what: string, size: number) =>
    median(
      runs.flatMap(({ measurements }) =>
        measurements.filter((each) => each.what === what && each.size === size)
          .map(({ tokens_per_second }) => tokens_per_second)
      ),
    );
  return section(
    `Beside ${peer}: ${shape.split("/").at(-1)}`,
    taken({ environment, device: radish[0]!.device }),
    htmlTable(
      ["tokens/s", "radish", peer, "ratio"],
      radish[0]!.measurements.map(({ what, size }) => {
        const ours = rate(radish, what, size), theirs = rate(llama, what, size);
        const name = what === "prefill" ? `prefill, ${size} tokens` : `decode, ${size} at once`;
        return [name, figure(ours), figure(theirs), figure(ours / theirs)];
      }),
    ),
  );
}

function kernelsSection(result: KernelsResult): string {
  const { read, f32, f16, dispatch } = result.ceilings;
  const grids = [...Map.groupBy(result.kernels, ({ shape }) => shape)].flatMap(([shape, times]) => {
    // Kernels whose sizes are counted in the same unit share a grid.
    const units = Map.groupBy(times, ({ size }) => unitOf(size));
    return [...units].flatMap(([unit, times]) => {
      const sizes = [...new Set(times.map(({ size }) => size))];
      const rows = [...Map.groupBy(times, ({ kernel }) => kernel)].map(([name, own]) => ({
        name,
        cells: sizes.map((size) => {
          const time = own.find((each) => each.size === size);
          if (time === undefined) return null;
          const { microseconds, gigabytes_per_second, teraflops, share } = time;
          const rates = `${figure(gigabytes_per_second)} GB/s, ${figure(teraflops)} TFLOP/s`;
          return { share, note: `${figure(microseconds)} µs, ${rates}` };
        }),
      }));
      const title = `${shape}: share of the ceiling by ${unit}`;
      const columns = sizes.map((size) => size.replace(/ rows?$| tokens?$/, ""));
      return [heading(title), shareGrid({ title, columns, rows })];
    });
  });
  return section(
    "Kernels against their ceilings",
    taken(result),
    paragraph(
      `Measured in the same run: reads ${figure(read)} GB/s, multiply–adds ${
        figure(f32)
      } TFLOP/s in f32 and ` +
        `${figure(f16)} in packed f16, ${
          figure(dispatch)
        } µs a dispatch. A kernel's floor is the longer of its ` +
        "least bytes and its operations at these rates; the share is that floor over the time taken.",
    ),
    ...grids,
  );
}

function unitOf(size: string): string {
  if (/ at /.test(size)) return "sequences at context";
  return /tokens?$/.test(size) ? "tokens" : "rows";
}

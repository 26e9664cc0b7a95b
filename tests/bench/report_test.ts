// The report from hand-made results: everything that was measured is on the page, and nothing that could run.

import assert from "node:assert/strict";
import { report } from "../../bench/report.ts";
import { spread } from "../../bench/report/plots.ts";
import { parseResult, readResult } from "../../bench/report/results.ts";
import { linearScale, logScale } from "../../bench/report/svg.ts";

const environment = {
  date: "2026-11-23T12:34:56.000Z",
  commit: "abcdef123",
  processor: "<script>alert(1)</script>",
  cores: 16,
  gpus: [{ name: "NVIDIA H200", driver: "580.159" }],
};
const latency = { mean: 3, p50: 2, p90: 5, p99: 40 };
const onlineRun = {
  requests: 10,
  done: 9,
  left_out: 1,
  cache_hit_rate: 0.75,
  output_tokens_per_second: 321,
  requests_per_second: 3.5,
  time_to_first_token_ms: latency,
  inter_token_latency_ms: latency,
  end_to_end_ms: latency,
};
const figure = (name: string, value: number) => ({ name, value, unit: "tokens/s" });
const measurements = (
  rate: number,
) => [{ what: "decode", size: 4, tokens_per_second: rate, milliseconds: 1 }];
const results = {
  suite: {
    kind: "suite",
    environment,
    device: "H200",
    parts: [
      {
        name: "decode",
        status: "ok",
        problem: null,
        figures: [
          figure("qwen3-0.6b: decode, 1 sequence, context 128", 812),
          figure("qwen3-0.6b: decode, 8 sequences, context 128", 4100),
        ],
      },
      { name: "8b", status: "failed", problem: "no memory", figures: [] },
    ],
  },
  offline: {
    kind: "offline",
    environment,
    model: "small",
    device: "H200",
    workload: { requests: 256 },
    runs: [{
      overlap: true,
      seconds: 10,
      prompt_tokens: 142827,
      output_tokens: 133966,
      output_tokens_per_second: 13396.6,
      total_tokens_per_second: 27679,
      steps: 1500,
      busy_share: 0.97,
    }],
  },
  online: {
    kind: "online",
    environment,
    model: "small",
    device: "H200",
    runs: [
      { ...onlineRun, workload: "poisson", pace: 4, cache: "radix" },
      { ...onlineRun, workload: "poisson", pace: 4, cache: "naive" },
      { ...onlineRun, workload: "AzureTrace.csv", pace: 2, cache: "radix" },
    ],
  },
  peers: {
    kind: "peers",
    environment,
    shape: "bench/shapes/qwen3-0.6b",
    peer: "llama.cpp (node-llama-cpp 3)",
    workload: { context: 128 },
    radish: [{ device: "CPU", measurements: measurements(30) }, {
      device: "CPU",
      measurements: measurements(34),
    }],
    llama: [{ device: "CPU", measurements: measurements(16) }],
  },
  kernels: {
    environment,
    device: "H200",
    ceilings: { read: 4550, f32: 59.5, f16: 132, dispatch: 2 },
    kernels: [1, 8].map((rows) => ({
      shape: "qwen3-0.6b",
      kernel: "linear 4096×1024",
      size: `${rows} row${rows > 1 ? "s" : ""}`,
      microseconds: 5,
      gigabytes_per_second: 1700,
      teraflops: 2,
      share: rows === 1 ? 0.61 : 0.43,
    })),
  },
};

const parse = (value: unknown) => parseResult(JSON.stringify(value));
const count = (text: string, pattern: RegExp) => text.match(pattern)?.length ?? 0;

Deno.test("every kind of result is on the page with its figures, its date, driver and commit", () => {
  const html = report(Object.values(results).map(parse));
  for (
    const text of ["812 tokens/s", "81 %", "675", "8b: failed: no memory", "13,397", "97.0 %", "142,827"]
  ) {
    assert.ok(html.includes(text), text);
  }
  for (
    const text of [
      "Poisson, 4 a second",
      "Azure trace, speed 2",
      "9 of 10",
      "75 %",
      "61 %",
      "43 %",
      "<td>2</td>",
    ]
  ) {
    assert.ok(html.includes(text), text);
  }
  for (const text of ["2026-11-23 12:34 UTC", "driver 580.159", "abcdef123"]) {
    assert.equal(html.split(text).length - 1, 5, text); // once in each section
  }
  // Three plots of latency with three runs each; a line of radish and one of llama.cpp with two points each.
  assert.equal(count(html, /<circle /g), 3 * 3 + 2 * 2);
  assert.equal(count(html, /<rect class="cell"/g), 2);
});

Deno.test("the page runs nothing, loads nothing and shows no text as markup", () => {
  const html = report(Object.values(results).map(parse));
  assert.doesNotMatch(html, /<script|https?:|<link|<img|@import|url\(/);
  assert.ok(html.includes("&lt;script&gt;"));
});

Deno.test("results of an unknown kind or with a field of the wrong type are refused", () => {
  assert.throws(() => parse({ kind: "other" }));
  assert.throws(() => parse({ ...results.offline, runs: "none" }), /not a result/);
  assert.throws(() => parse({ environment }), /not a result/);
  assert.throws(() => parseResult("{"), SyntaxError);
});

Deno.test("every result file of the repository is on the page, those without plots as they are", async () => {
  const folder = new URL("../../bench/results/", import.meta.url);
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) =>
    name.endsWith(".json")
  );
  const read = await Promise.all(
    names.map(async (name) => readResult(await Deno.readTextFile(new URL(name, folder)), name)),
  );
  const others = read.filter(({ kind }) => kind === "other");
  assert.ok(others.length > 0 && others.length < names.length);
  const html = report([...read, readResult('{ "kind": "new", "text": "<b>" }', "new.json")]);
  assert.equal(count(html, /<section>/g), names.length + 1);
  assert.ok(html.includes("&lt;b&gt;"));
  assert.throws(() => readResult(JSON.stringify({ ...results.offline, runs: "none" }), "x"), /not a result/);
});

Deno.test("a run in which nothing finished has no place in the plots and does not break them", () => {
  const nothing = { mean: null, p50: null, p90: null, p99: null };
  const run = {
    ...results.online.runs[0],
    done: 0,
    time_to_first_token_ms: nothing,
    inter_token_latency_ms: nothing,
  };
  const html = report([parse({ ...results.online, runs: [{ ...run, end_to_end_ms: nothing }] })]);
  assert.equal(count(html, /<circle /g), 0);
  assert.ok(html.includes("0 of 10"));
  assert.doesNotMatch(html, /NaN/);
});

Deno.test("axes end at round numbers that cover the values", () => {
  const linear = linearScale(14_359, 0, 100);
  assert.deepEqual(linear.ticks, [0, 5000, 10_000, 15_000]);
  assert.equal(linear(15_000), 100);
  const log = logScale([3, 40], 0, 100);
  assert.deepEqual(log.ticks, [1, 10, 100]);
  assert.equal(log(10), 50);
  assert.deepEqual(logScale([10, 10], 0, 1).ticks, [10, 100]);
});

Deno.test("labels move apart and keep their order", () => {
  assert.deepEqual(spread([10, 12, 50], 5), [10, 15, 50]);
  assert.deepEqual(spread([12, 10], 5), [15, 10]);
});

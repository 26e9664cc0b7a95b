// The online benchmark against the real server with the embedded model, and its sums by hand.

import assert from "node:assert/strict";
import { replay, summarize } from "../../bench/online/replay.ts";
import { runDeno } from "./program.ts";

Deno.test("a run's figures are those of its finished requests", () => {
  const arrivals = [0, 1, 2, 4].map((at) => ({ at, ids: [1], outputTokens: 2 }));
  const done = (total: number, cachedTokens: number) => ({
    status: "done" as const,
    firstToken: total / 2,
    total,
    betweenTokens: [total / 2],
    inputTokens: 10,
    outputTokens: 2,
    cachedTokens,
  });
  const summary = summarize(
    [done(100, 0), done(300, 8), { status: "refused", code: 429, message: "full" }, { status: "unfinished" }],
    arrivals,
    5,
  );
  assert.deepEqual(
    [summary.requests, summary.done, summary.refused, summary.failed, summary.unfinished],
    [4, 2, 1, 0, 1],
  );
  assert.equal(summary.first_problem, "full");
  assert.equal(summary.offered_requests_per_second, 1);
  assert.equal(summary.output_tokens_per_second, 4 / 5);
  assert.equal(summary.cache_hit_rate, 8 / 20);
  assert.equal(summary.end_to_end_ms.p50, 200);
  assert.equal(summary.time_to_first_token_ms.mean, 100);
});

/** Answers /generate with these chunks of tokens, one event each. */
function stub(chunks: readonly number[], status = 200) {
  return Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    await request.text();
    if (status !== 200) return new Response('{"error": {"message": "no"}}', { status });
    let count = 0;
    const events = chunks.map((chunk) => {
      count += chunk;
      const info = { prompt_tokens: 5, completion_tokens: count, cached_tokens: 3 };
      return `data: ${JSON.stringify({ output_ids: [], meta_info: info })}\n\n`;
    });
    return new Response([": keep-alive\n\n", ...events, "data: [DONE]\n\n"].join(""));
  });
}

Deno.test("tokens are counted however a server bundles them, and an answer too short is a failure", async () => {
  const server = stub([1, 3, 2]);
  const url = `http://127.0.0.1:${server.addr.port}`;
  const arrival = (outputTokens: number) => ({ at: 0, ids: [1, 2, 3, 4, 5], outputTokens });
  const good = await replay(url, [arrival(6), arrival(6)], 60);
  assert.deepEqual([good.done, good.failed], [2, 0]);
  assert.equal(good.cache_hit_rate, 3 / 5);
  const short = await replay(url, [arrival(7)], 60);
  assert.deepEqual([short.done, short.failed, short.first_problem], [0, 1, "6 tokens, not 7"]);
  await server.shutdown();
});

Deno.test("refused requests and an absent server are counted, not thrown", async () => {
  const server = stub([], 429);
  const arrivals = [{ at: 0, ids: [1], outputTokens: 1 }];
  const refused = await replay(`http://127.0.0.1:${server.addr.port}`, arrivals, 60);
  assert.deepEqual([refused.done, refused.refused], [0, 1]);
  await server.shutdown();
  const absent = await replay("http://127.0.0.1:1", arrivals, 60);
  assert.deepEqual([absent.done, absent.failed], [0, 1]);
});

Deno.test("requests that are due after the limit count as unfinished, and nobody waits for them", async () => {
  const summary = await replay("http://127.0.0.1:1", [{ at: 3600, ids: [1], outputTokens: 1 }], 0.05);
  assert.deepEqual([summary.requests, summary.unfinished], [1, 1]);
});

Deno.test("the benchmark serves Poisson arrivals and a trace, with the prefix cache and without", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const line = (i: number) =>
      JSON.stringify({ timestamp: 0, input_length: 1024, output_length: 64, hash_ids: [0, i] });
    await Deno.writeTextFile(`${folder}/trace.jsonl`, [1, 2, 3].map(line).join("\n"));
    const { code, stdout, stderr } = await runDeno(
      ["bench/online.ts", "--json", "--model", "models/pocket", "--device", "cpu", "--threads", "1"],
      ["--rates", "50", "--count", "5", "--min", "4", "--max", "12", "--shared", "64"],
      ["--traces", folder, "--scale", "0.125", "--out", `${folder}/online.json`],
    );
    assert.equal(code, 0, stderr);
    const result = JSON.parse(stdout);
    assert.deepEqual(JSON.parse(await Deno.readTextFile(`${folder}/online.json`)), result);
    const runs: { workload: string; cache: string; done: number; cache_hit_rate: number }[] = result.runs;
    assert.deepEqual(runs.map(({ workload, cache, done }) => [workload, cache, done]), [
      ["poisson", "radix", 5],
      ["trace.jsonl", "radix", 3],
      ["poisson", "naive", 5],
      ["trace.jsonl", "naive", 3],
    ]);
    assert.ok(runs.filter(({ cache }) => cache === "naive").every((run) => run.cache_hit_rate === 0));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

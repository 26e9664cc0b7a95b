// Sizes from committed figures: the profile made from single steps against a throughput that was measured by itself.

import assert from "node:assert/strict";
import {
  conversations,
  dailyUsers,
  h100,
  largestRate,
  profileFromFigures,
} from "../../../bench/capacity/sizing.ts";
import { readShape } from "../../../bench/capacity/size_command.ts";
import { simulate } from "../../../bench/capacity/simulate.ts";
import { offlineWorkload } from "../../../bench/common/workload.ts";
import { parseResult } from "../../../bench/report/results.ts";
import { root } from "../../../tools/contents.ts";
import { plainProfile } from "./profiles.ts";

async function committed(model: string) {
  const path = `${root}/bench/results/mini-sglang-2026-11-27-nvidia-h100-${model}.json`;
  const result = parseResult(await Deno.readTextFile(path));
  assert.ok(result.kind === "peers");
  return profileFromFigures(result, await readShape(result.shape), h100);
}

// bench/results/2026-11-27-nvidia-h100-cuda.md: 256 requests at once, of which the profile's figures know nothing.
for (const [model, measured] of [["qwen3-8b", 7192], ["qwen3-0.6b", 19_245]] as const) {
  Deno.test(`${model}: single steps predict the throughput of the offline workload within 15 %`, async () => {
    const profile = await committed(model);
    const { vocabSize } = profile.config;
    const requests = offlineWorkload({ requests: 256, minTokens: 100, maxTokens: 1024, seed: 0, vocabSize });
    const arrivals = requests.map(({ ids, outputTokens }) => ({ at: 0, ids: [...ids], outputTokens }));
    const { summary } = simulate({ profile, servers: 1, routing: "prefix", seed: 0 }, arrivals);
    assert.equal(summary.done, 256);
    const share = summary.output_tokens_per_second / measured;
    assert.ok(Math.abs(share - 1) < 0.15, `${summary.output_tokens_per_second} tokens/s, not ${measured}`);
  });
}

Deno.test("the largest rate is one that a device without batching could carry by arithmetic", () => {
  // 0.1 ms a prompt token, and answers cost nothing: mean own part and instructions are about 1,481 tokens, of which
  // no cache holds any, so that 6.75 requests a second are all there can be.
  const profile = plainProfile({ "prompt token": 0.1 }, { config: { cache: "naive", contextLength: 8192 } });
  const target = { firstToken: 60_000, betweenTokens: 60_000 };
  const size = largestRate({ profile, servers: 1, routing: "prefix", seed: 0, target })!;
  assert.ok(size.utilisation > 0.9);
  const strict = largestRate({
    profile,
    servers: 1,
    routing: "prefix",
    seed: 0,
    target: { ...target, firstToken: 1500 },
  })!;
  assert.ok(strict.rate < 6.75 && strict.rate < size.rate, `${strict.rate}, ${size.rate}`);
  assert.equal(
    largestRate({ profile, servers: 1, routing: "prefix", seed: 0, target: { ...target, firstToken: 1 } }),
    null,
  );
});

Deno.test("conversations have the lengths that they are said to have", () => {
  const arrivals = conversations({ rate: 10, count: 4000, vocabSize: 1000, seed: 3 });
  const mean = (of: (each: typeof arrivals[number]) => number) =>
    arrivals.reduce((sum, each) => sum + of(each), 0) / arrivals.length;
  assert.ok(Math.abs(mean(({ ids }) => ids.length) - 512 - 969) < 40);
  assert.ok(Math.abs(mean(({ outputTokens }) => outputTokens) - 232) < 10);
  assert.ok(Math.abs(arrivals.at(-1)!.at - 400) < 20);
});

Deno.test("a million people with ten requests each send 347 a second at three times the mean", () => {
  const rate = 1e6 * 10 / 86_400 * 3;
  assert.equal(Math.round(rate), 347);
  assert.equal(Math.round(dailyUsers(rate, { requestsPerUser: 10, peak: 3 })), 1e6);
});

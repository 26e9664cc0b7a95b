import assert from "node:assert/strict";
import { runDeno } from "./program.ts";

Deno.test("the replicas benchmark sends the same requests to one engine and to two, and counts their hits", async () => {
  const { code, stdout, stderr } = await runDeno(
    ["bench/replicas.ts", "--json", "--device", "cpu", "--threads", "1"],
    [
      "--groups",
      "4",
      "--requests",
      "12",
      "--concurrency",
      "4",
      "--shared",
      "64",
      "--own",
      "16",
      "--tokens",
      "4",
    ],
  );
  assert.equal(code, 0, stderr);
  const { runs } = JSON.parse(stdout);
  assert.deepEqual(runs.map(({ dp }: { dp: number }) => dp), [1, 2]);
  const [one, two] = runs;
  assert.deepEqual([one.requests, two.requests], [[12], [6, 6]]);
  assert.equal(one.hit_rate, 12 * 64 / (16 * 80));
  assert.equal(two.hit_rate, one.hit_rate);
  assert.ok(two.output_tokens_per_second > 0);
  assert.equal(two.busy.engines.length, 2);
  for (const share of [...two.busy.engines, two.busy.client]) assert.ok(share > 0 && share < 1.5, `${share}`);
  if (Deno.build.os === "linux") assert.ok(two.busy.front > 0 && two.busy.front < 1.5, `${two.busy.front}`);
});

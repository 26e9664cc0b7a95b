// The offline benchmark on the embedded model's shape: small, but all of it.

import assert from "node:assert/strict";
import { runDeno } from "./program.ts";

Deno.test("the offline benchmark generates every token of the workload, with and without overlap", async () => {
  const { code, stdout, stderr } = await runDeno(
    ["bench/offline.ts", "--model", "models/pocket", "--device", "cpu", "--threads", "1", "--json"],
    ["--requests", "6", "--min", "4", "--max", "24"],
  );
  assert.equal(code, 0, stderr);
  const { kind, model, workload, runs, environment } = JSON.parse(stdout);
  assert.equal(kind, "offline");
  assert.equal(model, "pocket");
  assert.deepEqual(workload, { requests: 6, minTokens: 4, maxTokens: 24, seed: 0 });
  assert.deepEqual(runs.map(({ overlap }: { overlap: boolean }) => overlap), [true, false]);
  for (const run of runs) {
    assert.ok(run.output_tokens >= 24 && run.output_tokens <= 144);
    assert.equal(run.output_tokens, runs[0].output_tokens);
    assert.ok(run.steps >= 24 / 2 && run.prefill_steps >= 1 && run.prefill_steps <= run.steps);
    assert.ok(run.seconds > 0 && run.busy_share > 0 && run.busy_share <= 1.01);
    assert.ok(Math.abs(run.output_tokens / run.seconds / run.output_tokens_per_second - 1) < 1e-9);
  }
  assert.ok(environment.date && environment.cores > 0);
});

Deno.test("a wrong option is named, and nothing is started", async () => {
  const { code, stderr } = await runDeno(["bench/offline.ts", "--requests", "none"]);
  assert.equal(code, 1);
  assert.match(stderr, /--requests is a whole number/);
});

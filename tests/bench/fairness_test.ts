import assert from "node:assert/strict";
import { runDeno } from "./program.ts";

const small = ["--count", "2", "--pause", "0", "--generations", "4", "--tokens", "40", "--prompt", "5"];

Deno.test("the fairness benchmark compares an idle server with one that another client keeps busy", async () => {
  const { code, stdout, stderr } = await runDeno(
    ["bench/fairness.ts", "--json", "--device", "cpu", "--threads", "1", "--max-running-requests", "2"],
    small,
  );
  assert.equal(code, 0, stderr);
  const { model, idle_ms: idle, busy_ms: busy, ratio } = JSON.parse(stdout);
  assert.equal(model, "pocket");
  assert.ok(idle.p50 > 0 && idle.max >= idle.p50 && busy.max >= busy.p50);
  assert.equal(ratio, busy.p50 / idle.p50);
});

Deno.test("the fairness benchmark fails when a client's first token comes later than allowed", async () => {
  const { code, stderr } = await runDeno(
    ["bench/fairness.ts", "--device", "cpu", "--threads", "1", "--most", "0.001"],
    small,
  );
  assert.equal(code, 1);
  assert.match(stderr, /times later beside a busy client; 0.001 is the most/);
});

import assert from "node:assert/strict";
import { Suspensions } from "../../bench/soak/suspensions.ts";
import { runDeno } from "./program.ts";

Deno.test("a soak of six seconds finds nothing wrong, and keeps its figures", async () => {
  const out = await Deno.makeTempFile({ suffix: ".json" });
  try {
    const { code, stdout, stderr } = await runDeno(["bench/soak.ts", "--minutes", "0.1", "--out", out]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /\d+ requests, 0 faults, \d+ suspensions, 0 problems/);
    const { requests, faults, problems, memory_mib: memory } = JSON.parse(await Deno.readTextFile(out));
    assert.deepEqual([faults, problems], [0, []]);
    assert.ok(requests > 0 && memory.early > 0 && memory.late > 0);
  } finally {
    await Deno.remove(out);
  }
});

Deno.test("a clock that has gone on without the soak's own ticks is a suspension", () => {
  const now = performance.now;
  using suspensions = new Suspensions();
  try {
    const before = now.call(performance);
    assert.equal(suspensions.since(before), false);
    performance.now = () => now.call(performance) + 60_000;
    assert.equal(suspensions.since(before), true);
    assert.equal(suspensions.count, 1);
    assert.ok(suspensions.total >= 60_000 && suspensions.total < 70_000);
    assert.equal(suspensions.since(performance.now() + 1), false, "nothing since");
  } finally {
    performance.now = now;
  }
});

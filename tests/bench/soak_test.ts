import assert from "node:assert/strict";
import { runDeno } from "./program.ts";

Deno.test("a soak of six seconds finds nothing wrong", async () => {
  const { code, stdout, stderr } = await runDeno(["bench/soak.ts", "--minutes", "0.1"]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /\d+ requests, 0 faults, 0 problems/);
});

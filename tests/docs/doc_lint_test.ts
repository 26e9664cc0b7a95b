import assert from "node:assert/strict";
import { lintDocs } from "../../tools/doc_lint.ts";

Deno.test("the interfaces that others use are documented, with explicit types", async () => {
  const findings = await lintDocs();
  assert.deepEqual(findings.map(({ file, line, message }) => `${file}:${line}: ${message}`), []);
});

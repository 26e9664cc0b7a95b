import assert from "node:assert/strict";
import { lintDocs } from "../../tools/doc_lint.ts";

Deno.test("every exported symbol is documented, with explicit types", async () => {
  const findings = await lintDocs();
  assert.deepEqual(findings.map(({ file, line, message }) => `${file}:${line}: ${message}`), []);
});

// Markdown in pieces. The parser is one of the page's packages, so a program with the page's configuration runs it.

import assert from "node:assert/strict";

Deno.test("an answer that comes in pieces has the blocks that its whole text has", async () => {
  const config = decodeURIComponent(new URL("../../../server/page/deno.json", import.meta.url).pathname);
  const cases = decodeURIComponent(new URL("markdown_cases.ts", import.meta.url).pathname);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--no-lock", "--config", config, cases],
    env: { NO_COLOR: "1" },
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
});

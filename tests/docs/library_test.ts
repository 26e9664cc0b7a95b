// The README's program that embeds the engine runs as it stands there.

import assert from "node:assert/strict";
import { root } from "../../tools/contents.ts";

Deno.test("the README's program that embeds the engine answers", async () => {
  const readme = await Deno.readTextFile(`${root}/README.md`);
  const program = /```ts\n([^]*?)```/.exec(readme)?.[1] ?? "";
  assert.ok(program.includes("engine/mod.ts"));
  assert.ok(program.trim().split("\n").length <= 10, "ten lines");
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "-"],
    cwd: root,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(program));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  assert.match(new TextDecoder().decode(stdout).replaceAll("\n", ""), /71/);
});

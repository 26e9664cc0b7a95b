// `radish launch`: what an agent is told, and that it is run. A shell script stands in for the agent here; the real
// ones are in tests/e2e/agents_test.ts.

import assert from "node:assert/strict";
import { tools } from "../../../server/cli/launch.ts";
import { radish } from "../../e2e/radish.ts";
import { FakeEngine } from "../http/fake_engine.ts";
import { onLoopback } from "../http/loopback.ts";

const served = { url: "http://127.0.0.1:8000", model: "org/model-1", contextLength: 40_960, key: "s3cret" };

Deno.test("every agent is told where the server is, what it serves, its context and its key", () => {
  for (const [name, tool] of Object.entries(tools)) {
    const { command, args, env } = tool(served);
    assert.equal(command, name);
    const told = [...args, ...Object.values(env)].join("\n");
    for (const each of [served.url, served.model, String(served.contextLength), served.key]) {
      assert.ok(told.includes(each), `${name} is not told ${each}`);
    }
    const unknown = tool({ ...served, contextLength: null });
    assert.ok(![...unknown.args, ...Object.values(unknown.env)].join("\n").includes("null"), name);
  }
});

Deno.test("a dry run prints commands for a shell, with what the server that runs says of itself", async () => {
  await using server = onLoopback(new FakeEngine(undefined, { id: "it's" }), { apiKeys: ["s3cret"] });
  const wanted = ["--url", `${server.url}/`, "--api-key", "s3cret", "--dry-run"];
  const { code, stdout } = await radish(["launch", "claude", ...wanted, "--", "-p", "hello there"]);
  assert.equal(code, 0);
  const shell = await new Deno.Command("sh", {
    args: [
      "-c",
      `claude() { printf '%s|' "$@"; }\n${stdout}\nprintf '\\n%s %s %s' "$ANTHROPIC_BASE_URL" ` +
      '"$ANTHROPIC_MODEL" "$CLAUDE_CODE_MAX_CONTEXT_TOKENS"',
    ],
  }).output();
  assert.equal(new TextDecoder().decode(shell.stdout), `-p|hello there|\n${server.url} it's 4096`);
});

Deno.test("the agent runs with the environment, its own arguments and its own exit code", async () => {
  await using server = onLoopback(new FakeEngine());
  const folder = await Deno.makeTempDir();
  const script = '#!/bin/sh\necho "$ANTHROPIC_BASE_URL $ANTHROPIC_MODEL $*"\nexit 7\n';
  await Deno.writeTextFile(`${folder}/claude`, script, { mode: 0o755 });
  const env = { PATH: `${folder}:${Deno.env.get("PATH")}` };
  const { code, stdout } = await radish(["launch", "claude", "--url", server.url, "--", "-p", "x"], { env });
  await Deno.remove(folder, { recursive: true });
  assert.equal(stdout, `${server.url} fake -p x\n`);
  assert.equal(code, 7);
});

Deno.test("what cannot be launched is one line, and the exit code says whose fault it is", async () => {
  await using server = onLoopback(new FakeEngine(), { apiKeys: ["s3cret"] });
  const cases: [string[], number, RegExp][] = [
    [["vim"], 2, /launch needs one of claude, codex, opencode, not "vim"/],
    [["claude", "--url", "http://127.0.0.1:9"], 1, /no server answers at http:\/\/127\.0\.0\.1:9/],
    [["claude", "--url", server.url], 1, /wants a key/],
    [["codex", "--url", server.url, "--api-key", "s3cret"], 1, /codex is not installed, or not on the PATH/],
  ];
  for (const [args, expected, message] of cases) {
    const { code, stderr } = await radish(["launch", ...args], { env: { PATH: "/nonexistent" } });
    assert.equal(code, expected, stderr);
    assert.match(stderr, message);
    assert.equal(stderr.trim().split("\n").length, 1);
  }
});

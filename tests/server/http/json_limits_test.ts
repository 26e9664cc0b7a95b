import assert from "node:assert/strict";
import { isSmall, jsonProblem } from "../../../server/http/json_limits.ts";
import { httpLimits } from "../../../server/http/limits.ts";
import { createApp } from "../../../server/http/app.ts";
import { errorOf, post } from "./client.ts";
import { FakeEngine } from "./fake_engine.ts";

const nested = (depth: number) => '{"a":'.repeat(depth) + "1" + "}".repeat(depth);

Deno.test("nesting, keys and values of a JSON text are bounded, and what stands in strings does not count", () => {
  assert.equal(jsonProblem(nested(httpLimits.jsonDepth)), null);
  assert.match(jsonProblem(nested(httpLimits.jsonDepth + 1))!, /nested deeper than 64 levels/);
  assert.match(jsonProblem('{"a":1}'.repeat(httpLimits.jsonKeys + 1))!, /more than 65536 keys/);
  assert.match(jsonProblem("[" + "1,".repeat(httpLimits.jsonValues + 1) + "1]")!, /more than 262144 values/);
  assert.equal(jsonProblem(JSON.stringify("[{,:".repeat(1e6) + '\\"')), null);
});

Deno.test("the size of a value counts its texts, its keys and 8 for each value", () => {
  assert.ok(isSmall({ ab: "cde" }, 8 + 2 + 8 + 3));
  assert.ok(!isSmall({ ab: "cde" }, 8 + 2 + 8 + 2));
  assert.ok(!isSmall(Array(1e6).fill(0), 1000));
});

Deno.test("arguments of a tool call in the conversation are JSON in JSON, and bounded like the body", async () => {
  const app = createApp(new FakeEngine(), { logFormat: "none" });
  const send = (args: string) =>
    post(app, "/v1/chat/completions", {
      messages: [
        { role: "user", content: "x" },
        { role: "assistant", tool_calls: [{ function: { name: "f", arguments: args } }] },
      ],
    });
  for (const depth of [65, 3_000, 100_000]) {
    const error = await errorOf(await send(nested(depth)));
    assert.equal(error.param, "messages[1].tool_calls[0].function.arguments");
    assert.match(error.message, /nested deeper than 64 levels/);
  }
  const fine = await send(nested(60));
  assert.equal(fine.status, 200);
  await fine.body?.cancel();
});

Deno.test("tools and template arguments are bounded before anything renders them", async () => {
  const engine = new FakeEngine();
  const app = createApp(engine, { logFormat: "none" });
  const messages = [{ role: "user", content: "x" }];
  const tool = { type: "function", function: { name: "f", description: "d".repeat(10_000) } };
  const tools = await errorOf(
    await post(app, "/v1/chat/completions", { messages, tools: Array(128).fill(tool) }),
  );
  assert.deepEqual([tools.param, tools.code], ["tools", "too_large"]);
  const kwargs = { x: "y".repeat(100_000) };
  const args = await errorOf(
    await post(app, "/v1/chat/completions", { messages, chat_template_kwargs: kwargs }),
  );
  assert.deepEqual([args.param, args.code], ["chat_template_kwargs", "too_large"]);
  assert.equal(engine.requests.length, 0);
});

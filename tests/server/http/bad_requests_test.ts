// Ten thousand wrong requests: whatever a client sends, the answer is its own fault's, and the next one works.

import assert from "node:assert/strict";
import fc from "fast-check";
import { type App, createApp } from "../../../server/http/app.ts";
import { base, errorOf, post } from "./client.ts";
import { FakeEngine } from "./fake_engine.ts";

const maxBodyBytes = 8192;

/** A request that is right; the mutations below make it wrong. */
const good: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "/v1/chat/completions": {
    model: "fake",
    messages: [
      { role: "system", content: "be kind" },
      { role: "user", content: [{ type: "text", text: "x" }] },
      {
        role: "assistant",
        content: null,
        tool_calls: [{ id: "a", function: { name: "f", arguments: "{}" } }],
      },
      { role: "tool", tool_call_id: "a", content: "y" },
    ],
    tools: [{ type: "function", function: { name: "f", description: "d", parameters: { type: "object" } } }],
    tool_choice: { type: "function", function: { name: "f" } },
    temperature: 1,
    top_p: 0.5,
    top_k: 3,
    min_p: 0.1,
    n: 2,
    stop: ["a", "b"],
    seed: 3,
    presence_penalty: 1,
    frequency_penalty: 1,
    repetition_penalty: 1,
    logit_bias: { "3": 1 },
    logprobs: true,
    top_logprobs: 2,
    max_tokens: 3,
    min_tokens: 1,
    stop_token_ids: [1],
    ignore_eos: false,
    skip_special_tokens: true,
    stream: false,
    user: "u",
    chat_template_kwargs: { a: 1 },
    response_format: { type: "text" },
  },
  "/v1/completions": {
    model: "fake",
    prompt: ["x", "y"],
    max_tokens: 3,
    echo: true,
    logprobs: 1,
    n: 2,
    best_of: 2,
    stop: "z",
    seed: 1,
    stream: true,
    stream_options: { include_usage: true },
  },
  "/generate": {
    input_ids: [[1, 2], [3]],
    sampling_params: { max_new_tokens: 3, temperature: 0, n: 1, stop: ["q"], top_k: -1 },
    return_logprob: [true, false],
    top_logprobs_num: 1,
    logprob_start_len: 0,
    rid: ["a", "b"],
    stream: false,
  },
  "/tokenize": { prompt: "x", add_special_tokens: true },
  "/detokenize": { tokens: [1, 2], skip_special_tokens: false },
  "/abort_request": { rid: "a" },
};
const paths = Object.keys(good);

type Json = unknown;

/** A value that is hardly ever what is expected. */
const odd = fc.oneof(
  fc.constantFrom<Json>(null, true, false, "", "x", [], {}, [[]], [null], { a: {} }, [{}], "\ud800", "\0"),
  fc.constantFrom<Json>(-1, 0, 1.5, 2 ** 31, 2 ** 53, -(2 ** 63), 1e308, -1e308, 1e-320, 999999),
  fc.array(fc.oneof(fc.integer(), fc.string()), { maxLength: 20 }),
  fc.json({ maxDepth: 3 }).map((text) => JSON.parse(text) as Json),
  fc.string({ maxLength: 40 }),
  fc.double({ noNaN: true }),
  fc.integer({ min: 1, max: 40 }).map((depth): Json => {
    let value: Json = 1;
    for (let i = 0; i < depth; i++) value = i % 2 ? [value] : { a: value };
    return value;
  }),
);

/** Every place in a value, as a list of keys. */
function places(value: Json, prefix: readonly (string | number)[] = []): (string | number)[][] {
  if (typeof value !== "object" || value === null) return [[...prefix]];
  const inner = Object.entries(value).flatMap(([key, each]) =>
    places(each, [...prefix, Array.isArray(value) ? Number(key) : key])
  );
  return [[...prefix], ...inner];
}

function replaced(value: Json, place: readonly (string | number)[], by: Json): Json {
  const [key, ...rest] = place;
  if (key === undefined) return by;
  if (Array.isArray(value)) return value.map((each, i) => i === key ? replaced(each, rest, by) : each);
  const object = { ...value as Record<string, Json> };
  if (by === undefined && rest.length === 0) delete object[key];
  else object[key] = replaced(object[key], rest, by);
  return object;
}

interface BadRequest {
  readonly path: string;
  readonly body: string | Uint8Array<ArrayBuffer>;
  readonly headers: Record<string, string>;
}

const json = { "content-type": "application/json" };
const path = fc.constantFrom(...paths);

const badRequest: fc.Arbitrary<BadRequest> = fc.oneof(
  // One or two fields replaced, or left out.
  {
    weight: 8,
    arbitrary: path.chain((path) => {
      const change = fc.record({
        place: fc.constantFrom(...places(good[path])),
        value: fc.oneof({ weight: 5, arbitrary: odd }, { weight: 1, arbitrary: fc.constant(undefined) }),
      });
      return fc.array(change, { minLength: 1, maxLength: 2 }).map((changes) => {
        let body: Json = good[path];
        for (const { place, value } of changes) {
          try {
            body = replaced(body, place, value);
          } catch {
            // The first change took the second one's place away.
          }
        }
        return { path, body: JSON.stringify(body) ?? "", headers: json };
      });
    }),
  },
  // Cut off, with bytes changed, or not UTF-8.
  {
    weight: 2,
    arbitrary: fc.tuple(path, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.boolean()).map(
      ([path, at, byte, cut]) => {
        const bytes = new TextEncoder().encode(JSON.stringify(good[path]));
        bytes[at % bytes.length] = byte;
        return { path, body: cut ? bytes.slice(0, at % bytes.length) : bytes, headers: json };
      },
    ),
  },
  // Nested too deep, too large, or other bytes altogether.
  fc.tuple(path, fc.integer({ min: 65, max: 4000 })).map(([path, depth]) => ({
    path,
    body: `{"messages": ${"[".repeat(depth)}${"]".repeat(depth)}}`,
    headers: json,
  })),
  fc.tuple(path, fc.integer({ min: 1, max: 9000 })).map(([path, more]) => ({
    path,
    body: JSON.stringify({ ...good[path], user: "u".repeat(maxBodyBytes + more) }),
    headers: json,
  })),
  fc.tuple(path, fc.uint8Array({ maxLength: 100 })).map(([path, bytes]) => ({
    path,
    body: new Uint8Array(bytes),
    headers: json,
  })),
  // Another content type, or header values that no client should send.
  fc.tuple(
    path,
    fc.constantFrom("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", "/"),
  )
    .map(([path, type]) => ({ path, body: JSON.stringify(good[path]), headers: { "content-type": type } })),
  fc.tuple(
    path,
    fc.constantFrom("host", "origin", "authorization", "x-request-id", "content-length", "accept"),
    fc.stringMatching(/^[\x21-\x7e]{1,300}$/),
  ).map(([path, name, value]) => ({
    path,
    body: JSON.stringify(good[path]),
    headers: { ...json, [name]: value },
  })),
);

async function send(app: App, { path, body, headers }: BadRequest): Promise<number> {
  const response = await app.fetch(new Request(base + path, { method: "POST", headers, body }));
  if (response.status >= 400) {
    const error = await errorOf(response);
    assert.equal(typeof error.message, "string");
    assert.ok(error.message.length < 2000);
  } else {
    assert.doesNotMatch(await response.text(), /internal error/);
  }
  return response.status;
}

Deno.test("the requests that are made wrong here are right to begin with", async () => {
  const app = createApp(new FakeEngine(), { logFormat: "none", maxBodyBytes });
  for (const path of paths) {
    const response = await post(app, path, good[path]);
    assert.equal(response.status, 200, `${path}: ${await response.text()}`);
  }
});

Deno.test("10,000 bad requests: no 5xx, no hang, and the next good request works", async () => {
  const engine = new FakeEngine();
  const lines: string[] = [];
  const app = createApp(engine, { maxBodyBytes, log: (line) => lines.push(line), logFormat: "none" });
  const counts: Record<number, number> = {};
  let sent = 0;
  await fc.assert(
    fc.asyncProperty(badRequest, async (request) => {
      const status = await send(app, request);
      assert.ok(status < 500, `${status} for ${request.path} ${request.body}`);
      counts[status] = (counts[status] ?? 0) + 1;
      if (++sent % 100 === 0) assert.equal((await post(app, "/generate", good["/generate"])).status, 200);
    }),
    { seed: 3, numRuns: 10_000, endOnFailure: true },
  );
  // Most of them really are bad, in every way there is.
  assert.ok((counts[400] ?? 0) > 5000, JSON.stringify(counts));
  for (const status of [403, 404, 413]) assert.ok((counts[status] ?? 0) > 0, JSON.stringify(counts));
  assert.deepEqual(lines, [], "nothing unexpected was logged");
  await app.service.drain();
  assert.equal(engine.live.size, 0);
});

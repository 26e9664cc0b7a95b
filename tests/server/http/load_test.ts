// Many requests at once through a real socket: a tenth go away in the middle, a tenth are malformed. Every answer is
// right or a proper error, and afterwards nothing is left. RADISH_LOAD_REQUESTS=1000 RADISH_LOAD_CONCURRENCY=64 is
// the full measure; latencies and memory are printed.

import assert from "node:assert/strict";
import { listen } from "../../../server/http/server.ts";
import { startPocket } from "./pocket.ts";

const requests = Number(Deno.env.get("RADISH_LOAD_REQUESTS") ?? 120);
const concurrency = Number(Deno.env.get("RADISH_LOAD_CONCURRENCY") ?? 32);

/** mulberry32 */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const malformed: readonly [string, number][] = [
  ["{", 400],
  ['{"messages": 3}', 400],
  [
    '{"messages": [{"role": "user", "content": "x"}], "temperature": "hot"}',
    400,
  ],
  ['{"messages": [{"role": "user", "content": "x"}], "model": "nobody"}', 404],
  [
    JSON.stringify({
      messages: [{ role: "user", content: "word ".repeat(3000) }],
    }),
    400,
  ],
];

interface Outcome {
  readonly kind: "right" | "aborted" | "refused";
  readonly firstTokenMs: number | null;
}

Deno.test(`${requests} requests at ${concurrency}: all right or properly refused, and nothing left behind`, async () => {
  await using pocket = await startPocket();
  const server = listen(pocket.app, { hostname: "127.0.0.1", port: 0 });
  const next = random(5);
  const post = (body: string, signal?: AbortSignal) =>
    fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
      ...(signal ? { signal } : {}),
    });

  async function whole(question: string, expected: string): Promise<Outcome> {
    const response = await post(
      JSON.stringify({ messages: [{ role: "user", content: question }] }),
    );
    const { choices } = await response.json();
    assert.equal(choices[0].message.content, expected);
    return { kind: "right", firstTokenMs: null };
  }

  async function streamed(
    question: string,
    expected: string,
  ): Promise<Outcome> {
    const begun = performance.now();
    const response = await post(
      JSON.stringify({
        messages: [{ role: "user", content: question }],
        stream: true,
      }),
    );
    let text = "", rest = "", firstTokenMs: number | null = null;
    for await (
      const part of response.body!.pipeThrough(new TextDecoderStream())
    ) {
      const events = (rest + part).split("\n\n");
      rest = events.pop()!;
      for (const event of events) {
        if (!event.startsWith("data: {")) continue;
        const chunk = JSON.parse(event.slice(6));
        assert.equal(chunk.error, undefined);
        const content = chunk.choices[0].delta.content ?? "";
        if (content !== "") firstTokenMs ??= performance.now() - begun;
        text += content;
      }
    }
    assert.equal(text, expected);
    return { kind: "right", firstTokenMs };
  }

  async function aborted(): Promise<Outcome> {
    const controller = new AbortController();
    const messages = [{
      role: "user",
      content: "Tell me a story about a fox named Ida.",
    }];
    const parts = Math.floor(next() * 5);
    try {
      const response = await post(
        JSON.stringify({
          messages,
          stream: true,
          ignore_eos: true,
          max_tokens: 1500,
        }),
        controller.signal,
      );
      const reader = response.body!.getReader();
      for (let i = 0; i < parts; i++) await reader.read();
    } finally {
      controller.abort();
    }
    return { kind: "aborted", firstTokenMs: null };
  }

  async function refused(): Promise<Outcome> {
    const [body, status] = malformed[Math.floor(next() * malformed.length)]!;
    const response = await post(body);
    assert.equal(response.status, status);
    assert.equal(typeof (await response.json()).error.message, "string");
    return { kind: "refused", firstTokenMs: null };
  }

  function one(): Promise<Outcome> {
    const kind = next();
    if (kind < 0.1) return aborted();
    if (kind < 0.2) return refused();
    const a = Math.floor(next() * 50), count = 3 + Math.floor(next() * 5);
    const numbers = Array.from({ length: count }, (_, i) => a + i);
    const question = `Count from ${a} to ${a + count - 1}.`,
      expected = `${numbers.join(", ")}.`;
    return kind < 0.6 ? streamed(question, expected) : whole(question, expected);
  }

  const outcomes: Outcome[] = [];
  let begun = 0;
  const memory: number[] = [];
  await Promise.all(Array.from({ length: concurrency }, async () => {
    while (begun < requests) {
      begun++;
      outcomes.push(await one());
      if (outcomes.length % Math.ceil(requests / 10) === 0) {
        memory.push(Deno.memoryUsage().rss / 2 ** 20);
      }
    }
  }));
  await pocket.app.service.drain();

  const count = (kind: Outcome["kind"]) => outcomes.filter((each) => each.kind === kind).length;
  assert.equal(outcomes.length, requests);
  for (const kind of ["right", "aborted", "refused"] as const) {
    assert.ok(count(kind) > 0, kind);
  }
  let counters = await pocket.engine.counters();
  // The last step in flight still holds rows of aborted requests.
  while (counters.runningRequests > 0) {
    counters = await pocket.engine.counters();
  }
  assert.equal(counters.queuedRequests, 0);
  assert.equal(counters.usedTokens, 0);
  assert.equal(counters.lockedTokens, 0);
  assert.equal(
    counters.freePages * counters.pageSize + counters.evictableTokens,
    counters.totalPages * counters.pageSize,
  );
  assert.equal(pocket.app.service.runningRequests, 0);
  await server.shutdown(1000);

  const times = outcomes.flatMap((each) => each.firstTokenMs ?? []).sort((
    a,
    b,
  ) => a - b);
  const quantile = (q: number) =>
    Math.round(
      times[Math.min(times.length - 1, Math.floor(q * times.length))]!,
    );
  console.log(
    `${requests} requests at ${concurrency}: ${count("right")} right, ${count("aborted")} aborted, ${
      count("refused")
    } ` +
      `refused; time to first token p50 ${quantile(0.5)} ms, p99 ${quantile(0.99)} ms; ` +
      `memory ${
        memory.map((each) => each.toFixed(0)).join(" ")
      } MiB; ${pocket.engine.model.device.description}`,
  );
});

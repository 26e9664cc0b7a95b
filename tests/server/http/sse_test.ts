// Event streams by themselves: what is written when, and how much is asked for.

import assert from "node:assert/strict";
import { event, eventAround, type StreamHooks, streamResponse } from "../../../server/http/sse.ts";
import { TurnEnd } from "../../../server/http/turn_end.ts";

function hooks(more: Partial<StreamHooks> = {}): StreamHooks {
  return {
    turnEnd: new TurnEnd(),
    keepAliveMs: 10_000,
    halfClosed: null,
    onCancel: () => {},
    onEnd: () => {},
    ...more,
  };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

async function chunksOf(response: Response): Promise<string[]> {
  const chunks: string[] = [];
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) chunks.push(chunk);
  return chunks;
}

Deno.test("events of one turn of the event loop are written together, those of the next ones after them", async () => {
  async function* events() {
    yield "a";
    yield "b";
    for (let i = 0; i < 5; i++) await turn();
    yield "c";
    for (let i = 0; i < 5; i++) await turn();
    yield "d";
    yield "e";
  }
  assert.deepEqual(await chunksOf(await streamResponse(events(), hooks())), ["ab", "c", "de"]);
});

Deno.test("what a worker has sent while the thread was busy is written at once", async () => {
  const { port1, port2 } = new MessageChannel();
  const waiting: string[] = [];
  let wake = () => {};
  port1.onmessage = ({ data }: MessageEvent<string>) => {
    waiting.push(data);
    wake();
  };
  async function* events() {
    for (let i = 0; i <= 20; i++) {
      while (waiting.length === 0) await new Promise<void>((resolve) => wake = resolve);
      yield waiting.shift()!;
    }
  }
  port2.postMessage("first ");
  const response = await streamResponse(events(), hooks());
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  assert.equal((await reader.read()).value, "first ");
  for (let i = 0; i < 20; i++) port2.postMessage(`${i} `); // none is read before this turn of the loop is over
  assert.equal((await reader.read()).value, Array.from({ length: 20 }, (_, i) => `${i} `).join(""));
  assert.equal((await reader.read()).done, true);
  port1.close();
});

Deno.test("a client that does not read is asked for little, and gets everything when it does", async () => {
  let made = 0;
  async function* events() {
    for (; made < 100; made++) yield String(made).padStart(10_000, "-");
  }
  const response = await streamResponse(events(), hooks());
  for (let i = 0; i < 50; i++) await turn();
  assert.ok(made <= 16, `${made} events of 10,000 characters`);
  const text = (await chunksOf(response)).join("");
  assert.equal(text, Array.from({ length: 100 }, (_, i) => String(i).padStart(10_000, "-")).join(""));
});

Deno.test("a failure comes behind all events before it, and the end is told once", async () => {
  const ends: unknown[] = [];
  async function* events() {
    yield "one ";
    yield "two ";
    await turn();
    throw new Error("not for the client");
  }
  const response = await streamResponse(events(), hooks({ onEnd: (error) => ends.push(error) }));
  const text = (await chunksOf(response)).join("");
  assert.match(text, /^one two data: \{"error":.*internal error.*\n\ndata: \[DONE\]\n\n$/s);
  assert.equal(ends.length, 1);
  assert.match(String(ends[0]), /not for the client/);
});

Deno.test("a client that leaves is told of once, and nothing is written any more", async () => {
  const told: string[] = [];
  async function* events() {
    yield "one";
    await new Promise<never>(() => {});
  }
  const response = await streamResponse(
    events(),
    hooks({
      keepAliveMs: 1,
      onCancel: () => told.push("cancel"),
      onEnd: (error) => told.push(`end ${error}`),
    }),
  );
  await response.body!.cancel();
  await turn();
  assert.deepEqual(told, ["cancel", "end null"]);
});

Deno.test("an event that is made around its text is the event, whatever the text and what is around it", () => {
  for (const id of ["x", '"', "\\u0000", '"\\u0000"', "ü\n"]) {
    const valueOf = (text: string) => ({ id, list: [{ text, end: null }] });
    const around = eventAround(valueOf);
    for (const text of ["", "a", '"quoted"\n', "\0", "\ud800", "ü😀"]) {
      assert.equal(around(text), event(valueOf(text)));
    }
  }
});

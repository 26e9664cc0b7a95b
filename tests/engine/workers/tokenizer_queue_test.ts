// The queue in front of the tokenizer, with the worker played by hand.

import assert from "node:assert/strict";
import type { PromptInput, ToTokenizer } from "../../../engine/messages.ts";
import { defaultSamplingParams } from "../../../engine/params.ts";
import { type JobFailure, TokenizerQueue } from "../../../engine/workers/tokenizer_queue.ts";

interface Bench {
  readonly queue: TokenizerQueue;
  readonly sent: ToTokenizer[];
  readonly failed: (readonly [string, JobFailure["code"]])[];
  add(id: string, client?: string, input?: PromptInput): void;
}

function bench(
  options: { mostWaiting?: number; mostText?: number; overdue?: (short: boolean) => void } = {},
): Bench {
  const sent: ToTokenizer[] = [];
  const failed: (readonly [string, JobFailure["code"]])[] = [];
  const queue = new TokenizerQueue({
    mostWaiting: options.mostWaiting ?? 100,
    mostText: options.mostText ?? 1e6,
    budgetMilliseconds: options.overdue ? 20 : 1e6,
    send: (message) => sent.push(message),
    overdue: options.overdue ?? (() => {}),
  });
  return {
    queue,
    sent,
    failed,
    add(id, client = "", input = { type: "text" as const, text: id }) {
      queue.add({
        type: "generate",
        id,
        input,
        params: defaultSamplingParams,
        salt: "",
        client,
        fail: ({ code }) => failed.push([id, code]),
      });
    },
  };
}

const turn = () => new Promise<void>((resolve) => queueMicrotask(resolve));
const idsOf = (message: ToTokenizer) =>
  message.type === "generate" ? message.requests.map(({ id }) => id).join("+") : message.type;

Deno.test("generations that continue one prompt are sent as one message", async () => {
  const { queue, sent, add } = bench();
  const input = { type: "text" as const, text: "x" };
  add("a", "", input);
  add("b", "", input);
  add("c", "", { type: "text", text: "x" });
  await turn();
  assert.deepEqual(sent.map(idsOf), ["a+b", "c"]);
  queue.answered("a");
  assert.equal(queue.length, 2);
  queue.answered("b");
  queue.answered("c");
  assert.equal(queue.length, 0);
  assert.equal(queue.done, 2);
  queue.clear({ type: "error", code: "unavailable", message: "" });
});

Deno.test("clients take turns, and the worker has four messages at a time", async () => {
  const { queue, sent, add } = bench();
  for (let i = 0; i < 6; i++) add(`a${i}`, "a");
  for (let i = 0; i < 2; i++) add(`b${i}`, "b");
  await turn();
  assert.deepEqual(sent.map(idsOf), ["a0", "b0", "a1", "b1"]);
  queue.answered("a0");
  assert.equal(idsOf(sent.at(-1)!), "a2");
  queue.clear({ type: "error", code: "unavailable", message: "" });
});

Deno.test("too many requests, or too much text, is a full queue", async () => {
  const { queue, failed, add } = bench({ mostWaiting: 2, mostText: 10 });
  add("12345678");
  add("too long for what is left");
  add("9");
  add("one too many");
  assert.deepEqual(failed, [["too long for what is left", "queue_full"], ["one too many", "queue_full"]]);
  await turn();
  queue.answered("12345678");
  queue.answered("9");
  add("fits: a text alone may be of any length");
  assert.equal(failed.length, 2);
  queue.clear({ type: "error", code: "unavailable", message: "" });
  assert.equal(queue.length, 0);
});

Deno.test("a request that has not been sent can be taken out, one that has been sent cannot", async () => {
  const { queue, sent, add } = bench();
  for (let i = 0; i < 5; i++) add(`${i}`);
  await turn();
  assert.equal(queue.remove("0"), false);
  assert.equal(queue.remove("4"), true);
  assert.equal(queue.remove("4"), false);
  for (let i = 0; i < 4; i++) queue.answered(`${i}`);
  assert.equal(sent.length, 4);
  assert.equal(queue.length, 0);
});

Deno.test("of a lost worker's requests the one it was busy with fails, and the rest is sent again in order", async () => {
  const { queue, sent, failed, add } = bench();
  for (let i = 0; i < 6; i++) add(`${i}`);
  await turn();
  queue.answered("0");
  queue.lost({ type: "error", code: "unavailable", message: "gone" }, (id) => id === "3" ? null : `${id}'`);
  assert.deepEqual(failed, [["1", "unavailable"], ["3", "unavailable"]]);
  queue.answered("2"); // an answer of the old worker that was on its way means nothing
  assert.equal(queue.length, 3);
  const before = sent.length;
  queue.resume();
  assert.deepEqual(sent.slice(before).map(idsOf), ["2'", "4'", "5"]);
  for (const id of ["2'", "4'", "5"]) queue.answered(id);
  assert.equal(queue.length, 0);
});

Deno.test("a message that takes longer than its budget is reported, and not before it is the oldest", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let overdue = 0;
  const { queue, failed, add } = bench({
    overdue: () => {
      overdue++;
      resolve();
    },
  });
  add("slow");
  add("next");
  await promise;
  queue.lost({ type: "error", code: "invalid", message: "too slow" }, (id) => id);
  assert.equal(overdue, 1);
  assert.deepEqual(failed, [["slow", "invalid"]]);
  queue.clear({ type: "error", code: "unavailable", message: "" });
});

Deno.test("of what is overdue, a short text is not to blame; a long one or one with tools may be", async () => {
  const messages = [{ role: "user" as const, content: "x" }];
  const inputs: [PromptInput, boolean][] = [
    [{ type: "text", text: "x" }, true],
    [{ type: "text", text: "x".repeat(5000) }, false],
    [{ type: "chat", messages }, true],
    [{ type: "chat", messages, tools: [{}] }, false],
  ];
  for (const [input, expected] of inputs) {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const { queue, add } = bench({ overdue: resolve });
    add("slow", "", input);
    assert.equal(await promise, expected);
    queue.clear({ type: "error", code: "unavailable", message: "" });
  }
});

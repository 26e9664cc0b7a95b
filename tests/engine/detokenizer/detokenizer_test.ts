// The detokenizer's bookkeeping: ends of requests, log-probabilities, and requests side by side.

import assert from "node:assert/strict";
import { defaultSamplingParams, type FinishReason, type SamplingParams } from "../../../engine/params.ts";
import { Detokenizer } from "../../../engine/detokenizer/detokenizer.ts";
import type { Delta, TokenUpdate } from "../../../engine/messages.ts";
import { Tokenizer } from "../../../engine/tokenizer/tokenizer.ts";

const tokenizer = await Tokenizer.load(new URL("../../../models/pocket", import.meta.url).pathname);
const end = 2043;
const ids = (text: string) => [...tokenizer.encode(text, false)];

function update(
  tokens: readonly number[],
  finish: FinishReason | null = null,
  rest: Partial<TokenUpdate> = {},
): TokenUpdate {
  return { id: "a", tokens, logprobs: null, promptLogprobs: null, cachedTokens: 3, finish, ...rest };
}

function started(params: Partial<SamplingParams> = {}): Detokenizer {
  const detokenizer = new Detokenizer(tokenizer.vocabulary);
  for (const id of ["a", "b"]) {
    detokenizer.receive({
      type: "start",
      id,
      params: { ...defaultSamplingParams, ...params },
    });
  }
  return detokenizer;
}

function only(detokenizer: Detokenizer, ...updates: TokenUpdate[]): Delta {
  const { deltas } = detokenizer.receive({ type: "updates", updates });
  assert.equal(deltas.length, 1);
  return deltas[0]!;
}

Deno.test("the token that ends the text is counted but not written, even with special tokens shown", () => {
  const delta = only(
    started({ skipSpecialTokens: false }),
    update([...ids("Hi"), end], { type: "stop", matched: end }),
  );
  assert.equal(delta.text, "Hi");
  assert.equal(delta.tokens.at(-1), end);
  assert.equal(delta.cachedTokens, 3);
});

Deno.test("an ignored end of text is written only where special tokens are shown", () => {
  const tokens = [...ids("a"), end, ...ids("b")];
  assert.equal(only(started(), update(tokens)).text, "ab");
  assert.equal(only(started({ skipSpecialTokens: false }), update(tokens)).text, "a<|im_end|>b");
});

Deno.test("a stop string ends the request once: its tokens are cut there and the scheduler hears of it", () => {
  const detokenizer = started({ stop: ["END"] });
  const tokens = ids("one END two");
  const { deltas, stopped } = detokenizer.receive({ type: "updates", updates: [update(tokens)] });
  assert.deepEqual(stopped, ["a"]);
  assert.equal(deltas[0]?.text, "one ");
  assert.deepEqual(deltas[0]?.finish, { type: "stop", matched: "END" });
  assert.ok(deltas[0]!.tokens.length < tokens.length);
  assert.equal(tokenizer.decode(deltas[0]!.tokens, true), "one END");
  // Later updates of it are dropped.
  const later = detokenizer.receive({ type: "updates", updates: [update([5], { type: "length" })] });
  assert.deepEqual(later, { deltas: [], stopped: [] });
});

Deno.test("a stop string in the last step wins over the length, and the scheduler need not be told", () => {
  const updates = [update(ids("x END"), { type: "length" })];
  const { deltas, stopped } = started({ stop: ["END"] }).receive({ type: "updates", updates });
  assert.deepEqual(deltas[0]?.finish, { type: "stop", matched: "END" });
  assert.equal(deltas[0]?.text, "x ");
  assert.deepEqual(stopped, []);
});

Deno.test("what is held back comes out when the request ends otherwise", () => {
  const detokenizer = started({ stop: ["ENDING"] });
  assert.equal(only(detokenizer, update(ids("the END"))).text, "the ");
  const last = only(detokenizer, update([], { type: "abort" }));
  assert.deepEqual([last.text, last.finish], ["END", { type: "abort" }]);
});

Deno.test("log-probabilities carry the tokens' texts and bytes, cut like the tokens", () => {
  const tokens = ids("é END x");
  const logprobs = tokens.map((id) => ({ id, logprob: -0.5, top: [{ id: end, logprob: -2 }] }));
  const prompt = [null, { id: tokens[0]!, logprob: -1, top: [] }];
  const delta = only(started({ stop: ["END"] }), update(tokens, null, { logprobs, promptLogprobs: prompt }));
  assert.equal(delta.logprobs?.length, delta.tokens.length);
  const bytes = delta.logprobs!.flatMap((entry) => entry.bytes);
  assert.equal(new TextDecoder().decode(Uint8Array.from(bytes)), "é END");
  assert.deepEqual(delta.logprobs![0]!.top, [{
    id: end,
    text: "<|im_end|>",
    bytes: [...new TextEncoder().encode("<|im_end|>")],
    logprob: -2,
  }]);
  assert.equal(delta.promptLogprobs?.[0], null);
  assert.equal(delta.promptLogprobs?.[1]?.logprob, -1);
});

Deno.test("requests side by side do not mix, and unknown ones are dropped", () => {
  const detokenizer = started();
  const [a, b] = [ids("Ää"), ids("日本")];
  let texts = { a: "", b: "" };
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const updates = [
      update(a.slice(i, i + 1)),
      update(b.slice(i, i + 1), null, { id: "b" }),
      update([1], null, { id: "c" }),
    ];
    for (const { id, text } of detokenizer.receive({ type: "updates", updates }).deltas) {
      texts = { ...texts, [id]: texts[id as "a" | "b"] + text };
    }
  }
  assert.deepEqual(texts, { a: "Ää", b: "日本" });
});

Deno.test("without a tokenizer ids pass through with empty texts", () => {
  const detokenizer = new Detokenizer(null);
  detokenizer.receive({
    type: "start",
    id: "a",
    params: defaultSamplingParams,
  });
  const logprobs = [{ id: 7, logprob: -1, top: [] }];
  const delta = only(detokenizer, update([7], { type: "length" }, { logprobs }));
  assert.deepEqual([delta.text, delta.tokens, delta.finish], ["", [7], { type: "length" }]);
  assert.deepEqual(delta.logprobs, [{ id: 7, text: "", bytes: [], logprob: -1, top: [] }]);
});

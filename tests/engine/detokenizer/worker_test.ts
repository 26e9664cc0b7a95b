// The detokenizer worker over its real channels.

import assert from "node:assert/strict";
import { defaultSamplingParams, type FinishReason } from "../../../engine/params.ts";
import type {
  Delta,
  DetokenizerAnswer,
  DetokenizerQuestion,
  FromDetokenizer,
  ToDetokenizer,
  TokenUpdate,
  ToScheduler,
} from "../../../engine/messages.ts";
import { Tokenizer } from "../../../engine/tokenizer/tokenizer.ts";
import { PortClient, WorkerClient } from "../worker_client.ts";

const pocket = new URL("../../../models/pocket", import.meta.url).pathname;

function update(id: string, tokens: readonly number[], finish: FinishReason | null = null): TokenUpdate {
  return { id, tokens, logprobs: null, promptLogprobs: null, cachedTokens: 0, finish };
}

async function nextDeltas(main: PortClient<FromDetokenizer, never>): Promise<readonly Delta[]> {
  const message = await main.inbox.next();
  assert.ok(message.type === "deltas");
  return message.deltas;
}

Deno.test("the detokenizer worker streams text, ends at a stop string and tells the scheduler", async () => {
  const tokenizer = await Tokenizer.load(pocket);
  using worker = new WorkerClient<DetokenizerAnswer, DetokenizerQuestion>("engine/detokenizer/worker.ts");
  using main = new PortClient<FromDetokenizer, never>();
  using scheduler = new PortClient<ToScheduler, ToDetokenizer>();
  const ports = { main: main.remote, scheduler: scheduler.remote };
  const ready = await worker.ask({ type: "init", call: 1, modelDir: pocket, ports }, [
    main.remote,
    scheduler.remote,
  ]);
  assert.deepEqual(ready, { type: "ready", call: 1 });

  const params = { ...defaultSamplingParams, stop: ["STOP"] };
  const tokens = [...tokenizer.encode("one two STOP three", false)];
  scheduler.post({ type: "start", id: "a", params });
  scheduler.post({ type: "updates", updates: [update("a", tokens)] });
  const [delta] = await nextDeltas(main);
  assert.equal(delta?.text, "one two ");
  assert.deepEqual(delta?.finish, { type: "stop", matched: "STOP" });
  assert.deepEqual(await scheduler.inbox.next(), { type: "stopped", id: "a" });

  // What still comes for the request is dropped; another request is not disturbed.
  scheduler.post({ type: "start", id: "b", params });
  scheduler.post({
    type: "updates",
    updates: [update("a", tokens, { type: "length" }), update("b", tokens.slice(0, 1), { type: "length" })],
  });
  const deltas = await nextDeltas(main);
  assert.deepEqual(deltas.map(({ id, finish }) => [id, finish]), [["b", { type: "length" }]]);

  // A probe goes through behind everything else.
  scheduler.post({ type: "probe", probe: 5 });
  assert.deepEqual(await main.inbox.next(), { type: "probe", probe: 5 });
});

Deno.test("the detokenizer worker reports a missing tokenizer in one line", async () => {
  using worker = new WorkerClient<DetokenizerAnswer, DetokenizerQuestion>("engine/detokenizer/worker.ts");
  using main = new PortClient<FromDetokenizer, never>();
  using scheduler = new PortClient<ToScheduler, ToDetokenizer>();
  const ports = { main: main.remote, scheduler: scheduler.remote };
  const question = { type: "init" as const, call: 2, modelDir: "/nowhere", ports };
  assert.deepEqual(await worker.ask(question, [main.remote, scheduler.remote]), {
    type: "failed",
    call: 2,
    message: "/nowhere/tokenizer.json: no such file",
  });
});

// The worker entry over real ports, with the fake executor behind one of them.

import assert from "node:assert/strict";
import { defaultSamplingParams } from "../../../engine/params.ts";
import type {
  FromExecutor,
  SchedulerAnswer,
  SchedulerQuestion,
  ToDetokenizer,
  ToExecutor,
  ToScheduler,
} from "../../../engine/messages.ts";
import type { Died } from "../../../engine/workers/death.ts";
import { baseConfig } from "./driver.ts";
import { FakeExecutor } from "./fake_executor.ts";
import { oracle } from "./fake_model.ts";

function startWorker() {
  const worker = new Worker(new URL("../../../engine/scheduler/worker.ts", import.meta.url), {
    type: "module",
  });
  const tokenizer = new MessageChannel(), detokenizer = new MessageChannel(), executor = new MessageChannel();
  const ask = (question: SchedulerQuestion, transfer: Transferable[] = []) => {
    const { promise, resolve } = Promise.withResolvers<SchedulerAnswer>();
    worker.onmessage = ({ data }: MessageEvent<SchedulerAnswer>) => resolve(data);
    worker.postMessage(question, transfer);
    return promise;
  };
  const ports = { tokenizer: tokenizer.port2, detokenizer: detokenizer.port2, executors: [executor.port2] };
  const init = () =>
    ask({ type: "init", call: 1, config: baseConfig, ports }, [
      ports.tokenizer,
      ports.detokenizer,
      ...ports.executors,
    ]);
  const close = () => {
    worker.terminate();
    for (const { port1 } of [tokenizer, detokenizer, executor]) port1.close();
  };
  const send = (message: ToScheduler) => tokenizer.port1.postMessage(message);
  return { worker, ask, init, close, send, executor: executor.port1, detokenizer: detokenizer.port1 };
}

Deno.test("the worker serves requests over its ports and answers questions", async () => {
  const { ask, init, close, send, executor, detokenizer } = startWorker();
  const fake = new FakeExecutor(baseConfig);
  executor.onmessage = ({ data }: MessageEvent<ToExecutor>) => {
    fake.receive(data);
    for (const result of fake.results.splice(0)) {
      executor.postMessage({ type: "result", result } satisfies FromExecutor);
    }
  };
  const params = { ...defaultSamplingParams, maxTokens: 12, temperature: 0, ignoreEos: true };
  const tokens = new Map<string, number[]>();
  const { promise: over, resolve } = Promise.withResolvers<void>();
  let finished = 0;
  detokenizer.onmessage = ({ data }: MessageEvent<ToDetokenizer>) => {
    if (data.type === "start") {
      tokens.set(data.id, []);
      return;
    }
    if (data.type === "probe") return;
    for (const update of data.updates) {
      tokens.get(update.id)!.push(...update.tokens);
      if (update.finish !== null && ++finished === 3) resolve();
    }
  };
  assert.deepEqual(await init(), { type: "ready", call: 1 });
  const prompts = [[1, 2, 3], [4, 5, 6, 7, 8], [9]].map((ids) => Uint32Array.from(ids));
  prompts.forEach((ids, i) => send({ type: "request", id: `${i}`, ids, params, salt: "", client: "" }));
  await over;
  prompts.forEach((ids, i) => {
    assert.deepEqual(tokens.get(`${i}`), oracle(ids, params, 12, [0], baseConfig.vocabSize).tokens);
  });
  const answer = await ask({ type: "counters", call: 2 });
  assert.ok(answer.type === "counters" && answer.call === 2);
  assert.equal(answer.counters.generatedTokensTotal, 36);
  assert.equal(answer.counters.requestsTotal, 3);
  assert.deepEqual(await ask({ type: "flush", call: 3 }), { type: "flushed", call: 3, done: true });
  close();
});

Deno.test("an error inside the worker is its last word to whoever started it", async () => {
  const { worker, init, close, executor } = startWorker();
  await init();
  const { promise, resolve } = Promise.withResolvers<Died>();
  worker.onmessage = ({ data }: MessageEvent<Died>) => resolve(data);
  const result = {
    id: 99,
    tokens: new Uint32Array(0),
    logprobs: new Float32Array(0),
    topCount: 0,
    topTokens: new Uint32Array(0),
    topLogprobs: new Float32Array(0),
    milliseconds: 1,
  };
  executor.postMessage({ type: "result", result } satisfies FromExecutor);
  const { type, message } = await promise;
  assert.equal(type, "died");
  assert.match(message, /result 99/);
  close();
});

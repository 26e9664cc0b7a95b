// The grammar worker behind its client: answers, refusals, and what its death means.

import assert from "node:assert/strict";
import { GrammarClient } from "../../../../engine/grammar/serving/client.ts";
import type { FromGrammar } from "../../../../engine/grammar/serving/messages.ts";
import type { GrammarSource } from "../../../../engine/grammar/source.ts";
import { notedChild } from "../../../../engine/workers/children.ts";
import { allowed } from "../support.ts";

const pocket = new URL("../../../../models/pocket", import.meta.url).pathname;
const { eos_token_id } = JSON.parse(await Deno.readTextFile(`${pocket}/generation_config.json`));
const { vocab_size: vocabSize } = JSON.parse(await Deno.readTextFile(`${pocket}/config.json`));
const eosIds: number[] = [eos_token_id].flat();

/** A client whose answers are waited for one by one. */
function connect(modelDir: string | null) {
  const answers: FromGrammar[] = [];
  let wake = Promise.withResolvers<void>();
  const client = new GrammarClient({ modelDir, vocabSize, eosIds }, (answer) => {
    answers.push(answer);
    wake.resolve();
  });
  const next = async (): Promise<FromGrammar> => {
    while (answers.length === 0) {
      await wake.promise;
      wake = Promise.withResolvers<void>();
    }
    return answers.shift()!;
  };
  const open = (key: number, source: GrammarSource) =>
    client.send({ type: "open", key, grammar: { source, reasoning: false }, tail: new Uint32Array() });
  return { client, next, open, [Symbol.dispose]: () => client[Symbol.dispose]() };
}

Deno.test("an opened grammar is answered with its first mask, a drawn token with the next, the last with its end", async () => {
  using service = connect(pocket);
  service.open(7, { kind: "choice", choices: ["ab"] });
  let answer = await service.next();
  for (let steps = 0; answer.type === "mask"; steps++) {
    assert.ok(steps < 3);
    assert.equal(answer.key, 7);
    assert.equal(answer.mask.length, Math.ceil(vocabSize / 32));
    service.client.send({ type: "accept", key: 7, token: allowed(answer.mask)[0]! });
    answer = await service.next();
  }
  assert.deepEqual(answer, { type: "complete", key: 7 });
});

Deno.test("a refused grammar names its fault, and leaves others as they are", async () => {
  using service = connect(pocket);
  service.open(1, { kind: "regex", pattern: "a*" });
  assert.equal((await service.next()).type, "mask");
  service.open(2, { kind: "json_schema", schema: { properties: { a: { uniqueItems: true } } } });
  const refused = await service.next();
  assert.ok(refused.type === "refused" && refused.code === "invalid" && refused.key === 2);
  assert.match(refused.message, /^uniqueItems at #\/properties\/a/);
  service.open(3, { kind: "regex", pattern: "b" });
  assert.equal((await service.next()).key, 3);
});

Deno.test("a token that the mask forbids ends its request with an error", async () => {
  using service = connect(pocket);
  service.open(1, { kind: "choice", choices: ["x"] });
  const first = await service.next();
  assert.ok(first.type === "mask");
  const forbidden = Array.from({ length: vocabSize }, (_, id) => id)
    .find((id) => !allowed(first.mask).includes(id))!;
  service.client.send({ type: "accept", key: 1, token: forbidden });
  const answer = await service.next();
  assert.ok(answer.type === "refused" && answer.code === "internal");
});

Deno.test("when the worker dies, its requests fail with the reason, and the next grammar starts another one", async () => {
  const folder = await Deno.makeTempDir();
  try {
    using service = connect(folder);
    service.open(1, { kind: "json_object" });
    service.open(2, { kind: "json_object" });
    for (const key of [1, 2]) {
      const answer = await service.next();
      assert.ok(answer.type === "refused" && answer.code === "unavailable");
      assert.equal(answer.key, key);
      assert.match(answer.message, /grammar worker has failed: .*tokenizer\.json/);
    }
    await Deno.copyFile(`${pocket}/tokenizer.json`, `${folder}/tokenizer.json`);
    service.open(3, { kind: "json_object" });
    assert.equal((await service.next()).type, "mask");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("when the worker owes an answer and is silent, its requests fail, and the next grammar starts another one", async () => {
  using service = connect(pocket);
  service.open(1, { kind: "regex", pattern: "[ab]*" });
  const first = await service.next();
  assert.ok(first.type === "mask");
  notedChild("grammar worker")!.inject("stall");
  service.client.send({ type: "accept", key: 1, token: allowed(first.mask)[0]! });
  service.open(2, { kind: "json_object" });
  for (const key of [1, 2]) {
    const answer = await service.next();
    assert.ok(answer.type === "refused" && answer.code === "unavailable" && answer.key === key);
    assert.match(answer.message, /grammar worker has failed: it has not answered for 3 s/);
  }
  service.open(3, { kind: "json_object" });
  assert.equal((await service.next()).type, "mask");
});

Deno.test("without a tokenizer grammars are refused", async () => {
  using service = connect(null);
  service.open(1, { kind: "json_object" });
  const answer = await service.next();
  assert.ok(answer.type === "refused" && answer.code === "invalid");
});

// Structured output through the whole engine, on the embedded model. Registered once per device by the test files
// beside it.

import type { Register } from "../gpu.ts";
import assert from "node:assert/strict";
import { type Completion, Engine } from "../../engine/engine.ts";
import type { Json } from "../../engine/grammar/schema/document.ts";
import type { GrammarSource } from "../../engine/grammar/source.ts";
import { defaultEngineOptions, type EngineOptions } from "../../engine/options.ts";
import { defaultSamplingParams, type SamplingParams } from "../../engine/params.ts";
import type { PromptInput } from "../../engine/messages.ts";
import { SCHEMAS, validator } from "./grammar/schemas.ts";

const pocket = new URL("../../models/pocket", import.meta.url).pathname;

const chat = (content: string): PromptInput => ({ type: "chat", messages: [{ role: "user", content }] });

const schemaSource = (schema: unknown): GrammarSource => ({ kind: "json_schema", schema: schema as Json });

const under = (source: GrammarSource, changes: Partial<SamplingParams> = {}): SamplingParams => ({
  ...defaultSamplingParams,
  maxTokens: 90,
  ...changes,
  grammar: { source, reasoning: false },
});

const essence = ({ text, tokens, finish }: Completion) => ({ text, tokens, finish });

const person = {
  type: "object",
  properties: {
    name: { type: "string", maxLength: 12 },
    age: { type: "integer", minimum: 0, maximum: 120 },
    tags: { type: "array", items: { enum: ["a", "b", "c"] }, maxItems: 3 },
  },
  required: ["name", "age", "tags"],
  additionalProperties: false,
};

/** The counters once no step in flight contains an ended request: at the latest when another request is done. */
async function settled(engine: Engine) {
  await engine.submit({ input: chat("Hello!"), params: { ...defaultSamplingParams, maxTokens: 1 } })
    .complete();
  return await engine.counters();
}

/** The suite on one device; `rounds` texts for each schema. `drawLater` as on a GPU, where nothing is said as the device does. */
export function testStructured(
  device: EngineOptions["device"],
  rounds: number,
  register: Register = Deno.test,
  options: Pick<EngineOptions, "drawLater"> = {},
): void {
  const start = (changes: Partial<EngineOptions> = {}) =>
    Engine.start({ ...defaultEngineOptions, modelDir: pocket, device, ...options, ...changes });
  const name = `${device}${options.drawLater ? ", drawn later" : ""}`;
  const test = (title: string, body: () => Promise<void>) => register(`${name}: ${title}`, body);

  test("every finished output validates, at temperature 1.5 under every schema", async () => {
    await using engine = await start({ contextLength: 256 });
    const runs = Array.from({ length: rounds }, (_, round) => SCHEMAS.map((schema) => ({ schema, round })));
    let finished = 0;
    await Promise.all(
      runs.flat().map(async ({ schema, round }, seed) => {
        const params = under(schemaSource(schema), { temperature: 1.5, seed, minTokens: 4 * (round % 2) });
        const { text, finish } = await engine.submit({ input: chat("Give me an example."), params })
          .complete();
        if (finish.type === "length") return;
        assert.equal(finish.type, "stop", `${JSON.stringify(schema)}: ${JSON.stringify(finish)}`);
        const validate = validator(schema);
        assert.ok(validate(JSON.parse(text)), `${JSON.stringify(schema)} does not allow ${text}`);
        finished++;
      }),
    );
    assert.ok(finished > SCHEMAS.length * rounds / 3, `${finished} of ${runs.flat().length} were finished`);
  });

  test("32 requests at once, half of them constrained, give the same tokens as alone", async () => {
    await using engine = await start();
    const requests = Array.from({ length: 32 }, (_, i) => {
      const changes = {
        seed: i,
        temperature: [0, 0.7, 1.5][i % 3]!,
        maxTokens: 48,
        topK: i % 5 === 0 ? 20 : 0,
        topP: i % 7 === 0 ? 0.9 : 1,
        frequencyPenalty: i % 4 === 1 ? 0.5 : 0,
        logprobs: i % 6 === 1 ? 2 : null,
      };
      const params = i % 2 === 0
        ? { ...defaultSamplingParams, ...changes }
        : under(schemaSource(person), changes);
      return { input: chat(`Tell me about number ${i % 5}.`), params };
    });
    const together = await Promise.all(requests.map((request) => engine.submit(request).complete()));
    for (const [i, request] of requests.entries()) {
      const alone = await engine.submit(request).complete();
      assert.deepEqual(essence(together[i]!), essence(alone), `request ${i}`);
    }
    assert.ok(together.some(({ finish }, i) => i % 2 === 1 && finish.type === "stop"), "some are complete");
    for (const [i, { text, finish }] of together.entries()) {
      if (i % 2 === 1 && finish.type === "stop") assert.ok(validator(person)(JSON.parse(text)), text);
    }
  });

  test("retracted requests go on with the same tokens, constrained or not", async () => {
    const requests = Array.from({ length: 32 }, (_, i) => ({
      input: chat(`Tell me a story, number ${i}.`),
      params: i % 2 === 0
        ? { ...defaultSamplingParams, seed: i, maxTokens: 60, ignoreEos: true }
        : under({ kind: "regex", pattern: "[a-z ]{300}" }, {
          seed: i,
          temperature: 1.5,
          maxTokens: 60,
        }),
    }));
    const complete = async (changes: Partial<EngineOptions>) => {
      await using engine = await start(changes);
      const completions = await Promise.all(requests.map((request) => engine.submit(request).complete()));
      return { completions: completions.map(essence), counters: await settled(engine) };
    };
    const roomy = await complete({});
    const tight = await complete({ numPages: 40, newTokenRatio: 0.1 });
    assert.ok(tight.counters.retractionsTotal > 0, "pages ran out");
    assert.deepEqual(tight.completions, roomy.completions);
    assert.equal(tight.counters.runningRequests, 0);
  });

  test("several constrained choices, an aborted one among them, leave nothing behind", async () => {
    await using engine = await start();
    const input = chat("Give me an example.");
    const source: GrammarSource = { kind: "regex", pattern: "[a-z ]{200}" };
    const generations = Array.from(
      { length: 6 },
      (_, seed) => engine.submit({ input, params: under(source, { seed, temperature: 1, maxTokens: null }) }),
    );
    for await (const delta of generations[0]!) if (delta.text !== "") break;
    const rest = await Promise.all(generations.slice(1).map((generation) => generation.complete()));
    for (const { text, finish } of rest) {
      assert.equal(finish.type, "stop");
      assert.match(text, /^[a-z ]{200}$/);
    }
    assert.equal(new Set(rest.map(({ text }) => text)).size, rest.length);
    assert.equal((await settled(engine)).runningRequests, 0);
  });

  test("an output that can only end is ended, and one that is too long is not called complete", async () => {
    await using engine = await start();
    const say = (source: GrammarSource, changes: Partial<SamplingParams> = {}) =>
      engine.submit({ input: chat("Yes or no?"), params: under(source, changes) }).complete();
    const choice: GrammarSource = { kind: "choice", choices: ["yes", "no"] };
    for (const changes of [{}, { ignoreEos: true }, { minTokens: 10 }]) {
      const { text, finish } = await say(choice, changes);
      assert.match(text, /^(yes|no)$/);
      assert.equal(finish.type, "stop");
    }
    assert.equal((await say({ kind: "regex", pattern: "a{500}" }, { maxTokens: 5 })).finish.type, "length");
    const arrow = await say({ kind: "ebnf", grammar: 'root ::= item ("," item)*\nitem ::= [0-9]+ "→"' }, {
      seed: 1,
    });
    assert.match(arrow.text, /^(\d+→,)*\d*/);
  });

  test("what cannot be enforced is refused by name, and others go on", async () => {
    await using engine = await start();
    const free = engine.submit({ input: chat("Count from 3 to 17."), params: defaultSamplingParams });
    const refused = await Promise.all([
      schemaSource({ type: "object", properties: { a: { type: "string", pattern: "(?<=x)y\\b(" } } }),
      schemaSource({ type: "array", uniqueItems: true }),
      schemaSource({ type: "integer", minimum: 3, maximum: 2 }),
    ].map((source) => engine.submit({ input: chat("x"), params: under(source) }).complete()));
    for (const { finish } of refused) {
      assert.ok(finish.type === "error" && finish.code === "invalid", JSON.stringify(finish));
      assert.match(finish.message, /#/);
    }
    assert.equal((await free.complete()).finish.type, "stop");
  });

  test("a block of thoughts may come first, and has to end where the prompt has begun one", async () => {
    await using engine = await start();
    const source: GrammarSource = { kind: "choice", choices: ["yes", "no"] };
    const say = (text: string, seed: number) =>
      engine.submit({
        input: { type: "text", text },
        params: {
          ...under(source, { seed, temperature: 1.5, maxTokens: 200 }),
          grammar: { source, reasoning: true },
        },
      }).complete();
    for (let seed = 0; seed < 8; seed++) {
      const { text, finish } = await say("Is it so?", seed);
      if (finish.type === "stop") assert.match(text, /^(<think>[^]*<\/think>\n{0,2})?(yes|no)$/);
      const open = await say("Is it so? <think>", seed);
      if (open.finish.type === "stop") assert.match(open.text, /^[^]*<\/think>\n{0,2}(yes|no)$/);
      else assert.equal(open.finish.type, "length");
    }
  });
}

// Structured output over HTTP: every field that asks for it, the official OpenAI client's and the AI SDK's helpers,
// and what is refused. The real engine, the embedded model.

import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject } from "ai";
import type OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { validator } from "../../engine/grammar/schemas.ts";
import { base, errorOf, openai, post } from "./client.ts";
import { startPocket } from "./pocket.ts";

const messages = [{ role: "user" as const, content: "Give me an example." }];

const Person = z.object({
  name: z.string().max(10),
  age: z.int().min(0).max(120),
  pet: z.enum(["cat", "dog"]),
});

const schema = {
  type: "object",
  properties: { city: { type: "string", maxLength: 8 }, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["city", "days"],
  additionalProperties: false,
};

const weather = (strict: boolean) => ({
  type: "function" as const,
  function: { name: "get_weather", description: "The weather", parameters: schema, strict },
});

const clock = { type: "function" as const, function: { name: "get_time", strict: true } };

Deno.test("the official client's parse helper gets what its zod schema says, whole and streaming", async () => {
  await using pocket = await startPocket();
  const { chat } = openai(pocket.app);
  for (let seed = 0; seed < 6; seed++) {
    const request = {
      model: "pocket",
      messages,
      temperature: 1.5,
      seed,
      response_format: zodResponseFormat(Person, "person"),
    };
    const { choices } = await chat.completions.parse(request);
    const person = Person.parse(choices[0]!.message.parsed);
    assert.equal(choices[0]!.finish_reason, "stop");
    const streamed = await chat.completions.stream(request).finalChatCompletion();
    assert.deepEqual(streamed.choices[0]!.message.parsed, person);
  }
});

Deno.test("the AI SDK's generateObject gets what its zod schema says", async () => {
  await using pocket = await startPocket();
  const provider = createOpenAICompatible({
    name: "radish",
    baseURL: `${base}/v1`,
    supportsStructuredOutputs: true,
    fetch: async (url, init) => await pocket.app.fetch(new Request(url, init)),
  });
  const { object } = await generateObject({
    model: provider("pocket"),
    schema: Person,
    prompt: "Give me an example.",
    temperature: 1.2,
    seed: 3,
  });
  Person.parse(object);
});

Deno.test("strict tools, and those that have to be called, have arguments that their schema allows", async () => {
  await using pocket = await startPocket();
  const { chat } = openai(pocket.app);
  const validate = validator(schema);
  let called = 0;
  const check = (answer: OpenAI.ChatCompletion, demanded: boolean) => {
    const [choice] = answer.choices;
    const calls = choice!.message.tool_calls ?? [];
    if (choice!.finish_reason === "length") return;
    assert.ok(!demanded || calls.length > 0, JSON.stringify(choice));
    for (const call of calls) {
      assert.ok(call.type === "function");
      const args: unknown = JSON.parse(call.function.arguments);
      if (call.function.name === "get_time") assert.deepEqual(args, {});
      else assert.ok(validate(args), call.function.arguments);
      called++;
    }
  };
  for (let seed = 0; seed < 5; seed++) {
    const common = { model: "pocket", messages, temperature: 1.5, seed, max_tokens: 120 };
    const tools = [weather(true), clock];
    const named = { type: "function" as const, function: { name: "get_weather" } };
    check(await chat.completions.create({ ...common, tools, tool_choice: named }), true);
    check(await chat.completions.create({ ...common, tools, tool_choice: "required" }), true);
    check(
      await chat.completions.create({
        ...common,
        tools,
        tool_choice: "required",
        parallel_tool_calls: false,
      }),
      true,
    );
    check(await chat.completions.create({ ...common, tools, tool_choice: "auto" }), false);
    check(
      await chat.completions.create({ ...common, tools: [weather(false)], tool_choice: "required" }),
      true,
    );
  }
  assert.ok(called >= 10, `${called} calls`);
});

Deno.test("a demanded tool that is not strict has some object where its schema is not enforced", async () => {
  await using pocket = await startPocket();
  const parameters = { properties: { a: { type: "array", uniqueItems: true } } };
  const body = (strict: boolean) => ({
    messages,
    temperature: 1.2,
    max_tokens: 200,
    tools: [{ type: "function", function: { name: "sort", parameters, strict } }],
    tool_choice: "required",
  });
  const refused = await errorOf(await post(pocket.app, "/v1/chat/completions", body(true)));
  assert.match(refused.message, /uniqueItems/);
  let objects = 0;
  for (let seed = 0; seed < 8; seed++) {
    const response = await post(pocket.app, "/v1/chat/completions", { ...body(false), seed });
    const { choices: [choice] } = await response.json();
    if (choice.finish_reason === "length") continue;
    for (const call of choice.message.tool_calls) {
      assert.equal(typeof JSON.parse(call.function.arguments), "object");
      objects++;
    }
  }
  assert.ok(objects > 0);
});

Deno.test("every field of vLLM, SGLang and OpenAI that constrains the output does", async () => {
  await using pocket = await startPocket();
  const ebnf = 'root ::= "x" [0-9]+ "y"';
  const tag = {
    type: "structural_tag",
    structures: [{ begin: "<f>", schema, end: "</f>" }],
    triggers: ["<f>"],
  };
  const validate = validator(schema);
  const isJson = (text: string) => validate(JSON.parse(text));
  const cases: [Record<string, unknown>, (text: string) => boolean][] = [
    [{ guided_json: schema }, isJson],
    [{ guided_json: JSON.stringify(schema) }, isJson],
    [{ guided_regex: "[ab]{3}" }, (text) => /^[ab]{3}$/.test(text)],
    [{ guided_choice: ["left", "right"] }, (text) => ["left", "right"].includes(text)],
    [{ guided_grammar: ebnf }, (text) => /^x\d+y$/.test(text)],
    [{ structured_outputs: { json: schema } }, isJson],
    [{ structured_outputs: { regex: "[ab]{3}" } }, (text) => /^[ab]{3}$/.test(text)],
    [{ structured_outputs: { choice: ["left", "right"] } }, (text) => ["left", "right"].includes(text)],
    [{ structured_outputs: { grammar: ebnf } }, (text) => /^x\d+y$/.test(text)],
    [{ structured_outputs: { json_object: true } }, (text) => typeof JSON.parse(text) === "object"],
    [{ response_format: { type: "json_schema", json_schema: { name: "x", schema } } }, isJson],
    [{ response_format: { type: "json_object" } }, (text) => typeof JSON.parse(text) === "object"],
    [{ json_schema: JSON.stringify(schema) }, isJson],
    [{ regex: "[ab]{3}" }, (text) => /^[ab]{3}$/.test(text)],
    [{ ebnf }, (text) => /^x\d+y$/.test(text)],
    [
      { structural_tag: JSON.stringify(tag) },
      (text) => [...text.matchAll(/<f>(.*?)<\/f>/gs)].every((found) => isJson(found[1]!)),
    ],
  ];
  let finished = 0;
  const check = (holds: (text: string) => boolean, fields: unknown, text: string, finish: string) => {
    if (finish !== "stop") return;
    finished++;
    assert.ok(holds(text), `${JSON.stringify(fields)} does not allow ${JSON.stringify(text)}`);
  };
  for (const [fields, holds] of cases) {
    const common = { temperature: 1.2, seed: 5, max_tokens: 150 };
    for (const path of ["/v1/chat/completions", "/v1/completions"]) {
      const prompt = path.includes("chat") ? { messages } : { prompt: "Give me an example:" };
      const answer = await (await post(pocket.app, path, { ...prompt, ...common, ...fields })).json();
      const [choice] = answer.choices;
      check(holds, fields, choice.text ?? choice.message.content, choice.finish_reason);
    }
    if (!("json_schema" in fields || "regex" in fields || "ebnf" in fields || "structural_tag" in fields)) {
      continue;
    }
    const native = await post(pocket.app, "/generate", {
      text: "Give me an example:",
      sampling_params: { temperature: 1.2, sampling_seed: 5, max_new_tokens: 150, ...fields },
    });
    const { text, meta_info } = await native.json();
    check(holds, fields, text, meta_info.finish_reason.type);
  }
  assert.ok(finished > cases.length, `${finished} were finished`);
});

Deno.test("hostile grammars are a 400 within seconds that names the fault, and other requests go on", async () => {
  await using pocket = await startPocket();
  await post(pocket.app, "/v1/completions", { prompt: "x", regex: "a", max_tokens: 2 }); // starts the worker
  const refs: Record<string, unknown> = { d0: { type: "string" } };
  for (let i = 1; i < 40; i++) {
    refs[`d${i}`] = { anyOf: [{ $ref: `#/$defs/d${i - 1}` }, { $ref: `#/$defs/d${i - 1}` }] };
  }
  const properties = Object.fromEntries(
    Array.from({ length: 20_000 }, (_, i) => [`p${i}`, { type: "integer" }]),
  );
  const cases: [Record<string, unknown>, RegExp | null][] = [
    [{ regex: "(".repeat(30_000) + ")".repeat(30_000) }, /./],
    [{ regex: "(a*)*b" }, null],
    [{ regex: "(a|a)*".repeat(200) }, null],
    [{ regex: "(a{1,1000000}){1,1000000}" }, null],
    [{ regex: "a(?=b" }, /pattern|regex/i],
    [{ guided_json: { $defs: refs, $ref: "#/$defs/d39" } }, null],
    [{ guided_json: { allOf: [{ $ref: "#" }] } }, /./],
    [{ guided_json: { type: "object", properties } }, null],
    [
      { guided_json: { type: "object", properties: { a: { type: "array", uniqueItems: true } } } },
      /uniqueItems at #\/properties\/a/,
    ],
    [
      { guided_json: { type: "object", properties: { a: { type: "string", pattern: "[" } } } },
      /pattern at #\/properties\/a/,
    ],
    [{ guided_grammar: "root ::= other" }, /other/],
    [{ structured_outputs: { choice: [] } }, /choice/],
  ];
  const others = Array.from(
    { length: 4 },
    () =>
      post(pocket.app, "/v1/chat/completions", {
        messages: [{ role: "user", content: "What is 23 plus 48?" }],
      }),
  );
  for (const [fields, message] of cases) {
    const response = await post(pocket.app, "/v1/completions", { prompt: "x", max_tokens: 3, ...fields });
    const shown = JSON.stringify(fields).slice(0, 80);
    if (message === null) {
      assert.ok(response.status === 200 || response.status === 400, shown);
      await response.body?.cancel();
      continue;
    }
    assert.equal(response.status, 400, shown);
    assert.match((await errorOf(response)).message, message);
  }
  for (const response of await Promise.all(others)) {
    assert.equal((await response.json()).choices[0].message.content, "23 plus 48 is 71.");
  }
  const after = await post(pocket.app, "/v1/completions", { prompt: "x", regex: "[ab]", max_tokens: 5 });
  assert.match((await after.json()).choices[0].text, /^[ab]$/);
});

Deno.test("responses, messages and Ollama's API enforce forms and strict tools, too", async () => {
  await using pocket = await startPocket();
  const valid = validator(schema);
  const asked = async (path: string, body: Record<string, unknown>) => {
    const response = await post(pocket.app, path, body);
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  };
  const check = (text: string, from: string) => assert.ok(valid(JSON.parse(text)), `${from}: ${text}`);
  const format = { type: "json_schema", name: "trip", schema, strict: true };
  const response = await asked("/v1/responses", { input: "An example.", temperature: 1.5, text: { format } });
  check(response.output.at(-1).content[0].text, "responses");
  assert.equal(response.text.format.type, "json_schema");
  const message = await asked("/v1/messages", {
    model: "pocket",
    max_tokens: 200,
    temperature: 1,
    messages,
    output_config: { format: { type: "json_schema", schema } },
  });
  check(message.content[0].text, "messages");
  const options = { temperature: 1.5, num_predict: 200 };
  const ollama = { model: "pocket", options, stream: false, format: schema };
  check((await asked("/api/chat", { ...ollama, messages })).message.content, "api/chat");
  check((await asked("/api/generate", { ...ollama, prompt: "An example." })).response, "api/generate");
  check((await asked("/api/generate", { ...ollama, prompt: "x", raw: true })).response, "api/generate, raw");
  const called = await asked("/v1/messages", {
    model: "pocket",
    max_tokens: 200,
    messages,
    tools: [{ name: "get_weather", description: "The weather", input_schema: schema, strict: true }],
    tool_choice: { type: "tool", name: "get_weather" },
  });
  assert.equal(called.stop_reason, "tool_use");
  assert.ok(valid(called.content.at(-1).input), JSON.stringify(called.content));
  const definition = 'move [NESW]{3}( "fast\\\\")?';
  const tools = [{ type: "custom", name: "move", format: { type: "grammar", syntax: "regex", definition } }];
  for (const temperature of [0, 1.5]) {
    const body = { input: "An example.", temperature, tools, tool_choice: { type: "custom", name: "move" } };
    const { output } = await asked("/v1/responses", body);
    assert.equal(output.at(-1).type, "custom_tool_call");
    assert.match(output.at(-1).input, new RegExp(`^(?:${definition})$`));
  }
});

Deno.test("a structural tag may be a tree of formats, and what it cannot say is refused by its path", async () => {
  await using pocket = await startPocket();
  const json_schema = { enum: ["a", 7] };
  const tag = { type: "tag", begin: "<f>", content: { type: "json_schema", json_schema }, end: "</f>" };
  const text = { type: "const_string", value: "go: " };
  const either = { type: "or", elements: [{ type: "regex", pattern: "[xy]{2}" }, tag] };
  const grammar = { type: "grammar", grammar: 'root ::= "!"+ "?"' };
  const ask = async (format: unknown, changes: Record<string, unknown> = {}) => {
    const structural_tag = { type: "structural_tag", format };
    const response = await post(pocket.app, "/v1/chat/completions", {
      messages,
      temperature: 1.5,
      seed: 2,
      max_tokens: 80,
      ...changes,
      response_format: structural_tag,
    });
    return { status: response.status, body: await response.json() };
  };
  const cases: [unknown, RegExp][] = [
    [{ type: "sequence", elements: [text, either, grammar] }, /^go: ([xy]{2}|<f>("a"|7)<\/f>)!+\?$/],
    [
      { type: "triggered_tags", triggers: ["<f"], tags: [tag], at_least_one: true, stop_after_first: true },
      /^[^]*?<f>("a"|7)<\/f>$/,
    ],
  ];
  for (const [format, pattern] of cases) {
    for (let seed = 0; seed < 4; seed++) {
      const { status, body } = await ask(format, { seed });
      assert.equal(status, 200, JSON.stringify(body));
      const [{ message, finish_reason }] = body.choices;
      if (finish_reason === "stop") assert.match(message.content, pattern);
    }
  }
  const refused: [unknown, RegExp][] = [
    [{ type: "tags_with_separator", tags: [tag], separator: "," }, /format\.type/],
    [{ type: "qwen_xml_parameter", json_schema }, /format\.type/],
    [
      { type: "sequence", elements: [{ type: "any_text", excludes: ["x"] }] },
      /format\.elements\[0\].*excludes/,
    ],
    [{ ...tag, content: { type: "json_schema", json_schema: { uniqueItems: true } } }, /uniqueItems/],
  ];
  for (const [format, message] of refused) {
    const { status, body } = await ask(format);
    assert.equal(status, 400);
    assert.match(body.error.message, message);
  }
  const both = { response_format: { type: "structural_tag", format: text, triggers: ["x"] } };
  const { error } = await (await post(pocket.app, "/v1/chat/completions", { messages, ...both })).json();
  assert.match(error.message, /either a format, or structures and triggers/);
});

Deno.test("strict tools of a model whose form of calls is not enforced are a 400 that names the tool", async () => {
  for (const toolParser of ["llama", "mistral", "qwen3-coder", "deepseek"] as const) {
    await using pocket = await startPocket({}, { toolParser });
    for (const tool_choice of ["auto", "required"]) {
      const body = { messages, max_tokens: 8, tool_choice, tools: [weather(false), weather(true)] };
      const response = await post(pocket.app, "/v1/chat/completions", body);
      assert.equal(response.status, 400);
      assert.equal((await errorOf(response)).param, "tools[1].function.strict");
    }
  }
});

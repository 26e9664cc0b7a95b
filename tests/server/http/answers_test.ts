// Every answer with status 200 is what /openapi.json says it is, neither more nor less.

import assert from "node:assert/strict";
import type { z } from "zod";
import * as agents from "../../../server/http/schemas/agent_answers.ts";
import * as answers from "../../../server/http/schemas/answers.ts";
import { get, post } from "./client.ts";
import { startPocket } from "./pocket.ts";

/** The schema refuses fields that it does not name, at every level. */
function exactly(schema: z.ZodType, value: unknown): void {
  const parsed = schema.parse(value);
  assert.deepEqual(parsed, value);
}

Deno.test("the answers of the real engine are exactly those that /openapi.json describes", async () => {
  await using pocket = await startPocket({ device: "cpu" });
  const { app } = pocket;
  const messages = [{ role: "user", content: "What is 23 plus 48?" }];
  const schema = { type: "object", properties: { a: { type: "integer", maximum: 9 } }, required: ["a"] };
  const named = { type: "json_schema", name: "one", schema, strict: false };
  const tool = { name: "add", description: "Adds", parameters: schema };
  const all = {
    instructions: "Be brief.",
    temperature: 0.5,
    top_p: 0.9,
    metadata: { a: "b" },
    max_output_tokens: 30,
  };
  const fewer = { max_output_tokens: 3, reasoning: { effort: "low" } };
  const forced = { tool_choice: "required", max_output_tokens: 60 };
  const used = { tools: [{ name: "add", input_schema: schema }], tool_choice: { type: "any" } };
  const posts: [string, unknown, z.ZodType][] = [
    ["/v1/chat/completions", { messages }, answers.chatAnswer],
    ["/v1/chat/completions", { messages, logprobs: true, top_logprobs: 2, n: 2 }, answers.chatAnswer],
    ["/v1/chat/completions", { messages, max_tokens: 2 }, answers.chatAnswer],
    ["/v1/completions", { prompt: "Once", max_tokens: 4 }, answers.completionAnswer],
    ["/v1/completions", { prompt: "Once", max_tokens: 4, logprobs: 2, echo: true }, answers.completionAnswer],
    ["/v1/completions", { prompt: ["a", "b"], max_tokens: 0, echo: true }, answers.completionAnswer],
    ["/generate", { text: "Once", sampling_params: { max_new_tokens: 4 } }, answers.generateAnswer],
    ["/generate", {
      text: ["Once", "Twice"],
      sampling_params: { max_new_tokens: 4 },
      return_logprob: true,
      top_logprobs_num: 2,
      logprob_start_len: 0,
    }, answers.generateAnswer],
    ["/abort_request", { rid: "none" }, answers.abortAnswer],
    ["/tokenize", { prompt: "Hello" }, answers.tokenizeAnswer],
    ["/tokenize", { prompt: ["a", "b"] }, answers.tokenizeAnswer],
    ["/tokenize", { messages }, answers.tokenizeAnswer],
    ["/detokenize", { tokens: [1, 2] }, answers.detokenizeAnswer],
    ["/detokenize", { tokens: [[1], [2]] }, answers.detokenizeAnswer],
    ["/v1/responses", { input: "What is 23 plus 48?", ...all }, agents.responsesAnswer],
    ["/v1/responses", { input: messages, text: { format: { type: "json_object" } } }, agents.responsesAnswer],
    ["/v1/responses", { input: messages, text: { format: named }, ...fewer }, agents.responsesAnswer],
    [
      "/v1/responses",
      { input: messages, tools: [{ type: "function", ...tool }], ...forced },
      agents.responsesAnswer,
    ],
    ["/v1/messages", { messages, max_tokens: 20, metadata: {} }, agents.messagesAnswer],
    ["/v1/messages", { messages, max_tokens: 60, ...used }, agents.messagesAnswer],
    ["/v1/messages/count_tokens", { messages }, agents.countTokensAnswer],
    ["/api/chat", { model: "pocket", messages, stream: false }, agents.ollamaChatAnswer],
    ["/api/chat", { model: "pocket", messages, stream: false, format: "json" }, agents.ollamaChatAnswer],
    ["/api/generate", { model: "pocket", prompt: "Once", stream: false }, agents.ollamaGenerateAnswer],
    ["/api/show", { model: "pocket" }, agents.ollamaShowAnswer],
    ["/flush_cache", {}, answers.flushAnswer],
  ];
  for (const [path, body, schema] of posts) {
    const response = await post(app, path, body);
    assert.equal(response.status, 200, path);
    exactly(schema, await response.json());
  }
  const gets: [string, z.ZodType][] = [
    ["/v1/models", answers.modelsAnswer],
    ["/v1/models/pocket", answers.modelAnswer],
    ["/health", answers.healthAnswer],
    ["/health_generate", answers.healthGenerateAnswer],
    ["/server_info", answers.serverInfoAnswer],
    ["/model_info", answers.modelInfoAnswer],
    ["/v1/loads", answers.loadsAnswer],
    ["/api/tags", agents.ollamaTagsAnswer],
    ["/api/ps", agents.ollamaPsAnswer],
    ["/api/version", agents.ollamaVersionAnswer],
  ];
  for (const [path, schema] of gets) exactly(schema, await (await get(app, path)).json());
});

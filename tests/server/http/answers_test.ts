// Every answer with status 200 is what /openapi.json says it is, neither more nor less.

import assert from "node:assert/strict";
import type { z } from "zod";
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
  ];
  for (const [path, schema] of gets) exactly(schema, await (await get(app, path)).json());
});

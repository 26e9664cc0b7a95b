// POST /tokenize and /detokenize: text or a conversation to token ids and back, exactly as generation does it.

import { Hono } from "hono";
import type { AppEnv } from "./answer.ts";
import { readJson } from "./body.ts";
import { chatInput } from "./conversation.ts";
import { ApiError } from "./errors.ts";
import { promptTokens, requireModel, requireTokenizer } from "./params.ts";
import { detokenizeRequestSchema, tokenizeRequestSchema } from "./schemas/tokenize.ts";
import { validate } from "./schemas/validate.ts";
import type { Service } from "./service.ts";
import type { PromptInput } from "../../engine/messages.ts";

/** POST /tokenize and /detokenize. */
export function tokenizeRoutes(service: Service): Hono<AppEnv> {
  const encode = async (
    input: PromptInput,
    client: string,
  ) => [...(await service.ask(service.engine.encode(input, client))).ids];
  const app = new Hono<AppEnv>();
  for (const prefix of ["", "/v1"]) {
    app.post(`${prefix}/tokenize`, async (c) => {
      const { engine } = service;
      requireTokenizer(engine.model, "prompt", "a text needs");
      const request = validate(tokenizeRequestSchema, await readJson(c.req.raw, service.options));
      requireModel(request.model, service.modelNames);
      const client = c.get("client");
      const max_model_len = engine.model.contextLength;
      const { prompt, messages } = request;
      if ((prompt === null || prompt === undefined) === (messages === null || messages === undefined)) {
        throw new ApiError(400, "give either prompt or messages", { param: "prompt" });
      }
      if (messages) {
        const tokens = await encode(chatInput({ ...request, messages }, engine.model), client);
        return c.json({ tokens, count: tokens.length, max_model_len });
      }
      const addSpecialTokens = request.add_special_tokens ?? true;
      const texts = typeof prompt === "string" ? [prompt] : prompt ?? [];
      const lists: number[][] = [];
      for (const text of texts) lists.push(await encode({ type: "text", text, addSpecialTokens }, client));
      const answer = typeof prompt === "string"
        ? { tokens: lists[0]!, count: lists[0]!.length }
        : { tokens: lists, count: lists.map((list) => list.length) };
      return c.json({ ...answer, max_model_len });
    });
    app.post(`${prefix}/detokenize`, async (c) => {
      const { engine } = service;
      requireTokenizer(engine.model, "tokens", "a text needs");
      const request = validate(detokenizeRequestSchema, await readJson(c.req.raw, service.options));
      requireModel(request.model, service.modelNames);
      const skip = request.skip_special_tokens ?? true;
      const decode = (ids: readonly number[]) =>
        service.ask(engine.decode(promptTokens(ids, "tokens", engine.model), skip, c.get("client")));
      const { tokens } = request;
      if (!isNested(tokens)) return c.json({ text: await decode(tokens) });
      const text: string[] = [];
      for (const ids of tokens) text.push(await decode(ids));
      return c.json({ text });
    });
  }
  return app;
}

function isNested(tokens: readonly number[] | readonly number[][]): tokens is readonly number[][] {
  return Array.isArray(tokens[0]);
}

// Ollama's /api/*, as far as it concerns a model that is loaded: Copilot and Open WebUI look for these.

import { Hono } from "hono";
import { answer, type AnswerForm, type AppEnv } from "./answer.ts";
import { readJson } from "./body.ts";
import { type ChatRun, type ChatTask, SingleAnswer, startChat } from "./chat_run.ts";
import { ApiError } from "./errors.ts";
import {
  modifiedAt,
  ollamaCard,
  ollamaDescription,
  ollamaNames,
  ollamaVersion,
  taggedName,
} from "./ollama_models.ts";
import { ollamaEmbed } from "./ollama_embed.ts";
import { OllamaAnswer, OllamaForm } from "./ollama_output.ts";
import { requireModel, samplingParams } from "./params.ts";
import { Run } from "./run.ts";
import { constraint, outputGrammar } from "./structured.ts";
import type { ChatMessageInput } from "./schemas/chat.ts";
import {
  type OllamaChat,
  ollamaChatSchema,
  ollamaEmbeddingsSchema,
  ollamaEmbedSchema,
  type OllamaGenerate,
  ollamaGenerateSchema,
  ollamaShowSchema,
} from "./schemas/ollama.ts";
import { validate } from "./schemas/validate.ts";
import { readRequest } from "./read_request.ts";
import type { Service } from "./service.ts";

/** Ollama's endpoints. */
export function ollamaRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.get("/api/version", (c) => c.json({ version: ollamaVersion }));
  app.get(
    "/api/tags",
    (c) => c.json({ models: [{ ...ollamaCard(service), modified_at: modifiedAt(service) }] }),
  );
  app.get("/api/ps", (c) => {
    const { weightBytes, contextLength } = service.engine.model;
    const card = ollamaCard(service);
    const never = "9999-12-31T23:59:59Z";
    return c.json({
      models: [{ ...card, expires_at: never, size_vram: weightBytes, context_length: contextLength }],
    });
  });
  app.post("/api/show", async (c) => {
    const request = validate(ollamaShowSchema, await readJson(c.req.raw, service.options));
    requireModel(request.model ?? request.name, ollamaNames(service));
    return c.json(ollamaDescription(service));
  });
  app.post("/api/embed", async (c) => {
    const request = await readRequest(c, service, ollamaEmbedSchema, ollamaNames(service));
    return c.json(await ollamaEmbed(c, service, request));
  });
  app.post("/api/embeddings", async (c) => {
    const request = await readRequest(c, service, ollamaEmbeddingsSchema, ollamaNames(service));
    const { embeddings } = await ollamaEmbed(c, service, { input: request.prompt });
    return c.json({ embedding: embeddings[0] ?? [] });
  });

  app.post("/api/chat", async (c) => {
    const request = await readRequest(c, service, ollamaChatSchema, ollamaNames(service));
    const messages = request.messages ?? [];
    if (messages.length === 0) {
      return c.json(loaded(service, { message: { role: "assistant", content: "" } }));
    }
    const task = {
      ...settings(request),
      messages: messages.map(messageOf),
      tools: request.tools,
    };
    const chat = await startChat(service, c.var, c.get("record").id, task, { maxTokensIsBound: true });
    return answer(c, service, chat.run, request.stream !== false, form(chat, "chat"));
  });

  app.post("/api/generate", async (c) => {
    const request = await readRequest(c, service, ollamaGenerateSchema, ollamaNames(service));
    const engine = service.readyEngine;
    const prompt = request.prompt ?? "";
    if (prompt === "") return c.json(loaded(service, { response: "" }));
    const { id } = c.get("record");
    if (request.raw !== true && engine.model.hasChatTemplate) {
      const system = request.system ? [{ role: "system" as const, content: request.system }] : [];
      const task = {
        ...settings(request),
        messages: [...system, { role: "user" as const, content: prompt }],
      };
      const chat = await startChat(service, c.var, id, task, { maxTokensIsBound: true });
      return answer(c, service, chat.run, request.stream !== false, form(chat, "generate"));
    }
    const task = settings(request);
    const { ids } = await service.ask(engine.encode({ type: "text", text: prompt }, c.get("client")));
    const asked = task.max_completion_tokens ?? null;
    const fits = asked !== null && ids.length + asked <= engine.model.contextLength;
    const params = samplingParams(
      task,
      {
        maxTokens: fits ? asked : null,
        minTokens: 0,
        seed: task.seed ?? null,
        logprobs: null,
      },
      engine.model,
      outputGrammar(constraint(task, engine.model), false),
    );
    const run = new Run(service, service.readyEngine, c.var, [{
      input: { type: "ids", ids },
      params: [params],
      salt: "",
      id,
    }]);
    const plain = { reasoning: null, tools: null, start: "", parallelToolCalls: true };
    const chat: ChatRun = { run, mayEndEarly: false, parsing: () => Promise.resolve(plain) };
    return answer(c, service, run, request.stream !== false, form(chat, "generate"));
  });

  const form = (chat: ChatRun, kind: "chat" | "generate"): AnswerForm =>
    new OllamaForm(new OllamaAnswer(taggedName(service), kind, chat.run), new SingleAnswer(chat));
  return app;
}

/** A request without a prompt asks for the model to be loaded, which it is. */
function loaded(service: Service, content: Record<string, unknown>): Record<string, unknown> {
  service.readyEngine;
  return {
    model: taggedName(service),
    created_at: new Date().toISOString(),
    ...content,
    done: true,
    done_reason: "load",
  };
}

function settings({ options, think, format }: OllamaChat | OllamaGenerate): Omit<ChatTask, "messages"> {
  const most = options?.num_predict ?? -1;
  if (most === 0) {
    throw new ApiError(400, "options.num_predict: must not be 0", { param: "options.num_predict" });
  }
  return {
    max_completion_tokens: most > 0 ? most : null,
    temperature: options?.temperature,
    top_k: options?.top_k,
    top_p: options?.top_p,
    min_p: options?.min_p,
    repetition_penalty: options?.repeat_penalty,
    presence_penalty: options?.presence_penalty,
    frequency_penalty: options?.frequency_penalty,
    seed: options?.seed,
    stop: options?.stop,
    ...(format ? { response_format: responseFormat(format) } : {}),
    ...(think === null || think === undefined ? {} : {
      chat_template_kwargs: {
        enable_thinking: think !== false,
        ...(typeof think === "string" ? { reasoning_effort: think } : {}),
      },
    }),
  };
}

function responseFormat(format: "json" | Readonly<Record<string, unknown>>): ChatTask["response_format"] {
  return format === "json"
    ? { type: "json_object" }
    : { type: "json_schema", json_schema: { schema: { ...format } } };
}

function messageOf(message: NonNullable<OllamaChat["messages"]>[number]): ChatMessageInput {
  const content = message.content ?? "";
  switch (message.role) {
    case "system":
    case "user":
      return { role: message.role, content };
    case "assistant":
      return {
        role: "assistant",
        content,
        reasoning_content: message.thinking,
        tool_calls: message.tool_calls?.map((call) => ({
          id: call.id,
          type: "function" as const,
          function: { name: call.function.name, arguments: call.function.arguments ?? {} },
        })),
      };
    case "tool":
      return { role: "tool", content, name: message.tool_name, tool_call_id: message.tool_call_id };
  }
}

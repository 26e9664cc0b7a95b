// GET /openapi.json: the API described by the very schemas that requests are checked against.

import { Hono } from "hono";
import { z } from "zod";
import { version } from "../cli/version.ts";
import type { AppEnv } from "./answer.ts";
import * as agents from "./schemas/agent_answers.ts";
import * as answers from "./schemas/answers.ts";
import { chatRequestSchema } from "./schemas/chat.ts";
import { completionRequestSchema } from "./schemas/completion.ts";
import * as embeddings from "./schemas/embeddings.ts";
import { abortRequestSchema, generateRequestSchema } from "./schemas/generate.ts";
import { countTokensRequestSchema, messagesRequestSchema } from "./schemas/messages.ts";
import {
  ollamaChatSchema,
  ollamaEmbeddingsSchema,
  ollamaEmbedSchema,
  ollamaGenerateSchema,
  ollamaShowSchema,
} from "./schemas/ollama.ts";
import { responsesRequestSchema } from "./schemas/responses.ts";
import { detokenizeRequestSchema, tokenizeRequestSchema } from "./schemas/tokenize.ts";

interface Operation {
  readonly method: "get" | "post";
  readonly path: string;
  readonly summary: string;
  readonly body?: z.ZodType;
  /** The JSON body of a 200; null if it is no JSON. */
  readonly answer: z.ZodType | null;
  /** Other media types of a 200. */
  readonly texts?: readonly string[];
  /** The shape of its errors; OpenAI's if missing. */
  readonly errors?: "AnthropicError" | "OllamaError";
  /** Path parameters. */
  readonly parameters?: readonly string[];
}

const stream = ["text/event-stream"];
const lines = ["application/x-ndjson"];
const streams = [...stream, ...lines];

const operations: readonly Operation[] = [
  {
    method: "post",
    path: "/v1/chat/completions",
    summary: "Answer a conversation",
    body: chatRequestSchema,
    answer: answers.chatAnswer,
    texts: stream,
  },
  {
    method: "post",
    path: "/v1/completions",
    summary: "Continue a text",
    body: completionRequestSchema,
    answer: answers.completionAnswer,
    texts: stream,
  },
  {
    method: "post",
    path: "/v1/responses",
    summary: "Answer a conversation, given as items",
    body: responsesRequestSchema,
    answer: agents.responsesAnswer,
    texts: stream,
  },
  {
    method: "post",
    path: "/v1/messages",
    summary: "Answer a conversation, in Anthropic's form",
    body: messagesRequestSchema,
    answer: agents.messagesAnswer,
    texts: stream,
    errors: "AnthropicError",
  },
  {
    method: "post",
    path: "/v1/messages/count_tokens",
    summary: "Number of tokens of a conversation in Anthropic's form",
    body: countTokensRequestSchema,
    answer: agents.countTokensAnswer,
    errors: "AnthropicError",
  },
  {
    method: "post",
    path: "/v1/embeddings",
    summary: "Texts to vectors",
    body: embeddings.embeddingsRequestSchema,
    answer: embeddings.embeddingsAnswer,
  },
  {
    method: "post",
    path: "/v1/rerank",
    summary: "Documents, the most relevant first",
    body: embeddings.rerankRequestSchema,
    answer: embeddings.rerankAnswer,
  },
  {
    method: "post",
    path: "/v1/score",
    summary: "How relevant texts are to each other",
    body: embeddings.scoreRequestSchema,
    answer: embeddings.scoreAnswer,
  },
  {
    method: "post",
    path: "/api/chat",
    summary: "Answer a conversation, in Ollama's form",
    body: ollamaChatSchema,
    answer: agents.ollamaChatAnswer,
    texts: lines,
    errors: "OllamaError",
  },
  {
    method: "post",
    path: "/api/generate",
    summary: "Answer a prompt, in Ollama's form",
    body: ollamaGenerateSchema,
    answer: agents.ollamaGenerateAnswer,
    texts: lines,
    errors: "OllamaError",
  },
  {
    method: "post",
    path: "/api/embed",
    summary: "Texts to vectors, in Ollama's form",
    body: ollamaEmbedSchema,
    answer: agents.ollamaEmbedAnswer,
    errors: "OllamaError",
  },
  {
    method: "post",
    path: "/api/embeddings",
    summary: "A text to a vector, in Ollama's older form",
    body: ollamaEmbeddingsSchema,
    answer: agents.ollamaEmbeddingsAnswer,
    errors: "OllamaError",
  },
  {
    method: "post",
    path: "/api/show",
    summary: "What Ollama tells of a model",
    body: ollamaShowSchema,
    answer: agents.ollamaShowAnswer,
    errors: "OllamaError",
  },
  {
    method: "get",
    path: "/api/tags",
    summary: "The served model, in Ollama's form",
    answer: agents.ollamaTagsAnswer,
    errors: "OllamaError",
  },
  {
    method: "get",
    path: "/api/ps",
    summary: "The loaded model, in Ollama's form",
    answer: agents.ollamaPsAnswer,
    errors: "OllamaError",
  },
  {
    method: "get",
    path: "/api/version",
    summary: "The version of Ollama whose API this is",
    answer: agents.ollamaVersionAnswer,
    errors: "OllamaError",
  },
  { method: "get", path: "/v1/models", summary: "The served model", answer: answers.modelsAnswer },
  {
    method: "get",
    path: "/v1/models/{id}",
    summary: "The served model, by id",
    parameters: ["id"],
    answer: answers.modelAnswer,
  },
  {
    method: "post",
    path: "/generate",
    summary: "SGLang's native generation",
    body: generateRequestSchema,
    answer: answers.generateAnswer,
    texts: stream,
  },
  {
    method: "post",
    path: "/abort_request",
    summary: "End a request of one's own, or all of them",
    body: abortRequestSchema,
    answer: answers.abortAnswer,
  },
  {
    method: "post",
    path: "/tokenize",
    summary: "Text or messages to token ids",
    body: tokenizeRequestSchema,
    answer: answers.tokenizeAnswer,
  },
  {
    method: "post",
    path: "/detokenize",
    summary: "Token ids to text",
    body: detokenizeRequestSchema,
    answer: answers.detokenizeAnswer,
  },
  {
    method: "get",
    path: "/health",
    summary: "200 if all workers answer; needs no key",
    answer: answers.healthAnswer,
  },
  {
    method: "get",
    path: "/health_generate",
    summary: "200 if the engine generates a token",
    answer: answers.healthGenerateAnswer,
  },
  {
    method: "get",
    path: "/server_info",
    summary: "Settings and sizes of the server",
    answer: answers.serverInfoAnswer,
  },
  { method: "get", path: "/model_info", summary: "What the model is", answer: answers.modelInfoAnswer },
  {
    method: "get",
    path: "/debug/scheduler",
    summary: "What each request is doing and which prefixes are shared",
    answer: answers.schedulerStateAnswer,
  },
  { method: "get", path: "/v1/loads", summary: "How busy the server is", answer: answers.loadsAnswer },
  {
    method: "post",
    path: "/flush_cache",
    summary: "Empty the prefix cache, when idle",
    answer: answers.flushAnswer,
  },
  { method: "get", path: "/metrics", summary: "Prometheus metrics", answer: null, texts: ["text/plain"] },
  { method: "get", path: "/", summary: "A page for trying the model", answer: null, texts: ["text/html"] },
];

const errorSchema = {
  type: "object",
  required: ["error"],
  properties: {
    error: {
      type: "object",
      required: ["message", "type", "param", "code"],
      properties: {
        message: { type: "string" },
        type: { type: "string" },
        param: { type: ["string", "null"] },
        code: { type: ["string", "null"] },
      },
    },
  },
};

const anthropicErrorSchema = {
  type: "object",
  required: ["type", "error", "request_id"],
  properties: {
    type: { const: "error" },
    error: {
      type: "object",
      required: ["type", "message"],
      properties: { type: { type: "string" }, message: { type: "string" } },
    },
    request_id: { type: "string" },
  },
};

const ollamaErrorSchema = {
  type: "object",
  required: ["error"],
  properties: { error: { type: "string" } },
};

/** The OpenAPI 3.1 document. */
export function openApiDocument(): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (
    const { method, path, summary, body, answer, texts = [], errors = "Error", parameters } of operations
  ) {
    const content = {
      ...(answer ? { "application/json": { schema: jsonSchema(answer, "output") } } : {}),
      // What stands in a stream's events is not described: a schema would be taken for that of an event.
      ...Object.fromEntries(
        texts.map((type) => [type, streams.includes(type) ? {} : { schema: { type: "string" } }]),
      ),
    };
    (paths[path] ??= {})[method] = {
      summary,
      ...(parameters
        ? {
          parameters: parameters.map((name) => ({
            name,
            in: "path",
            required: true,
            schema: { type: "string" },
          })),
        }
        : {}),
      ...(body
        ? {
          requestBody: {
            required: true,
            content: { "application/json": { schema: jsonSchema(body, "input") } },
          },
        }
        : {}),
      responses: {
        200: { description: "done", content },
        default: {
          description: "refused",
          content: { "application/json": { schema: { $ref: `#/components/schemas/${errors}` } } },
        },
      },
      ...(path === "/health" ? { security: [] } : {}),
    };
  }
  return {
    openapi: "3.1.0",
    info: { title: "radish", version, license: { name: "Apache-2.0" } },
    paths,
    components: {
      schemas: { Error: errorSchema, AnthropicError: anthropicErrorSchema, OllamaError: ollamaErrorSchema },
      securitySchemes: { key: { type: "http", scheme: "bearer" } },
    },
    security: [{}, { key: [] }],
  };
}

function jsonSchema(schema: z.ZodType, io: "input" | "output"): unknown {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any" });
  return rest;
}

/** GET /openapi.json. */
export function openApiRoutes(): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  let document: Record<string, unknown> | null = null;
  app.get("/openapi.json", (c) => c.json(document ??= openApiDocument()));
  return app;
}

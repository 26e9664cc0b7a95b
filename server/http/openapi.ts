// GET /openapi.json: the API described by the very schemas that requests are checked against.

import { Hono } from "hono";
import { z } from "zod";
import { version } from "../cli/version.ts";
import type { AppEnv } from "./answer.ts";
import * as answers from "./schemas/answers.ts";
import { chatRequestSchema } from "./schemas/chat.ts";
import { completionRequestSchema } from "./schemas/completion.ts";
import { abortRequestSchema, generateRequestSchema } from "./schemas/generate.ts";
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
  /** Path parameters. */
  readonly parameters?: readonly string[];
}

const stream = ["text/event-stream"];

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

/** The OpenAPI 3.1 document. */
export function openApiDocument(): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const { method, path, summary, body, answer, texts = [], parameters } of operations) {
    const content = {
      ...(answer ? { "application/json": { schema: jsonSchema(answer, "output") } } : {}),
      ...Object.fromEntries(texts.map((type) => [type, { schema: { type: "string" } }])),
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
          content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
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
      schemas: { Error: errorSchema },
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

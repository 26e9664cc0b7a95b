// GET /openapi.json: the API described by the very schemas that requests are checked against.

import { Hono } from "hono";
import { z } from "zod";
import { version } from "../cli/version.ts";
import type { AppEnv } from "./answer.ts";
import { chatRequestSchema } from "./schemas/chat.ts";
import { completionRequestSchema } from "./schemas/completion.ts";
import { abortRequestSchema, generateRequestSchema } from "./schemas/generate.ts";
import { detokenizeRequestSchema, tokenizeRequestSchema } from "./schemas/tokenize.ts";

interface Operation {
  readonly method: "get" | "post";
  readonly path: string;
  readonly summary: string;
  readonly body?: z.ZodType;
  /** Media types of a 200; JSON if missing. */
  readonly answers?: readonly string[];
  /** Path parameters. */
  readonly parameters?: readonly string[];
}

const stream = ["application/json", "text/event-stream"];

const operations: readonly Operation[] = [
  {
    method: "post",
    path: "/v1/chat/completions",
    summary: "Answer a conversation",
    body: chatRequestSchema,
    answers: stream,
  },
  {
    method: "post",
    path: "/v1/completions",
    summary: "Continue a text",
    body: completionRequestSchema,
    answers: stream,
  },
  { method: "get", path: "/v1/models", summary: "The served model" },
  { method: "get", path: "/v1/models/{id}", summary: "The served model, by id", parameters: ["id"] },
  {
    method: "post",
    path: "/generate",
    summary: "SGLang's native generation",
    body: generateRequestSchema,
    answers: stream,
  },
  { method: "post", path: "/abort_request", summary: "End a request, or all", body: abortRequestSchema },
  {
    method: "post",
    path: "/tokenize",
    summary: "Text or messages to token ids",
    body: tokenizeRequestSchema,
  },
  { method: "post", path: "/detokenize", summary: "Token ids to text", body: detokenizeRequestSchema },
  { method: "get", path: "/health", summary: "200 if the engine answers; needs no key" },
  { method: "get", path: "/health_generate", summary: "200 if the engine generates a token" },
  { method: "get", path: "/server_info", summary: "Settings and sizes of the server" },
  { method: "get", path: "/model_info", summary: "What the model is" },
  { method: "get", path: "/v1/loads", summary: "How busy the server is" },
  { method: "post", path: "/flush_cache", summary: "Empty the prefix cache, when idle" },
  { method: "get", path: "/metrics", summary: "Prometheus metrics", answers: ["text/plain"] },
  { method: "get", path: "/", summary: "A page for trying the model", answers: ["text/html"] },
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
  for (const { method, path, summary, body, answers, parameters } of operations) {
    const content = Object.fromEntries((answers ?? ["application/json"]).map((type) => [type, {}]));
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
        ? { requestBody: { required: true, content: { "application/json": { schema: jsonSchema(body) } } } }
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

function jsonSchema(schema: z.ZodType): unknown {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  return rest;
}

/** GET /openapi.json. */
export function openApiRoutes(): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  let document: Record<string, unknown> | null = null;
  app.get("/openapi.json", (c) => c.json(document ??= openApiDocument()));
  return app;
}

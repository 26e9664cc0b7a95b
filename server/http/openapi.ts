// GET /openapi.json: the API described by the very schemas that requests are checked against.

import { Hono } from "hono";
import { z } from "zod";
import { version } from "../cli/version.ts";
import type { AppEnv } from "./answer.ts";
import { errorForm, errorForms } from "./error_forms.ts";
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

type Texts = readonly string[];

interface Operation {
  readonly method: "get" | "post";
  readonly path: string;
  readonly summary: string;
  readonly body: z.ZodType | null;
  /** The JSON body of a 200; null if it is no JSON. */
  readonly answer: z.ZodType | null;
  /** Other media types of a 200. */
  readonly texts: Texts;
}

const stream = ["text/event-stream"];
const lines = ["application/x-ndjson"];
const streams = [...stream, ...lines];

const post = (
  path: string,
  summary: string,
  body: z.ZodType | null,
  answer: z.ZodType | null,
  texts: Texts = [],
): Operation => ({ method: "post", path, summary, body, answer, texts });
const get = (path: string, summary: string, answer: z.ZodType | null, texts: Texts = []): Operation => ({
  ...post(path, summary, null, answer, texts),
  method: "get",
});

const operations: readonly Operation[] = [
  post("/v1/chat/completions", "Answer a conversation", chatRequestSchema, answers.chatAnswer, stream),
  post("/v1/completions", "Continue a text", completionRequestSchema, answers.completionAnswer, stream),
  post(
    "/v1/responses",
    "Answer a conversation, given as items",
    responsesRequestSchema,
    agents.responsesAnswer,
    stream,
  ),
  post(
    "/v1/messages",
    "Answer a conversation, in Anthropic's form",
    messagesRequestSchema,
    agents.messagesAnswer,
    stream,
  ),
  post(
    "/v1/messages/count_tokens",
    "Number of tokens of a conversation in Anthropic's form",
    countTokensRequestSchema,
    agents.countTokensAnswer,
  ),
  post("/v1/embeddings", "Texts to vectors", embeddings.embeddingsRequestSchema, embeddings.embeddingsAnswer),
  post(
    "/v1/rerank",
    "Documents, the most relevant first",
    embeddings.rerankRequestSchema,
    embeddings.rerankAnswer,
  ),
  post(
    "/v1/score",
    "How relevant texts are to each other",
    embeddings.scoreRequestSchema,
    embeddings.scoreAnswer,
  ),
  post(
    "/api/chat",
    "Answer a conversation, in Ollama's form",
    ollamaChatSchema,
    agents.ollamaChatAnswer,
    lines,
  ),
  post(
    "/api/generate",
    "Answer a prompt, in Ollama's form",
    ollamaGenerateSchema,
    agents.ollamaGenerateAnswer,
    lines,
  ),
  post("/api/embed", "Texts to vectors, in Ollama's form", ollamaEmbedSchema, agents.ollamaEmbedAnswer),
  post(
    "/api/embeddings",
    "A text to a vector, in Ollama's older form",
    ollamaEmbeddingsSchema,
    agents.ollamaEmbeddingsAnswer,
  ),
  post("/api/show", "What Ollama tells of a model", ollamaShowSchema, agents.ollamaShowAnswer),
  get("/api/tags", "The served model, in Ollama's form", agents.ollamaTagsAnswer),
  get("/api/ps", "The loaded model, in Ollama's form", agents.ollamaPsAnswer),
  get("/api/version", "The version of Ollama whose API this is", agents.ollamaVersionAnswer),
  get("/v1/models", "The served model", answers.modelsAnswer),
  get("/v1/models/{id}", "The served model, by id", answers.modelAnswer),
  post("/generate", "SGLang's native generation", generateRequestSchema, answers.generateAnswer, stream),
  post(
    "/abort_request",
    "End a request of one's own, or all of them",
    abortRequestSchema,
    answers.abortAnswer,
  ),
  post("/tokenize", "Text or messages to token ids", tokenizeRequestSchema, answers.tokenizeAnswer),
  post("/detokenize", "Token ids to text", detokenizeRequestSchema, answers.detokenizeAnswer),
  get("/health", "200 if all workers answer; needs no key", answers.healthAnswer),
  get("/health_generate", "200 if the engine generates a token", answers.healthGenerateAnswer),
  get("/server_info", "Settings and sizes of the server", answers.serverInfoAnswer),
  get("/model_info", "What the model is", answers.modelInfoAnswer),
  get(
    "/debug/scheduler",
    "What each request is doing and which prefixes are shared",
    answers.schedulerStateAnswer,
  ),
  get("/v1/loads", "How busy the server is", answers.loadsAnswer),
  post("/flush_cache", "Empty the prefix cache, when idle", null, answers.flushAnswer),
  get("/metrics", "Prometheus metrics", null, ["text/plain"]),
  get("/", "A page for trying the model", null, ["text/html"]),
];

/** The OpenAPI 3.1 document. */
export function openApiDocument(): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  const schemas: Record<string, unknown> = {};
  for (const { method, path, summary, body, answer, texts } of operations) {
    const content = {
      ...(answer ? json(jsonSchema(answer, "output", schemas)) : {}),
      // What stands in a stream's events is not described: a schema would be taken for that of an event.
      ...Object.fromEntries(
        texts.map((type) => [type, streams.includes(type) ? {} : { schema: { type: "string" } }]),
      ),
    };
    const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
      name,
      in: "path",
      required: true,
      schema: { type: "string" },
    }));
    const errors = { $ref: `#/components/schemas/${errorForm(path).name}` };
    (paths[path] ??= {})[method] = {
      summary,
      ...(parameters.length > 0 ? { parameters } : {}),
      ...(body ? { requestBody: { required: true, content: json(jsonSchema(body, "input", schemas)) } } : {}),
      responses: {
        200: { description: "done", content },
        default: { description: "refused", content: json(errors) },
      },
      ...(path === "/health" ? { security: [] } : {}),
    };
  }
  for (const { name, schema } of errorForms) schemas[name] = jsonSchema(schema, "input", schemas);
  return {
    openapi: "3.1.0",
    info: { title: "radish", version, license: { name: "Apache-2.0" } },
    paths,
    components: {
      schemas,
      securitySchemes: { key: { type: "http", scheme: "bearer" } },
    },
    security: [{}, { key: [] }],
  };
}

const json = (schema: unknown) => ({ "application/json": { schema } });

/** A schema of the document; those it refers to are put into `schemas`, where its references lead. */
function jsonSchema(schema: z.ZodType, io: "input" | "output", schemas: Record<string, unknown>): unknown {
  const own = JSON.stringify(
    z.toJSONSchema(schema, { io, unrepresentable: "any" }),
    (key, value) => key === "$ref" ? value.replace("#/$defs/", "#/components/schemas/") : value,
  );
  const { $schema: _, $defs, ...rest }: { $schema?: string; $defs?: Record<string, unknown> } = JSON.parse(
    own,
  );
  Object.assign(schemas, $defs);
  return rest;
}

/** GET /openapi.json. */
export function openApiRoutes(): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  let document: Record<string, unknown> | null = null;
  app.get("/openapi.json", (c) => c.json(document ??= openApiDocument()));
  return app;
}

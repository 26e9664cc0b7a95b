// The same error in the shape that each API's clients read: OpenAI's `{"error": {…}}`, Anthropic's with a `type` at
// the top, Ollama's plain text.

import { z } from "zod";
import type { ApiError, ErrorStatus } from "./errors.ts";

const text = z.string();

/** An API's own shape of errors. */
export interface ErrorForm {
  /** In the API's description. */
  readonly name: string;
  /** Of the body. */
  readonly schema: z.ZodType;
  /** The body of an answer. */
  body(error: ApiError, id: string): unknown;
}

const openAiTypes: Readonly<Record<ErrorStatus, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  405: "invalid_request_error",
  408: "timeout_error",
  413: "invalid_request_error",
  429: "rate_limit_error",
  500: "server_error",
  503: "unavailable_error",
};

/** OpenAI's. */
export const openAiErrors: ErrorForm = {
  name: "Error",
  schema: z.object({
    error: z.object({ message: text, type: text, param: text.nullable(), code: text.nullable() }),
  }),
  body: ({ status, message, param, code }) => ({
    error: { message, type: openAiTypes[status], param, code },
  }),
};

const anthropicTypes: Readonly<Record<ErrorStatus, string>> = {
  ...openAiTypes,
  413: "request_too_large",
  500: "api_error",
  503: "overloaded_error",
};

/** The Messages API's. */
export const anthropicErrors: ErrorForm = {
  name: "AnthropicError",
  schema: z.object({
    type: z.literal("error"),
    error: z.object({ type: text, message: text }),
    request_id: text,
  }),
  body: (error, id) => ({
    type: "error",
    error: {
      type: anthropicTypes[error.status],
      // By these words its clients know that they have to shorten a conversation.
      message: error.code === "context_length_exceeded"
        ? `prompt is too long: ${error.message}`
        : error.message,
    },
    request_id: id,
  }),
};

/** Ollama's. */
export const ollamaErrors: ErrorForm = {
  name: "OllamaError",
  schema: z.object({ error: text }),
  body: (error) => ({ error: error.message }),
};

/** All of them. */
export const errorForms: readonly ErrorForm[] = [openAiErrors, anthropicErrors, ollamaErrors];

/** The form of the API that a path belongs to. */
export function errorForm(path: string): ErrorForm {
  if (path === "/v1/messages" || path.startsWith("/v1/messages/")) return anthropicErrors;
  return path.startsWith("/api/") ? ollamaErrors : openAiErrors;
}

/** The whole answer to a request for `path`. */
export function errorResponse(error: ApiError, path: string, id: string): Response {
  const { status, headers } = error;
  return Response.json(errorForm(path).body(error, id), { status, headers });
}

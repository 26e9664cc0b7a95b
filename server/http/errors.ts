// What is wrong with a request, or with the server: a message, and a status that tells a gateway whether trying again
// can help (429, 503) or not (everything that is the request's own fault). `error_forms.ts` has what clients see.

import type { ErrorCode, FinishReason } from "../../engine/params.ts";

/** Statuses that errors have. */
export type ErrorStatus = 400 | 401 | 403 | 404 | 405 | 408 | 413 | 429 | 500 | 503;

interface ErrorDetails {
  /** The field at fault, for example `messages[0].content`. */
  readonly param?: string;
  /** A stable word for programs, for example `model_not_found`. */
  readonly code?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An error with a status; thrown anywhere below a handler, rendered in one place. */
export class ApiError extends Error {
  /** HTTP status. */
  readonly status: ErrorStatus;
  /** Which field is at fault. */
  readonly param: string | null;
  /** For programs, such as "invalid_value". */
  readonly code: string | null;
  /** Such as `Retry-After`. */
  readonly headers: Readonly<Record<string, string>>;

  /** `message` is for people and names what is wrong. */
  constructor(status: ErrorStatus, message: string, details: ErrorDetails = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.param = details.param ?? null;
    this.code = details.code ?? null;
    // Everything that may pass by itself says when to come back.
    const retry: Record<string, string> = status === 429 || status === 503 ? { "retry-after": "1" } : {};
    this.headers = { ...retry, ...details.headers };
  }
}

/** A field of the request, `param`, is at fault: 400. */
export function invalid(param: string, message: string, code = "invalid_value"): ApiError {
  return new ApiError(400, message, { param, code });
}

const statuses: Readonly<Record<ErrorCode, ErrorStatus>> = {
  invalid: 400,
  too_long: 400,
  queue_full: 429,
  unavailable: 503,
  internal: 500,
};

const codes: Readonly<Record<ErrorCode, string>> = {
  invalid: "invalid_value",
  too_long: "context_length_exceeded",
  queue_full: "queue_full",
  unavailable: "unavailable",
  internal: "internal_error",
};

/** The error of a generation that the engine refused or lost. */
export function errorOfFinish(finish: FinishReason & { type: "error" }): ApiError {
  return new ApiError(statuses[finish.code], finish.message, { code: codes[finish.code] });
}

/** Whatever was thrown, as an `ApiError`; unexpected ones keep their details out of the answer. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(500, "internal error; the server's log says more", { code: "internal_error" });
}

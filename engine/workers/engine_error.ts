// The error of a question to the engine that is refused: what a finish reason is for a request.

import type { ErrorCode } from "../params.ts";

/** What a question to the engine is refused with; requests get theirs as a finish reason. */
export class EngineError extends Error {
  /** The error's name. */
  override readonly name = "EngineError";
  /** Which kind. */
  readonly code: ErrorCode;

  /** `message` is for people. */
  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

// Reads a JSON body that nobody has vouched for: content type, size, time, UTF-8, nesting and syntax are checked
// in this order, each before the next can cost anything. By hand and not by hono's body limit, because that one waits
// for the end of a body without any limit on time.

import { Buffer } from "node:buffer";
import { awakeTimeout } from "./awake.ts";
import { ApiError } from "./errors.ts";
import { jsonProblem } from "./json_limits.ts";

/** What a body may cost. */
export interface BodyLimits {
  /** Most bytes of a body. */
  readonly maxBodyBytes: number;
  /** A body must be complete after so many milliseconds. */
  readonly bodyTimeoutMs: number;
}

/**
 * The parsed JSON body of a request.
 *
 * @throws {ApiError} 400 for a wrong content type, broken UTF-8, syntax or nesting; 408 for a body that does not
 * come; 413 for one that is too large.
 */
export async function readJson(request: Request, limits: BodyLimits): Promise<unknown> {
  requireJson(request.headers.get("content-type"));
  const bytes = await readBytes(request, limits);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ApiError(400, "the body is not valid UTF-8", { code: "invalid_encoding" });
  }
  const problem = jsonProblem(text);
  if (problem !== null) throw new ApiError(400, `the body ${problem}`, { code: "body_too_complex" });
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ApiError(400, `the body is not valid JSON: ${reason}`, { code: "invalid_json" });
  }
}

function requireJson(contentType: string | null): void {
  const media = (contentType ?? "").split(";", 1)[0]!.trim().toLowerCase();
  if (media === "application/json" || /^application\/[a-z0-9.+-]+\+json$/.test(media)) return;
  throw new ApiError(400, "send the body as JSON, with the header content-type: application/json", {
    code: "invalid_content_type",
  });
}

async function readBytes(request: Request, limits: BodyLimits): Promise<Uint8Array> {
  const tooLarge = () =>
    new ApiError(413, `the body is larger than ${limits.maxBodyBytes} bytes`, {
      code: "body_too_large",
      headers: { connection: "close" },
    });
  if (Number(request.headers.get("content-length") ?? 0) > limits.maxBodyBytes) throw tooLarge();
  if (request.body === null) return new Uint8Array(0);

  const reader = request.body.getReader();
  let timedOut = false;
  const callOff = awakeTimeout(limits.bodyTimeoutMs, () => {
    timedOut = true;
    reader.cancel().catch(() => {}); // Ends the pending read; the connection may be gone already.
  });
  const late = () =>
    new ApiError(408, `the body was not complete after ${limits.bodyTimeoutMs / 1000} s`, {
      code: "body_timeout",
      headers: { connection: "close" },
    });
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (timedOut) throw late();
      if (done) break;
      length += value.byteLength;
      if (length > limits.maxBodyBytes) throw tooLarge();
      chunks.push(value);
    }
  } catch (error) {
    if (timedOut) throw late();
    if (error instanceof ApiError) {
      reader.cancel().catch(() => {}); // What is still to come is of no interest.
      throw error;
    }
    throw new ApiError(400, "the connection closed before the body was complete", {
      code: "body_incomplete",
    });
  } finally {
    callOff();
  }
  return Buffer.concat(chunks, length);
}

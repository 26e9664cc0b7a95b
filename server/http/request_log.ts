// The access log: one line per request, written when its answer is complete, with the id the client saw.

import type { Usage } from "./run.ts";

/** What is logged about a request. */
export interface LogEntry {
  /** The id that the client sees. */
  readonly id: string;
  /** The client's address. */
  readonly remote: string;
  /** Of HTTP. */
  readonly method: string;
  /** Without query. */
  readonly path: string;
  /** HTTP status. */
  readonly status: number;
  /** From the request's arrival to its last byte. */
  readonly milliseconds: number;
  /** Null where nothing was generated. */
  readonly usage: Usage | null;
  /** Finish reasons, or what went wrong. */
  readonly outcome: string | null;
}

/** One line, without its end. */
export function logLine(entry: LogEntry, format: "text" | "json"): string {
  const time = new Date().toISOString();
  const milliseconds = Math.round(entry.milliseconds * 10) / 10;
  if (format === "json") return JSON.stringify({ time, ...entry, milliseconds });
  const { usage } = entry;
  return [
    time,
    entry.remote,
    entry.method,
    entry.path,
    entry.status,
    `${milliseconds}ms`,
    ...(usage === null ? [] : [
      `prompt=${usage.prompt_tokens}`,
      `cached=${usage.prompt_tokens_details.cached_tokens}`,
      `completion=${usage.completion_tokens}`,
    ]),
    ...(entry.outcome === null ? [] : [`outcome=${JSON.stringify(entry.outcome)}`]),
    `id=${entry.id}`,
  ].join(" ");
}

/** What is known of a request so far; `finish` writes the line, once. */
export class RequestRecord {
  /** The id that the client sees. */
  readonly id: string;
  /** HTTP status, once it is known. */
  status = 0;
  /** Tokens, once they are counted. */
  usage: Usage | null = null;
  /** Why it did not end normally. */
  outcome: string | null = null;
  /** The answer is a stream that writes the line itself when it ends. */
  streaming = false;
  readonly #startedAt = performance.now();
  readonly #request: { readonly remote: string; readonly method: string; readonly path: string };
  readonly #write: (entry: LogEntry) => void;
  #finished = false;

  /** Made when the request arrives. */
  constructor(
    id: string,
    request: { readonly remote: string; readonly method: string; readonly path: string },
    write: (entry: LogEntry) => void,
  ) {
    this.id = id;
    this.#request = request;
    this.#write = write;
  }

  /** Logs the request, once. */
  finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    const { id, status, usage, outcome } = this;
    this.#write({
      id,
      ...this.#request,
      status,
      milliseconds: performance.now() - this.#startedAt,
      usage,
      outcome,
    });
  }
}

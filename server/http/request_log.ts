// The access log: one line per request, written when its answer is complete, with the id the client saw.

import type { Usage } from "./run.ts";

export interface LogEntry {
  readonly id: string;
  readonly remote: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly milliseconds: number;
  readonly usage: Usage | null;
  /** Finish reasons, or what went wrong. */
  readonly outcome: string | null;
}

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
  readonly id: string;
  status = 0;
  usage: Usage | null = null;
  outcome: string | null = null;
  /** The answer is a stream that writes the line itself when it ends. */
  streaming = false;
  readonly #startedAt = performance.now();
  readonly #request: { readonly remote: string; readonly method: string; readonly path: string };
  readonly #write: (entry: LogEntry) => void;
  #finished = false;

  constructor(
    id: string,
    request: { readonly remote: string; readonly method: string; readonly path: string },
    write: (entry: LogEntry) => void,
  ) {
    this.id = id;
    this.#request = request;
    this.#write = write;
  }

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

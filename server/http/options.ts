// Settings of the HTTP server; the command line fills them in.

import type { BodyLimits } from "./body.ts";

/** How the server behaves. */
export interface ServerOptions extends BodyLimits {
  /** Name that clients use; by default the model's id. */
  readonly servedModelName: string | null;
  /** Required of every request but `/health`. */
  readonly apiKey: string | null;
  /** True when the server listens on a loopback address only: then the `Host` header must be a loopback name. */
  readonly loopback: boolean;
  /** Further names accepted in the `Host` header, for example of a proxy in front. */
  readonly allowedHosts: readonly string[];
  /** Origins of pages that may call the server from a browser; "*" for all. */
  readonly corsOrigins: readonly string[];
  /** "auto" splits `<think>` text off; "none" leaves it in the content. */
  readonly reasoningParser: "auto" | "none";
  /** "auto" turns Hermes-style `<tool_call>` blocks into tool calls when a request has tools. */
  readonly toolParser: "auto" | "none";
  /** Silence on a stream after which a comment line is sent, in milliseconds. */
  readonly keepAliveMs: number;
  /** `/health` is 503 if the scheduler or a rank has left a question open for so many milliseconds. */
  readonly healthTimeoutMs: number;
  /** One line per finished request. */
  readonly logFormat: "text" | "json" | "none";
  /** Takes a line of the access log, or the stack of an unexpected error. */
  readonly log: (line: string) => void;
}

/** For a server on loopback. */
export const defaultServerOptions: ServerOptions = {
  maxBodyBytes: 16 * 1024 * 1024,
  bodyTimeoutMs: 30_000,
  servedModelName: null,
  apiKey: null,
  loopback: true,
  allowedHosts: [],
  corsOrigins: [],
  reasoningParser: "auto",
  toolParser: "auto",
  keepAliveMs: 15_000,
  healthTimeoutMs: 30_000,
  logFormat: "text",
  log: (line) => console.error(line),
};

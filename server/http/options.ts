// Settings of the HTTP server; the command line fills them in.

import type { BodyLimits } from "./body.ts";
import type { TaskOption } from "./model_task.ts";
import type { ToolParserName } from "./parsers/tool_format.ts";
import { LogWriter } from "./log_writer.ts";

/** How the server behaves. */
export interface ServerOptions extends BodyLimits {
  /** Name that clients use; by default the model's id. */
  readonly servedModelName: string | null;
  /** One of them is required of every request but `/health`; none: everybody may ask. */
  readonly apiKeys: readonly string[];
  /** True when the server listens on a loopback address only: then the `Host` header must be a loopback name. */
  readonly loopback: boolean;
  /** Further names accepted in the `Host` header, for example of a proxy in front. */
  readonly allowedHosts: readonly string[];
  /** Origins of pages that may call the server from a browser; "*" for all. */
  readonly corsOrigins: readonly string[];
  /** "auto" splits `<think>` text off; "none" leaves it in the content. */
  readonly reasoningParser: "auto" | "none";
  /** In which form tool calls are looked for when a request has tools: "auto" asks the chat template. */
  readonly toolParser: ToolParserName;
  /** What the model is for; "auto" goes by its files and its name. */
  readonly task: TaskOption;
  /** Silence on a stream after which a comment line is sent, in milliseconds. */
  readonly keepAliveMs: number;
  /** The headers of a request must be complete after so many milliseconds. */
  readonly headerTimeoutMs: number;
  /** Connections at a time; null: as many as the limit on open files allows, at most 4,096. */
  readonly maxConnections: number | null;
  /** One line per finished request. */
  readonly logFormat: "text" | "json" | "none";
  /** Takes a line of the access log, or the stack of an unexpected error. Must not throw. */
  readonly log: (line: string) => void;
  /** Lines of the log that could not be written. */
  readonly droppedLines: () => number;
}

/** Standard error, shared by everything that logs. */
export const standardError: LogWriter = new LogWriter();

/** For a server on loopback. */
export const defaultServerOptions: ServerOptions = {
  maxBodyBytes: 16 * 1024 * 1024,
  bodyTimeoutMs: 30_000,
  servedModelName: null,
  apiKeys: [],
  loopback: true,
  allowedHosts: [],
  corsOrigins: [],
  reasoningParser: "auto",
  toolParser: "auto",
  task: "auto",
  keepAliveMs: 15_000,
  headerTimeoutMs: 10_000,
  maxConnections: null,
  logFormat: "text",
  log: (line) => standardError.write(line),
  droppedLines: () => standardError.dropped,
};

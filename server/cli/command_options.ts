// Every command's own options. What a command does with them is in the file of its name.

import { taskNames } from "../http/model_task.ts";
import { toolParserNames } from "../http/parsers/tool_format.ts";
import { object } from "@optique/core/constructs";
import { multiple } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { defaultServerOptions } from "../http/options.ts";
import { commonOptions, sessionOptions, sourceOption } from "./engine_options.ts";
import {
  asGroup,
  flag,
  list,
  number,
  oneOf,
  path,
  positional,
  text,
  value,
  whole,
  wholes,
} from "./option.ts";
import { outputOptions } from "./output_grammar.ts";
import { samplingOptions } from "./sampling_options.ts";

const mebibyte = 2 ** 20;

/** Of `radish generate`. */
export const generateOptions = (all: boolean) =>
  object({
    own: object("Prompt and answer", {
      words: multiple(positional("PROMPT", "the prompt; - is standard input")),
      chat: flag("--chat", "apply the chat template, as is done when there is one", { hidden: !all }),
      raw: flag("--raw", "continue the text as it is: no chat template"),
      system: value("--system", text("TEXT"), "system message"),
      file: value("-f --file", path("PATH"), "read the prompt from a file"),
      batch: value("--batch", path("JSONL"), "a prompt or conversation a line; JSON lines out"),
      json: flag("--json", "print one JSON object: text, token counts, timings"),
      ...outputOptions,
    }, asGroup),
    sampling: samplingOptions(all),
    ...sessionOptions(all),
  });

/** Of `radish embed`. */
export const embedOptions = (all: boolean) =>
  object({
    own: object("Text and embedding", {
      words: multiple(positional("TEXT", "the text; - is standard input")),
      file: value("-f --file", path("PATH"), "read the text from a file"),
      lines: flag("--lines", "every line is a text; one JSON object a line"),
      dimensions: value("--dimensions", whole("N", 1, 1 << 20), "the first so many numbers, of length 1", {
        shows: "all",
      }),
    }, asGroup),
    ...sessionOptions(all),
  });

const conversation = (all: boolean) => ({
  own: object("Conversation", {
    system: value("--system", text("TEXT"), "system message"),
    stats: flag("--stats", "speed and token counts after each answer"),
    hideReasoning: flag("--hide-reasoning", "do not show <think> text"),
  }, asGroup),
  sampling: samplingOptions(all),
  ...sessionOptions(all),
});

/** Of `radish chat`. */
export const chatOptions = (all: boolean) => object(conversation(all));

/** Of `radish run`. */
export const runOptions = (all: boolean) =>
  object({
    words: multiple(
      positional("MODEL", "Hub id, folder, GGUF file or short name; what follows is the prompt"),
      { min: 1 },
    ),
    ...conversation(all),
  });

/** Of `radish serve`. */
export const serveOptions = (all: boolean) => {
  const often = { env: true };
  const rarely = { env: true, hidden: !all };
  const { maxBodyBytes, bodyTimeoutMs, logFormat } = defaultServerOptions;
  return object({
    own: object("Server (each also from the environment: RADISH_HOST …)", {
      host: value("--host", text("ADDR"), "address to listen on", { ...often, fallback: "127.0.0.1" }),
      port: value("-p --port", whole("N", 0, 65535), "0 picks a free one", { ...often, fallback: 1919 }),
      apiKeys: list("--api-key", "KEY", "one is required of every request but /health", often),
      servedModelName: value("--served-model-name", text("NAME"), "the model's name for clients", {
        ...often,
        fallback: null,
      }),
      corsOrigins: list("--cors-origin", "ORIGIN", "pages that may call the server; * for all", often),
      allowedHosts: list("--allowed-host", "NAME", "further names in Host, as of a proxy", rarely),
      drainTimeout: value(
        "--drain-timeout",
        number("SECONDS", { min: 0, max: 86400 }),
        "for running requests, at the end",
        {
          ...often,
          fallback: 30,
        },
      ),
      maxBody: value("--max-body", number("MIB", { min: 0.001, max: 1024 }), "largest request body", {
        ...rarely,
        fallback: maxBodyBytes / mebibyte,
      }),
      bodyTimeout: value(
        "--body-timeout",
        number("SECONDS", { min: 0.1, max: 3600 }),
        "for a body to arrive",
        {
          ...rarely,
          fallback: bodyTimeoutMs / 1000,
        },
      ),
      maxConnections: value("--max-connections", whole("N", 1, 1_000_000), "at a time", {
        ...rarely,
        fallback: null,
        shows: "as the limit on open files allows",
      }),
      watchdogTimeout: value(
        "--watchdog-timeout",
        number("SECONDS", { min: 1, max: 86400 }),
        "silence of a worker that ends the server",
        {
          ...rarely,
          fallback: 30,
        },
      ),
      reasoningParser: value("--reasoning-parser", oneOf(["auto", "none"]), "split <think> text off", {
        ...often,
        fallback: "auto" as const,
      }),
      toolParser: value(
        "--tool-parser",
        oneOf([...toolParserNames]),
        "form of tool calls; auto asks the chat template",
        {
          ...often,
          fallback: "auto" as const,
        },
      ),
      task: value("--task", oneOf([...taskNames]), "what the model is for; auto asks its files and name", {
        ...often,
        fallback: "auto" as const,
      }),
      logFormat: value("--log-format", oneOf(["text", "json", "none"]), "access log on standard error", {
        ...often,
        fallback: logFormat,
      }),
    }, asGroup),
    ...sessionOptions(all),
  });
};

/** Of `radish launch`. */
export const launchOptions = (all: boolean) =>
  object({
    words: multiple(positional("TOOL", "claude, codex or opencode; what follows -- goes to it"), { min: 1 }),
    own: object("Server", {
      url: value("--url", text("URL"), "a server that runs; without it one is started if none does", {
        fallback: null,
        shows: "http://127.0.0.1:1919",
      }),
      apiKey: value("--api-key", text("KEY"), "the server's key", { fallback: null, env: true }),
      dryRun: flag("--dry-run", "print what would be set and run"),
    }, asGroup),
    ...sessionOptions(all),
  });

/** Of `radish bench`. */
export const benchOptions = (all: boolean) =>
  object({
    own: object("Measurement", {
      prompts: value("--prompts", wholes("N,N,…", 1 << 20), "prompt lengths in tokens", {
        fallback: [128, 512, 2048],
      }),
      batches: value("--batches", wholes("N,N,…", 1 << 20), "requests at once", { fallback: [1, 4, 16, 64] }),
      context: value("--context", whole("TOKENS", 1, 1 << 20), "prompt before the answers", {
        fallback: 128,
      }),
      tokens: value("-n --tokens", whole("N", 2, 1 << 20), "tokens per answer", { fallback: 128 }),
      repeat: value("--repeat", whole("N", 1, 100), "runs of each; the median counts", { fallback: 3 }),
      json: flag("--json", "print one JSON object"),
    }, asGroup),
    ...sessionOptions(all),
  });

/** Of `radish pull`. */
export const pullOptions = () =>
  object({
    model: positional("MODEL", "Hub id (of GGUF files: owner/name:Q4_K_M), address, or short name"),
    own: object("Download", {
      revision: value("--revision", text("REV"), "branch, tag or commit", { shows: "the main branch" }),
      source: sourceOption(),
      connections: value("--connections", whole("N", 1, 64), "transfers at a time", { fallback: 8 }),
    }, asGroup),
    common: commonOptions(),
  });

/** Of `radish list`. */
export const listOptions = () =>
  object({
    architectures: flag("--architectures", "print the architectures that can run, not the models"),
    json: flag("--json", "print a JSON array"),
    common: commonOptions(),
  });

/** Of `radish rm`. */
export const removeOptions = () =>
  object({
    model: positional("MODEL", "Hub id (of GGUF files: owner/name:Q4_K_M), address, or short name"),
    source: sourceOption(),
    common: commonOptions(),
  });

/** Of `radish doctor`. */
export const doctorOptions = () =>
  object({
    fix: flag("--fix", "install what is missing (as root on Debian or Ubuntu)"),
    json: flag("--json", "print one JSON object"),
    common: commonOptions(),
  });

/** What they parse to. */
export type GenerateOptions = InferValue<ReturnType<typeof generateOptions>>;
/** What they parse to. */
export type EmbedOptions = InferValue<ReturnType<typeof embedOptions>>;
/** What they parse to. */
export type ChatOptions = InferValue<ReturnType<typeof chatOptions>>;
/** What they parse to. */
export type RunOptions = InferValue<ReturnType<typeof runOptions>>;
/** What they parse to. */
export type LaunchOptions = InferValue<ReturnType<typeof launchOptions>>;
/** Values of them. */
export type ServeOptions = InferValue<ReturnType<typeof serveOptions>>;
/** What they parse to. */
export type BenchOptions = InferValue<ReturnType<typeof benchOptions>>;
/** What they parse to. */
export type PullOptions = InferValue<ReturnType<typeof pullOptions>>;
/** What they parse to. */
export type ListOptions = InferValue<ReturnType<typeof listOptions>>;
/** What they parse to. */
export type RemoveOptions = InferValue<ReturnType<typeof removeOptions>>;
/** What they parse to. */
export type DoctorOptions = InferValue<ReturnType<typeof doctorOptions>>;

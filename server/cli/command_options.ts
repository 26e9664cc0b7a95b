// Every command's own options. What a command does with them is in the file of its name.

import { taskNames } from "../http/model_task.ts";
import { toolParserNames } from "../http/parsers/tool_format.ts";
import { object } from "@optique/core/constructs";
import { text as message } from "@optique/core/message";
import { multiple } from "@optique/core/modifiers";
import type { InferValue, Parser } from "@optique/core/parser";
import { defaultServerOptions } from "../http/options.ts";
import { defaultRouting } from "../replicas/policy.ts";
import { commonOptions, sessionOptions, sourceOption } from "./engine_options.ts";
import {
  asGroup,
  flag,
  list,
  number,
  oneOf,
  path,
  positional,
  seconds,
  text,
  value,
  valueWith,
  whole,
  wholes,
} from "./option.ts";
import { outputOptions } from "./output_grammar.ts";
import { samplingOptions } from "./sampling_options.ts";

const mebibyte = 2 ** 20, day = 86400;

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

const atLeastOne = (otherwise: string) => ({ min: 1, errors: { tooFew: [message(otherwise)] } });

/** Of `radish chat`. */
export const chatOptions = (all: boolean) => object(conversation(all));

/** Of `radish run`. */
export const runOptions = (all: boolean) =>
  object({
    words: multiple(
      positional("MODEL", "Hub id, folder, GGUF file or short name; what follows is the prompt"),
      atLeastOne("say which model: radish run qwen3:0.6b; radish list shows those that are here"),
    ),
    ...conversation(all),
  });

/** Of `radish serve`. */
export const serveOptions = (all: boolean) => {
  const env = { env: true }, rare = { env: true, hidden: !all };
  const often = valueWith(env), rarely = valueWith(rare);
  const { maxBodyBytes, bodyTimeoutMs, logFormat } = defaultServerOptions;
  return object({
    own: object("Server (each also from the environment: RADISH_HOST …)", {
      host: often("--host", text("ADDR"), "address to listen on", { fallback: "127.0.0.1" }),
      port: often("-p --port", whole("N", 0, 65535), "0 picks a free one", { fallback: 1919 }),
      apiKeys: list("--api-key", "KEY", "one is required of every request but /health", env),
      servedModelName: often("--served-model-name", text("NAME"), "the model's name for clients", {
        fallback: null,
      }),
      corsOrigins: list("--cors-origin", "ORIGIN", "pages that may call the server; * for all", env),
      allowedHosts: list("--allowed-host", "NAME", "further names in Host, as of a proxy", rare),
      drainTimeout: often("--drain-timeout", seconds(0, day), "for running requests, at the end", {
        fallback: 30,
      }),
      maxBody: rarely("--max-body", number("MIB", { min: 0.001, max: 1024 }), "largest request body", {
        fallback: maxBodyBytes / mebibyte,
      }),
      bodyTimeout: rarely("--body-timeout", seconds(0.1, 3600), "for a body to arrive", {
        fallback: bodyTimeoutMs / 1000,
      }),
      maxConnections: rarely("--max-connections", whole("N", 1, 1_000_000), "at a time", {
        fallback: null,
        shows: "as the limit on open files allows",
      }),
      dp: rarely("--dp", whole("N", 1, 64), "engines with caches of their own, --tp ranks each", {
        fallback: 1,
      }),
      cacheThreshold: rarely(
        "--cache-threshold",
        number("SHARE", { min: 0, max: 1 }),
        "of a prompt that a replica knows for it to be sent there",
        { fallback: defaultRouting.cacheThreshold },
      ),
      balanceAbsolute: rarely(
        "--balance-abs-threshold",
        whole("REQUESTS", 0),
        "more than the least busy replica has: prompts go there",
        { fallback: defaultRouting.balanceAbsolute },
      ),
      balanceRelative: rarely(
        "--balance-rel-threshold",
        number("FACTOR", { min: 1 }),
        "times the least busy one's, too",
        { fallback: defaultRouting.balanceRelative },
      ),
      watchdogTimeout: rarely(
        "--watchdog-timeout",
        seconds(1, day),
        "silence of a worker that ends the server",
        { fallback: 30 },
      ),
      reasoningParser: often("--reasoning-parser", oneOf(["auto", "none"]), "split <think> text off", {
        fallback: "auto",
      }),
      toolParser: often(
        "--tool-parser",
        oneOf([...toolParserNames]),
        "form of tool calls; auto asks the chat template",
        { fallback: "auto" },
      ),
      task: often("--task", oneOf([...taskNames]), "what the model is for; auto asks its files and name", {
        fallback: "auto",
      }),
      logFormat: often("--log-format", oneOf(["text", "json", "none"]), "access log on standard error", {
        fallback: logFormat,
      }),
    }, asGroup),
    ...sessionOptions(all),
  });
};

/** Of `radish launch`. */
export const launchOptions = (all: boolean) =>
  object({
    words: multiple(
      positional("TOOL", "claude, codex or opencode; what follows -- goes to it"),
      atLeastOne("say which tool: radish launch claude, codex or opencode"),
    ),
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

/** What the options of a command parse to: `Parsed<typeof generateOptions>`. */
export type Parsed<Declare extends (all: boolean) => Parser> = InferValue<ReturnType<Declare>>;

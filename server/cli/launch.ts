// `radish launch TOOL`: starts a coding agent against this engine. A server that runs already is used, else one is
// started for as long as the tool runs. The tool is told by its environment and arguments alone: none of its files
// are changed.

import { z } from "zod";
import { createApp } from "../http/app.ts";
import { defaultServerOptions, standardError } from "../http/options.ts";
import { listen } from "../http/server.ts";
import type { launchOptions, Parsed } from "./command_options.ts";
import { UsageError } from "./option.ts";
import { printLine } from "./output.ts";
import { startSession } from "./session.ts";

/** What a tool has to know. */
export interface Served {
  /** The server, without a path. */
  readonly url: string;
  /** The model's name. */
  readonly model: string;
  /** Most tokens of prompt and answer; null while it is not known. */
  readonly contextLength: number | null;
  /** The server's key; tools want one even where the server does not. */
  readonly key: string;
}

/** How a tool is started. */
export interface Launch {
  /** The program. */
  readonly command: string;
  /** Before the user's own. */
  readonly args: readonly string[];
  /** Added to the environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** The tools that are known, by name. */
export const tools: Readonly<Record<string, (served: Served) => Launch>> = { claude, codex, opencode };

/** What a server says of its models; the first is taken. */
const card = z.object({ id: z.string(), max_model_len: z.number().nullable().catch(null) });
const modelsSchema = z.object({ data: z.tuple([card]).rest(z.unknown()) });

/** Where `radish serve` listens. */
const defaultUrl = "http://127.0.0.1:1919";

/** An answer may take this part of the context, up to a bound. */
function mostOutput(contextLength: number): number {
  return Math.min(32_000, Math.floor(contextLength / 2));
}

function claude({ url, model, contextLength, key }: Served): Launch {
  return {
    command: "claude",
    args: [],
    env: {
      ANTHROPIC_BASE_URL: url,
      ANTHROPIC_AUTH_TOKEN: key,
      ANTHROPIC_API_KEY: "",
      ANTHROPIC_MODEL: model,
      ANTHROPIC_DEFAULT_OPUS_MODEL: model,
      ANTHROPIC_DEFAULT_SONNET_MODEL: model,
      ANTHROPIC_DEFAULT_HAIKU_MODEL: model,
      CLAUDE_CODE_SUBAGENT_MODEL: model,
      CLAUDE_CODE_ATTRIBUTION_HEADER: "0",
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
      ...(contextLength === null ? {} : {
        CLAUDE_CODE_MAX_CONTEXT_TOKENS: String(contextLength),
        CLAUDE_CODE_MAX_OUTPUT_TOKENS: String(mostOutput(contextLength)),
      }),
    },
  };
}

function codex({ url, model, contextLength, key }: Served): Launch {
  const settings = {
    model_provider: "radish",
    model,
    "model_providers.radish.name": "radish",
    "model_providers.radish.base_url": `${url}/v1`,
    "model_providers.radish.wire_api": "responses",
    "model_providers.radish.env_key": "RADISH_API_KEY",
    web_search: "disabled",
    ...(contextLength === null ? {} : { model_context_window: contextLength }),
  };
  // Values are TOML, in which a JSON string or number means the same.
  const args = Object.entries(settings).flatMap((
    [name, value],
  ) => ["-c", `${name}=${JSON.stringify(value)}`]);
  return { command: "codex", args, env: { RADISH_API_KEY: key } };
}

function opencode({ url, model, contextLength, key }: Served): Launch {
  const limit = contextLength === null
    ? {}
    : { limit: { context: contextLength, output: mostOutput(contextLength) } };
  const config = {
    $schema: "https://opencode.ai/config.json",
    model: `radish/${model}`,
    small_model: `radish/${model}`,
    autoupdate: false,
    share: "disabled",
    provider: {
      radish: {
        npm: "@ai-sdk/openai-compatible",
        name: "radish",
        options: { baseURL: `${url}/v1`, apiKey: key },
        models: { [model]: { name: model, ...limit } },
      },
    },
  };
  return { command: "opencode", args: [], env: { OPENCODE_CONFIG_CONTENT: JSON.stringify(config) } };
}

/** Runs the command; the exit code is the tool's. */
export async function launch({ own, words, ...session }: Parsed<typeof launchOptions>): Promise<number> {
  const [name = "", ...args] = words;
  const tool = tools[name];
  if (tool === undefined) {
    throw new UsageError(`launch needs one of ${Object.keys(tools).join(", ")}, not ${JSON.stringify(name)}`);
  }
  const key = own.apiKey ?? "radish";
  const url = (own.url ?? defaultUrl).replace(/\/+$/, "");
  const found = await findServer(url, key);
  if (found !== null) {
    const start = tool({ ...found, key });
    return own.dryRun ? show(start, args) : await run(start, args);
  }
  if (own.url !== null) throw new Error(`no server answers at ${url}; start one with radish serve`);
  if (own.dryRun) {
    const model = session.engine.name ?? "pocket";
    const { contextLength } = session.engine;
    return show(tool({ url, model, contextLength, key }), args);
  }
  await using ready = await startSession(session, true);
  const app = createApp(ready.engine, { ...defaultServerOptions, logFormat: "none" });
  const server = listen(app, { hostname: "127.0.0.1", port: Number(new URL(url).port) });
  try {
    const { contextLength } = ready.engine.model;
    return await run(tool({ url: server.url, model: app.service.modelName, contextLength, key }), args);
  } finally {
    await server.shutdown(0);
    await standardError.flush();
  }
}

/** The server at an address and what it serves; null if none answers. */
async function findServer(url: string, key: string): Promise<Omit<Served, "key"> | null> {
  let response: Response;
  try {
    const signal = AbortSignal.timeout(2_000);
    response = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` }, signal });
  } catch {
    return null;
  }
  const body: unknown = await response.json().catch(() => null);
  if (response.status === 401) throw new Error(`the server at ${url} wants a key: give it with --api-key`);
  const { data: models } = modelsSchema.safeParse(body);
  if (models === undefined) {
    throw new Error(`what answers at ${url} is not a server of models, or is not ready`);
  }
  const [{ id, max_model_len }] = models.data;
  return { url, model: id, contextLength: max_model_len };
}

function show({ command, args, env }: Launch, own: readonly string[]): number {
  for (const [name, value] of Object.entries(env)) printLine(`export ${name}=${quoted(value)}`);
  printLine([command, ...args, ...own].map(quoted).join(" "));
  return 0;
}

/** For a POSIX shell. */
function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

async function run({ command, args, env }: Launch, own: readonly string[]): Promise<number> {
  const child = start(command, [...args, ...own], env);
  // Ctrl-C reaches the tool as well, and what it means is the tool's to say.
  const ignore = () => {};
  Deno.addSignalListener("SIGINT", ignore);
  try {
    return (await child.status).code;
  } finally {
    Deno.removeSignalListener("SIGINT", ignore);
  }
}

function start(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Deno.ChildProcess {
  try {
    return new Deno.Command(command, { args: [...args], env: { ...env }, stdin: "inherit" }).spawn();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(`${command} is not installed, or not on the PATH`);
  }
}

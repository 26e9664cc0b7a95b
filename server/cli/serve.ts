// `radish serve`: the HTTP server, from options to exit code. It listens at once and answers 503 until the model is
// loaded, so that whoever watches `/health` sees it come up.

import { withDeadline } from "../../engine/workers/deadline.ts";
import { isKey } from "../http/access.ts";
import { createApp } from "../http/app.ts";
import { defaultServerOptions, type ServerOptions, standardError } from "../http/options.ts";
import { isLoopback, listen, type RunningServer } from "../http/server.ts";
import type { Command, OptionValues } from "./command.ts";
import { commonOptionSpecs, engineOptionSpecs } from "./engine_options.ts";
import { type Session, startSession } from "./session.ts";

const mebibyte = 1024 * 1024;

/** The subcommand. */
export const serve: Command = {
  name: "serve",
  summary: "an OpenAI-compatible HTTP server",
  positionals: "",
  maxPositionals: 0,
  options: [
    { name: "host", kind: "text", value: "ADDR", env: "RADISH_HOST", help: "address", fallback: "127.0.0.1" },
    {
      name: "port",
      short: "p",
      kind: "integer",
      value: "N",
      min: 0,
      max: 65535,
      env: "RADISH_PORT",
      help: "port; 0 picks a free one",
      fallback: "1919",
    },
    {
      name: "api-key",
      kind: "list",
      value: "KEY",
      env: "RADISH_API_KEY",
      help: "one of them is required of every request but /health",
    },
    { name: "served-model-name", kind: "text", value: "NAME", help: "the model's name for clients" },
    { name: "cors-origin", kind: "list", value: "ORIGIN", help: "pages that may call the server; * for all" },
    {
      name: "allowed-host",
      kind: "list",
      value: "NAME",
      help: "further names in Host, as of a proxy in front",
    },
    {
      name: "drain-timeout",
      kind: "number",
      value: "SECONDS",
      min: 0,
      max: 86400,
      help: "for running requests, at the end",
      fallback: "30",
    },
    {
      name: "max-body",
      kind: "number",
      value: "MIB",
      min: 0.001,
      max: 1024,
      help: "largest request body",
      fallback: "16",
    },
    {
      name: "body-timeout",
      kind: "number",
      value: "SECONDS",
      min: 0.1,
      max: 3600,
      help: "for a body to arrive",
      fallback: "30",
    },
    {
      name: "max-connections",
      kind: "integer",
      value: "N",
      min: 1,
      max: 1_000_000,
      help: "(default by the limit on open files)",
    },
    {
      name: "watchdog-timeout",
      kind: "number",
      value: "SECONDS",
      min: 1,
      max: 86400,
      help: "silence of a worker that ends the server",
      fallback: "30",
    },
    {
      name: "reasoning-parser",
      kind: "text",
      choices: ["auto", "none"],
      help: "split <think> text off",
      fallback: "auto",
    },
    {
      name: "tool-parser",
      kind: "text",
      choices: ["auto", "none"],
      help: "turn <tool_call> blocks into tool calls",
      fallback: "auto",
    },
    {
      name: "log-format",
      kind: "text",
      choices: ["text", "json", "none"],
      env: "RADISH_LOG_FORMAT",
      help: "access log on standard error",
      fallback: "text",
    },
    ...engineOptionSpecs,
    ...commonOptionSpecs,
  ],
  example: "radish serve --model Qwen/Qwen3-0.6B --port 8000",
  run,
};

async function run(values: OptionValues): Promise<number> {
  const hostname = values.text("host") ?? "127.0.0.1";
  const options = serverOptions(values, hostname);
  const note = values.flag("quiet") ? () => {} : (text: string) => standardError.write(`radish: ${text}`);

  const loading = Promise.withResolvers<Session["engine"]>();
  const app = createApp(loading.promise, options);
  const server = listen(app, { hostname, port: values.number("port") ?? 1919 });
  using signals = onSignals();
  note(`listening on ${server.url}`);
  if (!options.loopback && options.apiKeys.length === 0) {
    standardError.write(
      `radish: warning: anyone who can reach ${hostname} can use this server; --api-key closes it`,
    );
  }
  const started = startSession(values, true, { stallSeconds: values.number("watchdog-timeout") ?? 30 });
  started.then(({ engine }) => loading.resolve(engine), loading.reject);
  const session = await Promise.race([started, signals.first]);
  if (session === "signal") return 0; // Nothing runs while the model loads.
  await using _ = session;
  note(`ready: ${app.service.modelName}`);
  const { templateProblem } = session.engine.model;
  if (templateProblem !== null) note(`warning: conversations cannot be rendered: ${templateProblem}`);

  const ended = await Promise.race([signals.first, session.engine.dead]);
  if (ended !== "signal") return await stop(ended, server);
  return await finish(
    app.service.runningRequests,
    server,
    (values.number("drain-timeout") ?? 30) * 1000,
    note,
  );
}

/** The engine is dead: everybody is told so for a moment, then the process ends, for its supervisor to start it again. */
async function stop(reason: Error, server: RunningServer): Promise<number> {
  standardError.write(`radish: the engine stopped: ${reason.message}`);
  await new Promise((resolve) => setTimeout(resolve, deadMs));
  await server.shutdown(0);
  await flushLog();
  return 1;
}

/** How long a server whose engine is dead goes on answering 503. */
const deadMs = 1_000;

async function flushLog(): Promise<void> {
  await withDeadline(standardError.flush(), 500);
}

async function finish(
  running: number,
  server: RunningServer,
  drainMs: number,
  note: (text: string) => void,
): Promise<number> {
  if (running > 0) {
    note(`finishing ${running} request${running > 1 ? "s" : ""}; a second signal ends at once`);
  }
  if (!await server.shutdown(drainMs)) note("some requests were aborted: --drain-timeout has passed");
  await flushLog();
  return 0;
}

function serverOptions(values: OptionValues, hostname: string): ServerOptions {
  const base = defaultServerOptions;
  return {
    ...base,
    maxBodyBytes: Math.floor((values.number("max-body") ?? base.maxBodyBytes / mebibyte) * mebibyte),
    bodyTimeoutMs: (values.number("body-timeout") ?? base.bodyTimeoutMs / 1000) * 1000,
    servedModelName: values.text("served-model-name") ?? null,
    apiKeys: apiKeys(values.list("api-key")),
    maxConnections: values.number("max-connections") ?? null,
    loopback: isLoopback(hostname),
    allowedHosts: values.list("allowed-host"),
    corsOrigins: values.list("cors-origin"),
    reasoningParser: values.text("reasoning-parser") === "none" ? "none" : "auto",
    toolParser: values.text("tool-parser") === "none" ? "none" : "auto",
    logFormat: (values.text("log-format") ?? base.logFormat) as ServerOptions["logFormat"],
  };
}

function apiKeys(keys: readonly string[]): readonly string[] {
  if (keys.every(isKey)) return keys;
  throw new Error(
    "--api-key: a key consists of letters, digits and . _ ~ + / - only, or no client could send it",
  );
}

/** The first signal is an event, the second the end. */
function onSignals(): { readonly first: Promise<"signal"> } & Disposable {
  const { promise, resolve } = Promise.withResolvers<"signal">();
  let count = 0;
  const listener = () => {
    if (++count > 1) Deno.exit(130);
    resolve("signal");
  };
  // Windows knows only one of them.
  const signals: readonly Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
  for (const signal of signals) Deno.addSignalListener(signal, listener);
  return {
    first: promise,
    [Symbol.dispose]() {
      for (const signal of signals) Deno.removeSignalListener(signal, listener);
    },
  };
}

// `radish serve`: the HTTP server, from options to exit code. It listens at once and answers 503 until the model is
// loaded, so that whoever watches `/health` sees it come up.

import { Engine } from "../../engine/engine.ts";
import { withDeadline } from "../../engine/workers/deadline.ts";
import { isKey } from "../http/access.ts";
import { createApp } from "../http/app.ts";
import { defaultServerOptions, type ServerOptions, standardError } from "../http/options.ts";
import { type ReplicaOptions, startReplicas } from "../replicas/start.ts";
import { isLoopback, listen, type RunningServer } from "../http/server.ts";
import type { Parsed, serveOptions } from "./command_options.ts";
import { UsageError } from "./option.ts";
import { type SessionEngine, startSessionWith } from "./session.ts";

const mebibyte = 1024 * 1024;

/** Runs the command. */
export async function serve({ own: all, ...session }: Parsed<typeof serveOptions>): Promise<number> {
  const { dp, cacheThreshold, balanceAbsolute, balanceRelative, ...own } = all;
  const routing = { cacheThreshold, balanceAbsolute, balanceRelative };
  const hostname = own.host;
  const options = serverOptions(own);
  const note = session.common.quiet ? () => {} : (text: string) => standardError.write(`radish: ${text}`);

  const loading = Promise.withResolvers<SessionEngine>();
  const app = createApp(loading.promise, options);
  const server = listen(app, { hostname, port: own.port });
  using signals = onSignals();
  note(`listening on ${server.url}`);
  if (!options.loopback && options.apiKeys.length === 0) {
    standardError.write(
      `radish: warning: anyone who can reach ${hostname} can use this server; --api-key closes it`,
    );
  }
  const started = startSessionWith(
    session,
    { warmUp: true, stallSeconds: own.watchdogTimeout },
    dp === 1
      ? (options, start): Promise<SessionEngine> => Engine.start(options, start)
      : (options, start) =>
        startReplicas(options, start, {
          ...routing,
          dp,
          note: (text) => standardError.write(`radish: ${text}`),
        }),
  );
  started.then(({ engine }) => loading.resolve(engine), loading.reject);
  const ready = await Promise.race([started, signals.first]);
  if (ready === "signal") return 0; // Nothing runs while the model loads.
  await using _ = ready;
  note(`ready: ${app.service.modelName}`);
  const { engine } = ready;
  const { templateProblem } = engine.model;
  if (templateProblem !== null) note(`warning: conversations cannot be rendered: ${templateProblem}`);

  const ended = await Promise.race([signals.first, engine.dead]);
  if (ended !== "signal") return await stop(ended, server);
  return await finish(
    app.service.runningRequests,
    server,
    own.drainTimeout * 1000,
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

function serverOptions(
  { host, maxBody, bodyTimeout, ...same }: Omit<Parsed<typeof serveOptions>["own"], keyof ReplicaOptions>,
): ServerOptions {
  if (!same.apiKeys.every(isKey)) {
    throw new UsageError("--api-key: letters, digits and . _ ~ + / - only, or no client could send it");
  }
  return {
    ...defaultServerOptions,
    ...same,
    maxBodyBytes: Math.floor(maxBody * mebibyte),
    bodyTimeoutMs: bodyTimeout * 1000,
    loopback: isLoopback(host),
  };
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

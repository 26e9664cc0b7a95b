// `radish serve`: the HTTP server, from options to exit code. It listens at once and answers 503 until the model is
// loaded, so that whoever watches `/health` sees it come up.

import { createApp } from "../http/app.ts";
import { defaultServerOptions, type ServerOptions } from "../http/options.ts";
import { isLoopback, listen, type RunningServer } from "../http/server.ts";
import type { ServeOptions } from "./command_options.ts";
import { type Session, startSession } from "./session.ts";

const mebibyte = 1024 * 1024;

/** Runs the command. */
export async function serve({ own, ...session }: ServeOptions): Promise<number> {
  const hostname = own.host;
  const options = serverOptions(own);
  const note = session.common.quiet ? () => {} : (text: string) => console.error(`radish: ${text}`);

  const loading = Promise.withResolvers<Session["engine"]>();
  const app = createApp(loading.promise, options);
  const server = listen(app, { hostname, port: own.port });
  using signals = onSignals();
  note(`listening on ${server.url}`);
  if (!options.loopback && options.apiKey === null) {
    console.error(
      `radish: warning: anyone who can reach ${hostname} can use this server; --api-key closes it`,
    );
  }
  const started = startSession(session, true);
  started.then(({ engine }) => loading.resolve(engine), loading.reject);
  const ready = await Promise.race([started, signals.first]);
  if (ready === "signal") return 0; // Nothing runs while the model loads.
  await using _ = ready;
  note(`ready: ${app.service.modelName}`);
  void ready.engine.dead.then((error) => console.error(`radish: the engine stopped: ${error.message}`));

  await signals.first;
  return await finish(
    app.service.runningRequests,
    server,
    own.drainTimeout * 1000,
    note,
  );
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
  return 0;
}

function serverOptions({ host, maxBody, bodyTimeout, ...same }: ServeOptions["own"]): ServerOptions {
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

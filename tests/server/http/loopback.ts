// An application behind a real socket on loopback, for clients that open their own connections.

import { type App, createApp } from "../../../server/http/app.ts";
import type { ServedEngine } from "../../../server/http/engine_api.ts";
import type { ServerOptions } from "../../../server/http/options.ts";
import { listen } from "../../../server/http/server.ts";

export interface Loopback extends AsyncDisposable {
  readonly app: App;
  readonly url: string;
}

export function onLoopback(engine: ServedEngine, options: Partial<ServerOptions> = {}): Loopback {
  const app = createApp(engine, { logFormat: "none", ...options });
  const server = listen(app, { hostname: "127.0.0.1", port: 0 });
  return {
    app,
    url: server.url,
    [Symbol.asyncDispose]: async () => {
      await server.shutdown(1000);
    },
  };
}

/** Resolves when nothing generates any more. */
export async function ended(engine: { readonly live: ReadonlySet<unknown> }): Promise<void> {
  while (engine.live.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
}

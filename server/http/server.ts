// The socket under the application, and its end: on a signal the server refuses new work, finishes what runs, and
// only then closes.

import type { App } from "./app.ts";
import { withDeadline } from "../../engine/workers/deadline.ts";

/** Where to listen. */
export interface ListenOptions {
  /** Name or address. */
  readonly hostname: string;
  /** 0 picks a free one. */
  readonly port: number;
}

/** A server that listens. */
export interface RunningServer {
  /** For people and tests, for example `http://127.0.0.1:1919`. */
  readonly url: string;
  /**
   * Refuses new work with 503, lets running requests finish for so many milliseconds, aborts the rest, closes.
   * True if nothing had to be aborted.
   */
  shutdown(drainMs: number): Promise<boolean>;
}

/** After the last answer is made, clients get so many milliseconds to read it. */
const flushMs = 2_000;

/**
 * Listens, and hands requests to the application.
 * @throws one line if the address cannot be had.
 */
export function listen(app: App, { hostname, port }: ListenOptions): RunningServer {
  const server = bind(app, hostname, port);
  const { addr } = server;
  const name = addr.hostname.includes(":") ? `[${addr.hostname}]` : addr.hostname;
  return {
    url: `http://${name}:${addr.port}`,
    async shutdown(drainMs) {
      const { service } = app;
      const drained = service.drain();
      const finished = await withDeadline(drained.then(() => true), drainMs) ?? false;
      if (!finished) {
        service.abort(null);
        await withDeadline(drained, flushMs);
      }
      await withDeadline(server.shutdown(), flushMs);
      return finished;
    },
  };
}

function bind(app: App, hostname: string, port: number): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve({
      hostname,
      port,
      onListen: () => {},
      // Handlers turn their errors into answers; this is for what happens beneath them.
      onError: () => new Response(null, { status: 500 }),
    }, (request, info) => app.fetch(request, info.remoteAddr.hostname));
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) {
      throw new Error(
        `port ${port} of ${hostname} is in use; choose another with --port (0 picks a free one)`,
      );
    }
    if (error instanceof Deno.errors.AddrNotAvailable) {
      throw new Error(`${hostname} is not an address of this machine; choose another with --host`);
    }
    if (error instanceof Deno.errors.PermissionDenied) {
      throw new Error(`port ${port} needs more rights; choose one above 1023 with --port`);
    }
    throw error;
  }
}

/** Whether only this machine can reach the address. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || /^127(\.\d{1,3}){3}$/.test(hostname);
}

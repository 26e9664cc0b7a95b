// The sockets under the application, and their end: on a signal the server refuses new work, finishes what runs, and
// only then closes. HTTP itself is `node:http`'s, joined to the application by hono's adapter.

import { getRequestListener } from "@hono/node-server";
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import type { App } from "./app.ts";
import type { Connection } from "./answer.ts";
import { checkOnlyAwake } from "./awake.ts";
import { withDeadline } from "../../engine/workers/deadline.ts";
import { descriptorLimit } from "./descriptors.ts";
import { openAiErrors } from "./error_forms.ts";
import { ApiError } from "./errors.ts";
import { Listener } from "./listener.ts";
import type { TcpSocket } from "./socket.ts";

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
  /** What it listens with. */
  readonly listener: Listener;
  /**
   * Refuses new work with 503, lets running requests finish for so many milliseconds, aborts the rest, closes.
   * True if nothing had to be aborted.
   */
  shutdown(drainMs: number): Promise<boolean>;
}

/** After the last answer is made, clients get so many milliseconds to read it. */
const flushMs = 2_000;
/** An idle connection is kept longer than a proxy keeps it, so that the proxy closes it. */
const keepAliveMs = 75_000;
/** How often a client that has closed its side is asked whether it still listens. */
const probeMs = 250;

/**
 * Listens, and hands requests to the application.
 * @throws one line if the address cannot be had.
 */
export function listen(app: App, { hostname, port }: ListenOptions): RunningServer {
  const http = httpServer(app, (socket, busy) => listener.setBusy(socket, busy));
  const { options } = app.service;
  const listener: Listener = bind(hostname, port, {
    maxConnections: options.maxConnections ?? mostConnections(),
    onConnection: (socket) => void http.emit("connection", socket),
    refusal: rawAnswer(
      new ApiError(503, "too many connections; try again later", { code: "too_many_connections" }),
    ),
    onError: (error) => options.log(`radish: cannot accept connections: ${String(error)}`),
  });
  http.emit("listening"); // makes it look after its timeouts
  app.service.listener = listener;
  const { address } = listener;
  const name = address.hostname.includes(":") ? `[${address.hostname}]` : address.hostname;
  return {
    url: `http://${name}:${address.port}`,
    listener,
    async shutdown(drainMs) {
      const { service } = app;
      const drained = service.drain();
      const finished = await withDeadline(drained.then(() => true), drainMs) ?? false;
      if (!finished) {
        service.abortAll();
        await withDeadline(drained, flushMs);
      }
      listener.close();
      await withDeadline(idle(listener), flushMs);
      listener.destroy();
      http.emit("close");
      http.close(() => {});
      return finished;
    },
  };
}

function httpServer(app: App, setBusy: (socket: TcpSocket, busy: boolean) => void): Server {
  const { headerTimeoutMs, bodyTimeoutMs } = app.service.options;
  const answer = getRequestListener(
    (request, env) => app.fetch(request, connectionOf((env as { incoming: IncomingMessage }).incoming)),
    { overrideGlobalObjects: false, errorHandler: () => new Response(null, { status: 500 }) },
  );
  const connectionsCheckingInterval = Math.min(1_000, headerTimeoutMs / 2);
  const http = createServer({
    headersTimeout: headerTimeoutMs,
    // The body has a timeout of its own, with a better answer: this is for bodies that nobody reads.
    requestTimeout: headerTimeoutMs + bodyTimeoutMs + 1_000,
    connectionsCheckingInterval,
    keepAliveTimeout: keepAliveMs,
  }, (incoming, outgoing) => {
    const socket = incoming.socket as unknown as TcpSocket;
    setBusy(socket, true);
    outgoing.once("close", () => setBusy(socket, false));
    watchHalfClose(incoming, outgoing, socket);
    void answer(incoming, outgoing);
  });
  checkOnlyAwake(http, connectionsCheckingInterval);
  // Connections are accepted elsewhere; the server must know that there is someone who does.
  Object.defineProperty(http, "listening", { get: () => true });
  Object.assign(http, { httpAllowHalfOpen: true });
  http.on("clientError", (error: Error & { code?: string }, socket) => {
    if (socket.writable) socket.write(rawAnswer(errorOf(error.code ?? "")));
    (socket as unknown as TcpSocket).destroySoon();
  });
  return http;
}

const halfClosed = new WeakMap<IncomingMessage, AbortController>();

function connectionOf(incoming: IncomingMessage): Connection {
  const controller = halfClosed.get(incoming) ?? new AbortController();
  return { remote: incoming.socket.remoteAddress ?? "-", halfClosed: controller.signal };
}

/**
 * A client that closes its side may have said all it has to say, or have left: only writing to it tells. Before the
 * answer begins it is sent "102 Processing", which every client has to overlook; a stream sends comments.
 */
function watchHalfClose(incoming: IncomingMessage, outgoing: ServerResponse, socket: TcpSocket): void {
  const controller = new AbortController();
  halfClosed.set(incoming, controller);
  let timer: ReturnType<typeof setInterval> | undefined;
  const probe = () => {
    if (!outgoing.headersSent) outgoing.writeProcessing();
  };
  const onEnd = () => {
    if (incoming.httpVersion !== "1.1") return void socket.destroy(); // 1.0 knows no interim answers
    controller.abort();
    probe();
    timer = setInterval(probe, probeMs);
  };
  if (socket.readableEnded) onEnd();
  else socket.once("end", onEnd);
  outgoing.once("close", () => {
    clearInterval(timer);
    socket.off("end", onEnd);
  });
}

/** Resolves when there are no connections. */
async function idle(listener: Listener): Promise<void> {
  while (listener.connections > 0) await new Promise((resolve) => setTimeout(resolve, 10));
}

function errorOf(code: string): ApiError {
  const close = { headers: { connection: "close" } };
  switch (code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new ApiError(408, "the request did not arrive in time", { code: "request_timeout", ...close });
    case "HPE_HEADER_OVERFLOW":
      return new ApiError(400, "the headers are too large", { code: "headers_too_large", ...close });
    default:
      return new ApiError(400, "this is not HTTP", { code: "invalid_http", ...close });
  }
}

/** An answer for a connection on which there is no request. */
function rawAnswer(error: ApiError): string {
  const body = JSON.stringify(openAiErrors.body(error, ""));
  const headers = Object.entries({ ...error.headers, connection: "close" }).map(([name, value]) =>
    `${name}: ${value}\r\n`
  );
  return `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}\r\ncontent-type: application/json\r\n` +
    `content-length: ${new TextEncoder().encode(body).length}\r\n${headers.join("")}\r\n${body}`;
}

/** Descriptors that the process needs for other things than connections. */
const reservedDescriptors = 96;
const defaultConnections = 4_096;

/** What the process may open, less what it needs itself. */
function mostConnections(): number {
  const limit = descriptorLimit();
  if (limit === null) return defaultConnections;
  return Math.max(8, Math.min(defaultConnections, limit - reservedDescriptors, Math.floor(limit * 0.75)));
}

function bind(hostname: string, port: number, options: ConstructorParameters<typeof Listener>[1]): Listener {
  try {
    return new Listener({ hostname, port }, options);
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

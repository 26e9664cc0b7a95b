// Accepts connections and keeps their number bounded. Nothing that goes wrong with one connection, or with accepting
// one, ends the server: out of descriptors it waits and tries again. When all places are taken a new connection gets
// the place of the one that has been idle longest; where none is idle it gets a 503.

import type { TcpSocket as Socket } from "./socket.ts";
import { TcpSocket } from "./socket.ts";

/** What a listener is told and asked. */
export interface ListenerOptions {
  /** Connections at a time. */
  readonly maxConnections: number;
  /** A new connection. */
  onConnection(socket: Socket): void;
  /** For a connection that finds no place: sent, then it is closed. */
  readonly refusal: string;
  /** Accepting fails, for the first time after a success. */
  onError(error: unknown): void;
}

/** Milliseconds between two attempts to accept, when one has failed: doubled from the first to the second. */
const shortestPause = 20;
const longestPause = 1_000;
/** Without descriptors, connections that have been idle for so many milliseconds are given up. */
const longIdle = 1_000;

/** A port with connections. */
export class Listener {
  /** Times that accepting failed. */
  acceptErrors = 0;
  /** Connections that found no place. */
  refused = 0;
  /** Idle connections that were closed to make room. */
  evicted = 0;
  readonly #listener: Deno.TcpListener;
  readonly #options: ListenerOptions;
  /** Since when each is idle (of `performance.now()`), in that order; busy ones are not in it. */
  readonly #idle = new Map<Socket, number>();
  readonly #all = new Set<Socket>();
  #closed = false;

  /** Listens and accepts from now on. */
  constructor(address: Deno.TcpListenOptions, options: ListenerOptions) {
    this.#listener = Deno.listen(address);
    this.#options = options;
    void this.#accept();
  }

  /** Where it listens. */
  get address(): Deno.NetAddr {
    return this.#listener.addr as Deno.NetAddr;
  }

  /** Connections at the moment. */
  get connections(): number {
    return this.#all.size;
  }

  /** A request has begun on the connection, or the last of it is done. */
  setBusy(socket: Socket, busy: boolean): void {
    if (busy) this.#idle.delete(socket);
    else if (this.#all.has(socket)) this.#idle.set(socket, performance.now());
  }

  /** No new connections; idle ones are closed. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.close();
    for (const socket of this.#idle.keys()) socket.destroy();
  }

  /** Ends what is left. */
  destroy(): void {
    this.close();
    for (const socket of this.#all) socket.destroy();
  }

  async #accept(): Promise<void> {
    let pause = 0;
    while (!this.#closed) {
      let connection: Deno.TcpConn;
      try {
        connection = await this.#listener.accept();
        pause = 0;
      } catch (error) {
        if (this.#closed) return;
        this.acceptErrors++;
        if (pause === 0) this.#options.onError(error);
        pause = Math.min(longestPause, Math.max(shortestPause, pause * 2));
        // Gives a descriptor back. Not at once: Linux reports the lack of descriptors when there is nobody to accept.
        if (this.#evict(longIdle)) pause = shortestPause;
        await new Promise((resolve) => setTimeout(resolve, pause));
        continue;
      }
      this.#admit(connection);
    }
  }

  #admit(connection: Deno.TcpConn): void {
    let socket: Socket;
    try {
      socket = new TcpSocket(connection);
      socket.setNoDelay();
    } catch { // gone before it was looked at
      connection.close();
      return;
    }
    socket.on("error", () => socket.destroy()); // what it says concerns the client alone
    if (this.#all.size >= this.#options.maxConnections && !this.#evict()) {
      this.refused++;
      socket.write(this.#options.refusal);
      socket.destroySoon();
      return;
    }
    this.#all.add(socket);
    this.#idle.set(socket, performance.now());
    socket.once("close", () => {
      this.#all.delete(socket);
      this.#idle.delete(socket);
    });
    this.#options.onConnection(socket);
  }

  /** Closes the connection that has been idle longest, and for so many milliseconds at least. */
  #evict(least = 0): boolean {
    const [oldest] = this.#idle;
    if (oldest === undefined || performance.now() - oldest[1] < least) return false;
    const [longestIdle] = oldest;
    this.evicted++;
    this.#idle.delete(longestIdle);
    this.#all.delete(longestIdle);
    longestIdle.destroy();
    return true;
  }
}

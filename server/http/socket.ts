// A TCP connection as the stream that `node:http` takes, over Deno's own sockets.
//
// Not `node:net`'s listener, because that one stops for good when accepting fails once, as it does when the process
// is out of file descriptors (Deno 2.9.6); and not `Deno.serve`, whose accept error ends the process and which knows no
// timeout for headers.

import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";

const readBytes = 65_536;

/** One connection. */
export class TcpSocket extends Duplex {
  /** The client's address, as `node:net` names it. */
  readonly remoteAddress: string;
  /** The client's port. */
  readonly remotePort: number;
  /** No TLS. */
  readonly encrypted = false;
  readonly #connection: Deno.TcpConn;
  #buffer = new Uint8Array(readBytes);
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Takes the connection over. */
  constructor(connection: Deno.TcpConn) {
    super({ allowHalfOpen: true });
    this.#connection = connection;
    this.remoteAddress = connection.remoteAddr.hostname;
    this.remotePort = connection.remoteAddr.port;
  }

  /** Emits "timeout" once, after so many milliseconds from now; 0 never. */
  setTimeout(milliseconds: number): this {
    clearTimeout(this.#timer);
    if (milliseconds > 0) {
      this.#timer = setTimeout(() => this.emit("timeout"), milliseconds);
      this.#timer.unref();
    }
    return this;
  }

  /** Ends the connection when what was written has been sent. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }

  /** Small writes are sent at once. */
  setNoDelay(on = true): this {
    this.#connection.setNoDelay(on);
    return this;
  }

  /** Whether the kernel looks after idle connections. */
  setKeepAlive(on = true): this {
    this.#connection.setKeepAlive(on);
    return this;
  }

  /** Sockets keep the program alive. */
  ref(): this {
    this.#connection.ref();
    return this;
  }

  /** Or do not. */
  unref(): this {
    this.#connection.unref();
    return this;
  }

  /** @ignore */
  override _read(): void {
    this.#connection.read(this.#buffer).then((length) => {
      if (length === null) return void this.push(null);
      // What was read is given away; a small piece of a large buffer is copied out of it instead.
      if (length < readBytes / 4) return void this.push(Buffer.from(this.#buffer.slice(0, length).buffer));
      const chunk = Buffer.from(this.#buffer.buffer, 0, length);
      this.#buffer = new Uint8Array(readBytes);
      this.push(chunk);
    }, (error) => void this.destroy(error));
  }

  /** @ignore */
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send(chunk).then(() => done(), done);
  }

  /** @ignore Pieces that were written together, such as the parts of an HTTP chunk, are sent together. */
  override _writev(
    chunks: { readonly chunk: Buffer; readonly encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk))).then(() => done(), done);
  }

  /** @ignore */
  override _final(done: (error?: Error | null) => void): void {
    this.#connection.closeWrite().then(() => done(), () => done()); // The client may be gone already.
  }

  /** @ignore */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#timer);
    try {
      this.#connection.close();
    } catch { /* closed by an error */ }
    done(error);
  }

  async #send(bytes: Uint8Array): Promise<void> {
    let sent = 0;
    while (sent < bytes.length) sent += await this.#connection.write(bytes.subarray(sent));
  }
}

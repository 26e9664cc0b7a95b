// The end of a turn of the event loop: when all messages that workers have sent by now are taken in.
//
// Deno hands out every message that waits at a port before it comes to setImmediate (2.9.6). A server that keeps up
// finds one message a turn and loses microseconds by waiting for the end; one that is behind finds several, and writes
// once what they bring.

/** Calls functions at the end of this turn. */
export class TurnEnd {
  #waiting: (() => void)[] = [];

  /** `wake` must not throw. */
  call(wake: () => void): void {
    if (this.#waiting.push(wake) > 1) return;
    setImmediate(() => {
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const each of waiting) each();
    });
  }
}

// When this program itself did not run: a suspended machine, or a stopped process. What it was waiting for then says
// nothing about the server, which was stopped too.

const period = 100;
/** A tick that comes so many milliseconds late means that the machine was elsewhere; a busy one is not as late. */
const late = 2_000;

/** Notes them until it is disposed of. */
export class Suspensions implements Disposable {
  /** Until now. */
  count = 0;
  /** Milliseconds that they took together. */
  total = 0;
  #lastEnd = -Infinity;
  #lastTick = performance.now();
  readonly #timer: ReturnType<typeof setInterval>;

  /** Begins to watch. */
  constructor() {
    this.#timer = setInterval(() => this.#look(), period);
  }

  /** Whether one has ended after `moment` (of `performance.now()`). */
  since(moment: number): boolean {
    this.#look();
    return this.#lastEnd >= moment;
  }

  /** Stops watching. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = performance.now();
    if (now - this.#lastTick > late) {
      this.count++;
      this.total += now - this.#lastTick;
      this.#lastEnd = now;
    }
    this.#lastTick = now;
  }
}

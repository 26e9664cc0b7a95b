// Asks every worker, twice a second, whether it is still there, and says which have stopped answering.
//
// Time is counted in its own ticks, not by a clock: while this process itself is held up (a suspended laptop, a
// debugger, a long collection of garbage) no ticks pass, and answers that have arrived are seen before the next one.

/** Something to be asked. */
export interface Check {
  /** Tells it from the others. */
  readonly name: string;
  /** What to say when it is silent, for example "the scheduler has not answered". */
  readonly complaint: string;
  /** Resolves when there is an answer; a rejection counts as one, for deaths are told another way. */
  ask(): Promise<unknown>;
  /** Ticks for which a question may stay open, at the moment. */
  patience(): number;
}

/** What the watchdog knows. */
export type Life =
  | { readonly state: "ok" }
  /** A question has been open for a while, for a good reason such as a long step. */
  | { readonly state: "busy"; readonly what: string; readonly milliseconds: number }
  | { readonly state: "unresponsive"; readonly what: string; readonly milliseconds: number };

interface Asked {
  readonly check: Check;
  open: boolean;
  ticks: number;
}

/** Watches until it is disposed of. */
export class Watchdog implements Disposable {
  readonly #asked: readonly Asked[];
  readonly #period: number;
  readonly #timer: ReturnType<typeof setInterval>;

  /**
   * `onTick` is told of what does not answer, and for how many ticks, at every tick; `period` is in milliseconds.
   */
  constructor(
    checks: readonly Check[],
    onTick: (late: readonly { readonly check: Check; readonly ticks: number }[]) => void,
    period: number,
  ) {
    this.#asked = checks.map((check) => ({ check, open: false, ticks: 0 }));
    this.#period = period;
    this.#timer = setInterval(() => {
      for (const asked of this.#asked) this.#tick(asked);
      onTick(this.#asked.filter((asked) => asked.ticks >= asked.check.patience()));
    }, period);
    this.#timer.unref(); // it keeps no program alive
  }

  /** The worst that is known. */
  get life(): Life {
    let worst: Life = { state: "ok" };
    for (const { check, ticks } of this.#asked) {
      if (ticks <= 1) continue;
      const milliseconds = ticks * this.#period;
      if (ticks >= check.patience()) return { state: "unresponsive", what: check.complaint, milliseconds };
      worst = { state: "busy", what: check.complaint, milliseconds };
    }
    return worst;
  }

  /** No more questions. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #tick(asked: Asked): void {
    if (asked.open) {
      asked.ticks++;
      return;
    }
    asked.open = true;
    asked.ticks = 0;
    const answered = () => {
      asked.open = false;
      asked.ticks = 0;
    };
    asked.check.ask().then(answered, answered);
  }
}

// Waiting for something, but not for ever.

/** The value, or null if it has not come within `milliseconds`; it can then be waited for again. */
export async function withDeadline<T>(value: Promise<T>, milliseconds: number): Promise<T | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deadline = new Promise<null>((resolve) => timer = setTimeout(() => resolve(null), milliseconds));
  try {
    return await Promise.race([value, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** Notices when nothing has been heard for a while. Counted in ticks, so that a pause of this process is no silence. */
export class SignsOfLife implements Disposable {
  /** Resolves with the reason after the first silence; never rejects. */
  readonly silent: Promise<Error>;
  readonly #timer: ReturnType<typeof setInterval>;
  #ticks = 0;

  /** Silence is `milliseconds` long. */
  constructor(milliseconds: number) {
    const { promise, resolve } = Promise.withResolvers<Error>();
    this.silent = promise;
    this.#timer = setInterval(() => {
      if (++this.#ticks < ticksOfSilence) return;
      resolve(new Error(`a worker has made no progress for ${milliseconds / 1000} s while starting`));
    }, milliseconds / ticksOfSilence);
  }

  /** Something was heard. */
  seen(): void {
    this.#ticks = 0;
  }

  /** Stops listening. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

const ticksOfSilence = 8;

/**
 * Lets promises be waited for only as long as nothing fails: rejects with the first of `failures` to resolve, or with
 * the promise's own reason, after `cleanUp`.
 */
export function unlessFailed(
  failures: readonly Promise<Error>[],
  cleanUp: () => Promise<void>,
): <T>(value: Promise<T>) => Promise<T> {
  const failure = Promise.race(failures).then((error) => Promise.reject(error));
  failure.catch(() => {}); // nobody may be waiting any more
  return async (value) => {
    try {
      return await Promise.race([value, failure]);
    } catch (error) {
      await cleanUp();
      throw error;
    }
  };
}

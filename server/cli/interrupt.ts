// Ctrl-C: the first aborts what runs, so that what there is stays; the second ends the program.

/** Thrown, or given as a signal's reason, after Ctrl-C: exit code 130. */
export class Interrupted extends Error {
  /** Takes no message: the user knows. */
  constructor() {
    super("interrupted");
  }
}

/** A signal that the first interrupt aborts, for as long as it is held. */
export function onInterrupt(): { readonly signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const listener = () => {
    if (controller.signal.aborted) Deno.exit(130);
    controller.abort(new Interrupted());
  };
  Deno.addSignalListener("SIGINT", listener);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => Deno.removeSignalListener("SIGINT", listener),
  };
}

/** The promise's result, or the signal's reason as soon as it is aborted. */
export async function unlessInterrupted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const listener = () => reject(signal.reason);
  signal.addEventListener("abort", listener, { once: true });
  if (signal.aborted) listener();
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", listener);
  }
}

// A worker's last words. Imported by every worker: an uncaught error is posted to the owner as "died", so
// that the owner can say why in one line; left alone, the runtime would print a stack trace. The worker is not
// closed here: its owner ends it, and an executor's device must be released at a moment that the owner chooses.

/** The message that `WorkerHandle` takes as the worker's death. */
export interface Died {
  /** Tells it from an answer. */
  readonly type: "died";
  /** Why, for people. */
  readonly message: string;
}

let dead = false;

function die(event: Event, reason: unknown): void {
  event.preventDefault();
  if (dead) return; // what follows from the first error is noise
  dead = true;
  const message = reason instanceof Error ? reason.message : String(reason);
  self.postMessage({ type: "died", message } satisfies Died);
}

self.addEventListener("error", (event) => die(event, event.error ?? event.message));
self.addEventListener("unhandledrejection", (event) => die(event, event.reason));

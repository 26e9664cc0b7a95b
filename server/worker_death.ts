// A worker's last words. Imported by every worker: an error that nobody caught is posted to the owner as "died" and
// the worker closes, so that the owner can say why in one line; left alone, the runtime would print a stack trace.

/** The message that `WorkerHandle` takes as the worker's death. */
export interface Died {
  readonly type: "died";
  readonly message: string;
}

function die(event: Event, reason: unknown): void {
  event.preventDefault();
  const message = reason instanceof Error ? reason.message : String(reason);
  self.postMessage({ type: "died", message } satisfies Died);
  self.close();
}

self.addEventListener("error", (event) => die(event, event.error ?? event.message));
self.addEventListener("unhandledrejection", (event) => die(event, event.reason));

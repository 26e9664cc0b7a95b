// A worker's last words. Imported by every worker: an uncaught error is posted to the owner as "died", so
// that the owner can say why in one line; left alone, the runtime would print a stack trace. The worker is not
// closed here: its owner ends it, and an executor's device must be released at a moment that the owner chooses.
//
// A message that cannot be read is such an error too: Deno reads nothing more from a port after one (seen with
// 2.9.6), so whoever waits for that port would wait for ever.

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

const noted: MessagePort[] = [];

/** Takes note of a port that the owner replaces when it is lost. Returns the port. */
export function notePort(port: MessagePort): MessagePort {
  noted.push(port);
  return port;
}

/** Makes an unreadable message on this port the worker's death. Returns the port. */
export function guardPort(port: MessagePort): MessagePort {
  notePort(port);
  port.addEventListener("messageerror", (event) => die(event, "a message to it could not be read"));
  return port;
}

/** All ports that this worker has had. */
export function notedPorts(): readonly MessagePort[] {
  return noted;
}

self.addEventListener("messageerror", (event) => die(event, "a message to it could not be read"));
self.addEventListener("error", (event) => die(event, event.error ?? event.message));
self.addEventListener("unhandledrejection", (event) => die(event, event.reason));

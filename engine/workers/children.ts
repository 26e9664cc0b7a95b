// What can be made to go wrong in a worker (`fault.ts` does it), and the workers that a worker has started itself, so
// that it can go wrong in them too.

/** What can be made to go wrong in a worker. */
export type Fault =
  /** It throws. */
  | "die"
  /** It blocks for ever, as in an endless loop. */
  | "stall"
  /** All its ports are closed; the worker itself still answers its owner. */
  | "close"
  /** It sends through each of its ports a message that cannot be read. */
  | "garble";

/** What a worker's owner sends. */
export interface FaultOrder {
  /** Tells it from a question. */
  readonly type: "fault";
  /** What is to go wrong. */
  readonly fault: Fault;
  /** A worker that this one has started, and in which it is to go wrong. */
  readonly inside?: string;
}

/** What is needed of one. */
export interface Child {
  /** For messages. */
  readonly name: string;
  /** For tests: makes something go wrong in it. */
  inject(fault: Fault): void;
}

const noted = new Map<string, Child>();

/** Takes note of a worker in place of one of the same name. */
export function noteChild(child: Child): void {
  noted.set(child.name, child);
}

/** The worker of that name, if one has been started. */
export function notedChild(name: string): Child | undefined {
  return noted.get(name);
}

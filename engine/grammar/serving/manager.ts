/**
 * The constrained requests as the scheduler sees them: whose mask is there, whose is on its way.
 *
 * A mask needs the token before it, so a constrained request is in one plan at a time, while the others' plans
 * overlap; or it is in all of them, and its tokens are drawn by plans of their own. A mask usually takes a fraction of
 * a millisecond: it is `due`, and worth a wait where otherwise its request would miss a whole step. A request whose
 * mask took long is not waited for a while, and for twice as long the next time: one that asks for a slow mask now and
 * then holds the others up a few times only.
 */
import type { FromGrammar, OutputGrammar, ToGrammar } from "./messages.ts";

/** Milliseconds after which a mask is late. */
const late = 20;

/** Masks of a request that are not waited for after the first one that was late. */
const firstRest = 8;

/** Ids of a prompt's end in which its `<think>` would be. */
const tailLength = 8;

/** What is needed of a request. */
export interface Constrained {
  /** A number of its own. */
  readonly arrival: number;
  /** Its prompt's ids. */
  readonly prompt: Uint32Array;
  /** What it asks for. */
  readonly params: { readonly grammar: OutputGrammar | null };
  /** The mask of its next token; null while it is not known, undefined where all tokens are allowed. */
  mask: Uint32Array | null | undefined;
}

/** A request that has not ended. */
interface Entry<R> {
  readonly request: R;
  begun: boolean;
  /** Masks that are not waited for, and how many there will be the next time. */
  rest: number;
  nextRest: number;
  /** Since when a mask is waited for. */
  since: number;
}

/** Knows the constrained requests that have not ended. */
export class GrammarManager<R extends Constrained> {
  readonly #send: (message: ToGrammar) => void;
  /** By arrival. */
  readonly #requests = new Map<number, Entry<R>>();
  readonly #due = new Set<number>();

  /** Sends to the grammar worker. */
  constructor(send: (message: ToGrammar) => void) {
    this.#send = send;
  }

  /** Whether there are constrained requests that have not ended. */
  get active(): boolean {
    return this.#requests.size > 0;
  }

  /** Whether a mask is on its way that should be there in a moment. */
  get due(): boolean {
    return this.#due.size > 0;
  }

  /** Takes a request in; false if it is not constrained and needs not wait for a mask. */
  open(request: R): boolean {
    const { arrival: key, prompt, params: { grammar } } = request;
    if (grammar === null) return false;
    request.mask = null;
    this.#requests.set(key, { request, begun: false, rest: 0, nextRest: firstRest, since: 0 });
    this.#send({ type: "open", key, grammar, tail: prompt.slice(-tailLength) });
    return true;
  }

  /** The request goes on after `token`. */
  accept(request: R, token: number): void {
    const entry = this.#requests.get(request.arrival);
    if (entry === undefined) return;
    entry.since = performance.now();
    if (entry.rest === 0) this.#due.add(request.arrival);
    else entry.rest--;
    this.#send({ type: "accept", key: request.arrival, token });
  }

  /** The request has ended. */
  close(request: R): void {
    this.#due.delete(request.arrival);
    if (this.#requests.delete(request.arrival)) this.#send({ type: "close", key: request.arrival });
  }

  /**
   * Takes an answer in. Returns its request and whether it is the first; null if that has ended. What is no mask ends
   * it.
   */
  receive(answer: FromGrammar): { readonly request: R; readonly first: boolean } | null {
    const entry = this.#requests.get(answer.key);
    if (entry === undefined) return null;
    const first = !entry.begun;
    entry.begun = true;
    if (!first && performance.now() - entry.since > late) {
      entry.rest = entry.nextRest;
      entry.nextRest *= 2;
    }
    this.#due.delete(answer.key);
    if (answer.type === "mask") entry.request.mask = answer.mask;
    return { request: entry.request, first };
  }
}

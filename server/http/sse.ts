// Server-sent events, pulled: an event is made only when the connection has room for it, so a slow client slows
// its own stream and nothing else. Events are written at the end of the event loop's turn (turn_end.ts): one by one
// where the server keeps up, several at once where it is behind. While nothing comes, a comment line keeps proxies from
// closing the connection.

import { withDeadline } from "../../engine/workers/deadline.ts";
import { openAiErrors } from "./error_forms.ts";
import { type ApiError, toApiError } from "./errors.ts";
import type { TurnEnd } from "./turn_end.ts";

const encoder = new TextEncoder();

/** How a stream is written, beyond its events. */
export interface StreamForm {
  /** The media type. */
  readonly contentType: string;
  /** What is sent when nothing else has been for a while. */
  readonly keepAlive: string;
  /** The last words of a stream that fails. */
  failure(error: ApiError): string;
}

/** OpenAI's. */
export const openAiStream: StreamForm = {
  contentType: "text/event-stream; charset=utf-8",
  keepAlive: ": keep-alive\n\n",
  failure: (error) => event(openAiErrors.body(error, "")) + doneEvent,
};

/** What a stream does besides sending events. */
export interface StreamHooks {
  /** When it writes. */
  readonly turnEnd: TurnEnd;
  /** Milliseconds of silence until a comment is sent. */
  readonly keepAliveMs: number;
  /** Aborted when the client has closed its side: from then on it is asked more often whether it listens still. */
  readonly halfClosed: AbortSignal | null;
  /** The client went away. */
  onCancel(): void;
  /** Called once, when the stream has ended in whatever way; `error` if it failed on the way. */
  onEnd(error: unknown): void;
}

/** `data: …` of one event. */
export function event(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

/** Events that differ in one text: what is around it is written once. */
export function eventAround(valueOf: (text: string) => unknown): (text: string) => string {
  const mark = "\0"; // in quotes it occurs once: within a text the quotes would be escaped
  const [before, after] = event(valueOf(mark)).split(JSON.stringify(mark));
  return (text) => before + JSON.stringify(text) + after;
}

/** An event that has a name. */
export function namedEvent(name: string, value: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(value)}\n\n`;
}

/** The last event of OpenAI's streams. */
export const doneEvent = "data: [DONE]\n\n";

/**
 * A streaming response of ready-made events. It begins when the first event is there, so that a request that is
 * refused gets a proper status; or after the keep-alive time, so that a proxy sees headers while it waits in the
 * queue. A failure later on is sent in the form's own way.
 */
export async function streamResponse(
  events: AsyncIterator<string>,
  hooks: StreamHooks,
  form: StreamForm = openAiStream,
): Promise<Response> {
  const first = events.next();
  let isSilent: boolean;
  try {
    isSilent = await firstOf(first, hooks) === null;
  } catch (error) {
    hooks.onEnd(error);
    throw error;
  }
  const source = new EventSource(events, first, isSilent, hooks, form);
  return new Response(new ReadableStream(source, { highWaterMark: 1 }), {
    headers: {
      "content-type": form.contentType,
      "cache-control": "no-cache, no-transform",
      // nginx would otherwise collect the stream in a buffer.
      "x-accel-buffering": "no",
    },
  });
}

const halfClosedMs = 250;
/** Characters that are gathered at most before they are written. */
const mostGathered = 1 << 16;

/** The first event, or null when it is time for a comment. */
async function firstOf<T>(pending: Promise<T>, { keepAliveMs, halfClosed }: StreamHooks): Promise<T | null> {
  if (halfClosed === null) return await withDeadline(pending, keepAliveMs);
  if (halfClosed.aborted) return await withDeadline(pending, Math.min(halfClosedMs, keepAliveMs));
  const { promise: closed, resolve } = Promise.withResolvers<null>();
  const onClosed = () => resolve(null);
  halfClosed.addEventListener("abort", onClosed, { once: true });
  try {
    return await withDeadline(Promise.race([pending, closed]), keepAliveMs);
  } finally {
    halfClosed.removeEventListener("abort", onClosed);
  }
}

/** What the stream reads from. Asks for an event only while there is room, and one timer looks for silence. */
class EventSource implements UnderlyingDefaultSource<Uint8Array> {
  readonly #events: AsyncIterator<string>;
  readonly #hooks: StreamHooks;
  readonly #form: StreamForm;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  /** Asked for already; null once it has been taken. */
  #first: Promise<IteratorResult<string>> | null;
  /** Gathered, and not written yet. */
  #text = "";
  #hasRoom = false;
  #reading = false;
  #scheduled = false;
  #ended = false;
  /** Since when nothing has been written, of `performance.now()`. */
  #since = performance.now();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    events: AsyncIterator<string>,
    first: Promise<IteratorResult<string>>,
    isSilent: boolean,
    hooks: StreamHooks,
    form: StreamForm,
  ) {
    if (isSilent) this.#since = -Infinity; // the response begins with a comment
    this.#events = events;
    this.#first = first;
    this.#hooks = hooks;
    this.#form = form;
  }

  start(controller: ReadableStreamDefaultController<Uint8Array>): void {
    this.#controller = controller;
    this.#hooks.halfClosed?.addEventListener("abort", this.#onHalfClosed, { once: true });
    this.#watch();
  }

  pull(): void {
    this.#hasRoom = true;
    this.#flushSoon();
    this.#read();
  }

  cancel(): void {
    this.#hooks.onCancel();
    this.#end(null);
  }

  #read(): void {
    if (this.#reading || this.#ended || !this.#hasRoom) return;
    this.#reading = true;
    const next = this.#first ?? this.#events.next();
    this.#first = null;
    next.then((result) => this.#take(result), (error: unknown) => this.#fail(error));
  }

  #take({ done, value }: IteratorResult<string>): void {
    this.#reading = false;
    if (this.#ended) return;
    if (done) return this.#close("", null);
    this.#text += value;
    if (this.#text.length >= mostGathered) this.#flush();
    else this.#flushSoon();
    this.#read();
  }

  #fail(error: unknown): void {
    if (!this.#ended) this.#close(this.#form.failure(toApiError(error)), error);
  }

  #flushSoon(): void {
    if (this.#scheduled || this.#text === "") return;
    this.#scheduled = true;
    this.#hooks.turnEnd.call(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#ended || !this.#hasRoom || this.#text === "") return;
    const text = this.#text;
    this.#text = "";
    this.#write(text);
  }

  #write(text: string): void {
    this.#since = performance.now();
    this.#hasRoom = false; // the stream pulls when there is room again
    this.#controller.enqueue(encoder.encode(text));
  }

  /** Writes what is left, and last words. */
  #close(last: string, error: unknown): void {
    const text = this.#text + last;
    if (text !== "") this.#write(text);
    this.#end(error);
    this.#controller.close();
  }

  #end(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#hooks.halfClosed?.removeEventListener("abort", this.#onHalfClosed);
    this.#hooks.onEnd(error);
  }

  /** Milliseconds of silence until a comment. */
  get #patience(): number {
    const { keepAliveMs, halfClosed } = this.#hooks;
    return halfClosed?.aborted ? Math.min(halfClosedMs, keepAliveMs) : keepAliveMs;
  }

  /** Comes back when the silence may have been long enough: not for every event, as long as there are some. */
  #watch(): void {
    const left = this.#patience - (performance.now() - this.#since);
    this.#timer = setTimeout(() => this.#breakSilence(), Math.max(1, left));
  }

  #breakSilence(): void {
    if (performance.now() - this.#since >= this.#patience) {
      if (this.#hasRoom && this.#text === "") this.#write(this.#form.keepAlive);
      else this.#since = performance.now();
    }
    this.#watch();
  }

  readonly #onHalfClosed = () => {
    clearTimeout(this.#timer);
    this.#since = -Infinity; // whether it listens still is asked at once
    this.#breakSilence();
  };
}

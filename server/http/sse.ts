// Server-sent events, pulled: an event is made only when the connection has room for it, so a slow client slows
// its own stream and nothing else. While nothing comes, a comment line keeps proxies from closing the connection.

import { withDeadline } from "../../engine/workers/deadline.ts";
import { openAiErrors } from "./error_forms.ts";
import { type ApiError, toApiError } from "./errors.ts";

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
  let pending = events.next();
  const next = () => quietly(pending, hooks);
  let first: IteratorResult<string> | null;
  try {
    first = await next();
  } catch (error) {
    hooks.onEnd(error);
    throw error;
  }
  let ended = false;
  const end = (error: unknown) => {
    if (ended) return;
    ended = true;
    hooks.onEnd(error);
  };
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const result = first ?? await next();
        first = null;
        if (ended) return;
        if (result === null) {
          controller.enqueue(encoder.encode(form.keepAlive));
        } else if (result.done) {
          end(null);
          controller.close();
        } else {
          pending = events.next();
          pending.catch(() => {}); // Looked at by the next pull; until then it has no other owner.
          controller.enqueue(encoder.encode(result.value));
        }
      } catch (error) {
        if (ended) return;
        controller.enqueue(encoder.encode(form.failure(toApiError(error))));
        end(error);
        controller.close();
      }
    },
    cancel() {
      hooks.onCancel();
      end(null);
    },
  }, { highWaterMark: 1 });
  return new Response(body, {
    headers: {
      "content-type": form.contentType,
      "cache-control": "no-cache, no-transform",
      // nginx would otherwise collect the stream in a buffer.
      "x-accel-buffering": "no",
    },
  });
}

const halfClosedMs = 250;

/** What is pending, or null when it is time for a comment. */
async function quietly<T>(pending: Promise<T>, { keepAliveMs, halfClosed }: StreamHooks): Promise<T | null> {
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

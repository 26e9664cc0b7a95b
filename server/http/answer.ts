// How a run of generations becomes an HTTP answer, whatever the API family: a stream or one JSON object, with the
// run tied to the connection and the access log told how it went.

import type { Context } from "hono";
import { toApiError } from "./errors.ts";
import type { RequestRecord } from "./request_log.ts";
import type { Run, RunEvent } from "./run.ts";
import type { Service } from "./service.ts";
import { type StreamForm, streamResponse } from "./sse.ts";

/** What the application learns about the connection of a request. */
export interface Connection {
  /** The client's address. */
  readonly remote: string;
  /** Aborted when the client has closed its side of the connection: it listens still, or is gone. */
  readonly halfClosed: AbortSignal;
}

/** What middleware leaves for the handlers. */
export interface AppEnv {
  /** From the socket. */
  Bindings: Partial<Connection>;
  /** Of the request. */
  Variables: {
    /** Its entry in the log. */
    record: RequestRecord;
    /** Its id. */
    requestId: string;
    /** Who may end it: whoever has the same key, or where there are no keys the same address. */
    owner: string;
    /** With whom it shares its part of the rows. */
    client: string;
  };
}

/** Makes an answer of a run's events. */
export interface AnswerForm {
  /** How the stream is written; OpenAI's way if missing. */
  readonly streamForm?: StreamForm;
  /** Whether the text may end the answer before the generation does: then it is read while it comes. */
  readonly mayEndEarly?: boolean;
  /** Events, ready to send, from the run's events to the end of the stream. */
  stream(events: AsyncIterable<RunEvent>): AsyncGenerator<string>;
  /** The JSON body. */
  collect(events: AsyncIterable<RunEvent>): Promise<unknown>;
}

/** A client that goes away aborts the run, until the returned function is called. */
export function abortWithClient(c: Context<AppEnv>, run: Run): () => void {
  const { signal } = c.req.raw;
  const gone = () => run.abort();
  if (signal.aborted) gone();
  signal.addEventListener("abort", gone, { once: true });
  return () => signal.removeEventListener("abort", gone);
}

/** Answers with the run's output; a client that goes away aborts it. */
export async function answer(
  c: Context<AppEnv>,
  service: Service,
  run: Run,
  stream: boolean,
  form: AnswerForm,
): Promise<Response> {
  const record = c.get("record");
  abortWithClient(c, run);
  const summarize = async (error: unknown) => {
    record.outcome = error === null
      ? [...new Set(run.states.map((state) => state.finish?.type ?? "abort"))].join(",")
      : toApiError(error).message;
    record.usage = await run.usage().catch(() => null); // A refused prompt was never counted.
  };
  if (!stream) {
    try {
      const body = await form.collect(run.events(form.mayEndEarly !== true));
      await summarize(null);
      return c.json(body as Record<string, unknown>);
    } catch (error) {
      await summarize(error);
      throw error;
    }
  }
  const response = await streamResponse(form.stream(run.events()), {
    keepAliveMs: service.options.keepAliveMs,
    turnEnd: service.turnEnd,
    halfClosed: c.env?.halfClosed ?? null,
    onCancel: () => run.abort(),
    onEnd: (error) => void summarize(error).then(() => record.finish()),
  }, form.streamForm);
  record.streaming = true;
  return response;
}

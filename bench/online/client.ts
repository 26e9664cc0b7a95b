// One streamed request to SGLang's native `POST /generate`, and when its tokens came.

import type { Arrival } from "./arrivals.ts";

/** How a request went; times in milliseconds. */
export type Outcome =
  | {
    readonly status: "done";
    /** From when it was due, not from when this program got to send it. */
    readonly firstToken: number;
    readonly total: number;
    /** Between tokens; tokens that arrive together share the time since the ones before. */
    readonly betweenTokens: readonly number[];
    readonly inputTokens: number;
    readonly outputTokens: number;
    readonly cachedTokens: number;
  }
  | { readonly status: "refused"; readonly code: number; readonly message: string }
  /** Sent, but not done when the time was up. */
  | { readonly status: "unfinished" }
  | { readonly status: "failed"; readonly message: string };

/** Sends a request that was due at `due` (of `performance.now()`), with an API key if there is one. Never rejects. */
export async function request(
  url: string,
  arrival: Arrival,
  due: number,
  signal: AbortSignal,
  key?: string,
): Promise<Outcome> {
  try {
    const response = await fetch(`${url}/generate`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      },
      body: JSON.stringify({
        input_ids: arrival.ids,
        sampling_params: { max_new_tokens: arrival.outputTokens, temperature: 0, ignore_eos: true },
        stream: true,
      }),
      signal,
    });
    if (!response.ok || response.body === null) {
      return { status: "refused", code: response.status, message: (await response.text()).slice(0, 200) };
    }
    return await follow(response.body, arrival, due);
  } catch (error) {
    if (signal.aborted) return { status: "unfinished" };
    return { status: "failed", message: error instanceof Error ? error.message : String(error) };
  }
}

/** Reads the events; only the last one is parsed, since each repeats all the output so far. */
async function follow(body: ReadableStream<Uint8Array>, arrival: Arrival, due: number): Promise<Outcome> {
  const betweenTokens: number[] = [];
  let count = 0, first = 0, latest = 0, last = "", rest = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const now = performance.now();
    const events = (rest + text).split("\n\n");
    rest = events.pop()!;
    for (const event of events) {
      if (event.startsWith('data: {"error"')) return { status: "failed", message: event.slice(6, 206) };
      const tokens = Number(/"completion_tokens":(\d+)/.exec(event)?.[1] ?? count);
      if (event.startsWith("data: {")) last = event;
      if (tokens === count) continue;
      if (count === 0) first = now;
      // The first event's tokens beyond the first came with it.
      const since = count === 0 ? 0 : now - latest, fresh = count === 0 ? tokens - 1 : tokens - count;
      for (let i = 0; i < fresh; i++) betweenTokens.push(since / fresh);
      count = tokens;
      latest = now;
    }
  }
  if (count !== arrival.outputTokens) {
    return { status: "failed", message: `${count} tokens, not ${arrival.outputTokens}` };
  }
  const { meta_info: info } = JSON.parse(last.slice("data: ".length)) as {
    meta_info: { prompt_tokens: number; cached_tokens: number };
  };
  return {
    status: "done",
    firstToken: first - due,
    total: latest - due,
    betweenTokens,
    inputTokens: info.prompt_tokens,
    outputTokens: count,
    cachedTokens: info.cached_tokens,
  };
}

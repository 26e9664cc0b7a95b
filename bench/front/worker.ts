// What stands behind the front in its benchmark: tokenizer, scheduler, model and detokenizer in one worker, which
// computes nothing. Every step all requests that it has get their tokens, in one message, as the detokenizer sends them.

import { systemTime } from "../capacity/records.ts";
import type { Delta, FromDetokenizer, FromTokenizer, ToTokenizer } from "../../engine/messages.ts";

declare const self: DedicatedWorkerGlobalScope;

/** What it is started with. */
export interface FrontWorkerOptions {
  /** Milliseconds from step to step. */
  readonly period: number;
  /** Tokens that a request gets in a step: more than one where a result holds several forwards. */
  readonly perStep: number;
  /** Texts are the times at which they were sent, for the benchmark's latencies. */
  readonly stamps: boolean;
  /** To and from the main process. */
  readonly tokenizer: MessagePort;
  readonly detokenizer: MessagePort;
}

/** Text of a token, about as long as a real one's. */
export function textOf(token: number): string {
  return ` t${token % 1000}`;
}

/** The i-th token of any answer. */
export function tokenAt(i: number): number {
  return 100 + (i * 37) % 1000;
}

if (typeof self.postMessage === "function" && "onmessage" in self) {
  self.onmessage = ({ data }: MessageEvent<FrontWorkerOptions>) => start(data);
}

function start({ period, perStep, stamps, tokenizer, detokenizer }: FrontWorkerOptions): void {
  const running = new Map<string, { done: number; readonly most: number }>();
  let due = 0, stepping = false;
  const step = () => {
    const deltas: Delta[] = [];
    for (const [id, request] of running) {
      const count = Math.min(perStep, request.most - request.done);
      const tokens = Array.from({ length: count }, (_, i) => tokenAt(request.done + i));
      request.done += count;
      const over = request.done === request.most;
      if (over) running.delete(id);
      deltas.push({
        id,
        tokens,
        logprobs: null,
        promptLogprobs: null,
        cachedTokens: 0,
        finish: over ? { type: "length" } : null,
        text: stamps ? ` ${systemTime().toFixed(3)}` : tokens.map(textOf).join(""),
      });
    }
    if (deltas.length > 0) detokenizer.postMessage({ type: "deltas", deltas } satisfies FromDetokenizer);
    stepping = running.size > 0;
    if (stepping) later();
  };
  const later = () => {
    // A step that comes late is not made up for: a device does not compute faster because it was kept waiting.
    due = Math.max(due + period, performance.now());
    setTimeout(step, Math.max(0, due - performance.now()));
  };
  tokenizer.onmessage = ({ data }: MessageEvent<ToTokenizer>) => {
    switch (data.type) {
      case "generate":
        for (const { id, params } of data.requests) {
          const promptIds = data.input.type === "ids" ? data.input.ids : Uint32Array.of(1);
          tokenizer.postMessage({ type: "accepted", id, promptIds } satisfies FromTokenizer);
          running.set(id, { done: 0, most: params.maxTokens ?? 64 });
        }
        if (stepping) return;
        stepping = true;
        return later();
      case "decode":
        return tokenizer.postMessage(
          { type: "decoded", call: data.call, text: "" } satisfies FromTokenizer,
        );
      case "encode":
        return tokenizer.postMessage(
          {
            type: "encoded",
            call: data.call,
            ids: Uint32Array.of(1),
            rendered: null,
          } satisfies FromTokenizer,
        );
      case "abort":
        return void running.delete(data.id);
      case "probe":
        return detokenizer.postMessage(data satisfies FromDetokenizer);
      default:
        return data satisfies never;
    }
  };
}

// All running requests' texts: the scheduler's updates in, deltas for the clients out.
//
// A request ends here when its stop string appears: the client is told at once, the scheduler is told to release
// what the request holds, and whatever it still sends for the request is dropped.

import type { FinishReason, TokenLogprob } from "../params.ts";
import type { Delta, RequestId, TextLogprob, ToDetokenizer, TokenUpdate } from "../messages.ts";
import type { Probe } from "../workers/protocol.ts";
import type { Vocabulary } from "../tokenizer/vocabulary.ts";
import { TextStream } from "./stream.ts";

/** What comes of one message of the scheduler. */
export interface Detokenized {
  /** For the clients. */
  readonly deltas: readonly Delta[];
  /** Requests that their stop string ended. */
  readonly stopped: readonly RequestId[];
}

/** The texts of all running requests. */
export class Detokenizer {
  readonly #vocabulary: Vocabulary | null;
  readonly #streams = new Map<RequestId, TextStream>();

  /** Without a vocabulary ids pass through and all texts are empty. */
  constructor(vocabulary: Vocabulary | null) {
    this.#vocabulary = vocabulary;
  }

  /** Takes in a message of the scheduler. */
  receive(message: Exclude<ToDetokenizer, Probe>): Detokenized {
    switch (message.type) {
      case "start":
        this.#streams.set(message.id, new TextStream(this.#vocabulary, message.params));
        return { deltas: [], stopped: [] };
      case "updates": {
        const deltas: Delta[] = [];
        const stopped: RequestId[] = [];
        for (const update of message.updates) {
          const stream = this.#streams.get(update.id);
          if (!stream) continue;
          const delta = this.#advance(stream, update);
          deltas.push(delta);
          if (delta.finish !== null) this.#streams.delete(update.id);
          if (delta.finish !== null && update.finish === null) stopped.push(update.id);
        }
        return { deltas, stopped };
      }
      default:
        return message satisfies never;
    }
  }

  #advance(stream: TextStream, update: TokenUpdate): Delta {
    const { tokens, finish } = update;
    // The text of the token that ended the output is not part of it.
    const ended = finish?.type === "stop" && typeof finish.matched === "number";
    const shown = ended ? tokens.length - 1 : tokens.length;
    let text = "";
    for (let i = 0; i < shown; i++) {
      const piece = stream.push(tokens[i]!);
      text += piece.text;
      if (piece.matched !== null) return this.#delta(update, text, i + 1, stop(piece.matched));
    }
    if (finish === null) return this.#delta(update, text, tokens.length, null);
    const last = stream.finish();
    return this.#delta(
      update,
      text + last.text,
      tokens.length,
      last.matched === null ? finish : stop(last.matched),
    );
  }

  #delta(update: TokenUpdate, text: string, count: number, finish: FinishReason | null): Delta {
    const { tokens, logprobs, promptLogprobs } = update;
    return {
      ...update,
      text,
      tokens: tokens.slice(0, count),
      logprobs: logprobs && logprobs.slice(0, count).map((entry) => this.#logprob(entry)),
      promptLogprobs: promptLogprobs && promptLogprobs.map((entry) => entry && this.#logprob(entry)),
      finish,
    };
  }

  #logprob({ id, logprob, top }: TokenLogprob): TextLogprob {
    return {
      ...this.#spelled(id),
      logprob,
      top: top.map((entry) => ({ ...this.#spelled(entry.id), ...entry })),
    };
  }

  /** One token on its own; bytes that are no whole character show as U+FFFD in the text. */
  #spelled(id: number): { id: number; text: string; bytes: number[] } {
    const bytes = this.#vocabulary?.bytes(id) ?? new Uint8Array(0);
    return { id, text: lossyDecoder.decode(bytes), bytes: [...bytes] };
  }
}

const lossyDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

function stop(matched: string): FinishReason {
  return { type: "stop", matched };
}

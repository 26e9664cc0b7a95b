// A worker's end of its owner's questions: each is answered once, with the same `call` (see `WorkerHandle`).

import "./death.ts";
import "./fault.ts";

/** What every question has. */
interface Question {
  readonly type: string;
  readonly call: number;
}

/** What makes the answer to each type of question; an error becomes an answer of type "failed". "ping" needs none. */
type Answerers<Q extends Question, A> = {
  readonly [type in Exclude<Q["type"], "ping">]: (question: Q & { readonly type: type }) => Promise<A>;
};

type WithoutCall<A> = A extends unknown ? Omit<A, "call"> : never;

/** Answers every question that comes to this worker from now on. */
export function answerQuestions<Q extends Question, A extends { readonly call: number }>(
  answerers: Answerers<Q, WithoutCall<A>>,
): void {
  self.onmessage = async ({ data: question }: MessageEvent<Q>) => {
    const { type, call } = question;
    try {
      const answer = type === "ping"
        ? { type: "pong" }
        : await answerers[type as keyof typeof answerers](question as never);
      self.postMessage({ ...answer, call });
    } catch (error) {
      self.postMessage({ type: "failed", call, message: messageOf(error) });
    }
  };
}

/** What an error says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

// Messages about the workers themselves, beside those about requests in `messages.ts`.

/** Travels the way of a request: main → tokenizer → scheduler → every rank → scheduler → detokenizer → main. */
export interface Probe {
  /** Tells it from requests. */
  readonly type: "probe";
  /** Comes back unchanged. */
  readonly probe: number;
}

/** How far probes have come. */
export interface ProbeProgress {
  /** The last that the tokenizer has passed on. */
  readonly received: number;
  /** The last that all ranks have sent back. */
  readonly returned: number;
}

/** Which of the two. */
export type TextWorkerName = "tokenizer" | "detokenizer";

/** To the scheduler: a worker that was started again; the port of the one before is closed. */
export interface AttachQuestion {
  /** Tells it from other questions. */
  readonly type: "attach";
  /** Repeated by the answer. */
  readonly call: number;
  /** Which one. */
  readonly worker: TextWorkerName;
  /** The scheduler's end of the new channel. */
  readonly port: MessagePort;
  /** Requests that the main process still waits for. */
  readonly live: readonly string[];
}

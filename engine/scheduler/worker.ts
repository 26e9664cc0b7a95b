// The scheduler's worker: ports in and out, nothing else. An exception in the loop is not caught: it ends the worker,
// and the launcher, which watches for that, fails the requests in flight.

import "../workers/death.ts";
import "../workers/fault.ts";
import { GrammarClient } from "../grammar/serving/client.ts";
import type { RequestId, SchedulerAnswer, SchedulerPorts, SchedulerQuestion } from "../messages.ts";
import type { AttachQuestion } from "../workers/protocol.ts";
import type { SchedulerConfig } from "./config.ts";
import { Inbox } from "./io.ts";
import { Scheduler } from "./scheduler.ts";

declare const self: DedicatedWorkerGlobalScope;

/** The scheduler and its way in. */
interface Running {
  readonly scheduler: Scheduler;
  readonly inbox: Inbox;
}

let running: Running | null = null;

function answer(message: SchedulerAnswer): void {
  self.postMessage(message);
}

function start(config: SchedulerConfig, initial: SchedulerPorts): Running {
  const ports = { ...initial };
  const inbox = new Inbox(ports);
  const grammars = new GrammarClient(
    { modelDir: config.tokenizerDir, vocabSize: config.vocabSize, eosIds: config.eosIds },
    (answer) => inbox.take(answer, true),
  );
  const scheduler = new Scheduler(config, {
    toGrammar: (message) => grammars.send(message),
    toExecutors: (message) => ports.executors.forEach((port) => port.postMessage(message)),
    // The port of a detokenizer that was started again takes the place of the first.
    toDetokenizer: (message) => ports.detokenizer.postMessage(message),
  });
  void scheduler.eventLoop(inbox);
  return { scheduler, inbox };
}

/** Joins a text worker that was started again; returns the requests that are lost with the one before. */
function attach(
  { scheduler, inbox }: Running,
  { worker, port, live }: AttachQuestion,
): readonly RequestId[] {
  for (const message of inbox.replace(worker, port)) scheduler.processInput(message);
  const lost = worker === "tokenizer" ? scheduler.keepOnly(live) : scheduler.startAgain(live);
  scheduler.runNextBatches();
  return lost;
}

self.onmessage = ({ data }: MessageEvent<SchedulerQuestion>) => {
  if (data.type === "init") {
    running = start(data.config, data.ports);
    return answer({ type: "ready", call: data.call });
  }
  if (running === null) throw new Error(`the scheduler was asked for ${data.type} before it was started`);
  const { scheduler, inbox: { probes } } = running;
  switch (data.type) {
    case "counters":
      return answer({
        type: "counters",
        call: data.call,
        counters: scheduler.counters(),
        probes: probes.progress,
      });
    case "inspect":
      return answer({ type: "inspected", call: data.call, state: scheduler.inspect() });
    case "flush":
      return answer({ type: "flushed", call: data.call, done: scheduler.flush() });
    case "attach":
      return answer({ type: "attached", call: data.call, lost: attach(running, data) });
  }
};

// The scheduler's worker: ports in and out, nothing else.
//
// A result is acted on at once, because the device waits for the next plan. Requests are let in a moment later, by
// way of a message to ourselves, so that those that arrive together are batched together. An exception is not
// caught: it ends the worker, and the launcher, which watches for that, fails the requests in flight.

import "../workers/death.ts";
import type {
  FromExecutor,
  SchedulerAnswer,
  SchedulerPorts,
  SchedulerQuestion,
  ToScheduler,
} from "../messages.ts";
import type { SchedulerConfig } from "./config.ts";
import { portIo } from "./io.ts";
import { Scheduler } from "./scheduler.ts";

declare const self: DedicatedWorkerGlobalScope;

let scheduler: Scheduler | null = null;

function answer(message: SchedulerAnswer): void {
  self.postMessage(message);
}

function start(config: SchedulerConfig, ports: SchedulerPorts): Scheduler {
  const scheduler = new Scheduler(config, portIo(ports));
  const later = new MessageChannel();
  let waiting = false;
  later.port2.onmessage = () => {
    waiting = false;
    scheduler.advance();
  };
  const receive = ({ data }: MessageEvent<ToScheduler>) => {
    scheduler.receive(data);
    if (!waiting) later.port1.postMessage(null);
    waiting = true;
  };
  ports.tokenizer.onmessage = receive;
  ports.detokenizer.onmessage = receive;
  for (const port of ports.executors) {
    port.onmessage = ({ data }: MessageEvent<FromExecutor>) => {
      scheduler.complete(data.result);
      scheduler.advance();
    };
  }
  return scheduler;
}

self.onmessage = ({ data }: MessageEvent<SchedulerQuestion>) => {
  if (data.type === "init") {
    scheduler = start(data.config, data.ports);
    return answer({ type: "ready", call: data.call });
  }
  if (scheduler === null) throw new Error(`the scheduler was asked for ${data.type} before it was started`);
  switch (data.type) {
    case "counters":
      return answer({ type: "counters", call: data.call, counters: scheduler.counters() });
    case "flush":
      return answer({ type: "flushed", call: data.call, done: scheduler.flush() });
  }
};

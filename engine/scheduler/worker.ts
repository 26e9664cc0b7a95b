// The scheduler's worker: ports in and out, nothing else. An exception in the loop is not caught: it ends the worker,
// and the launcher, which watches for that, fails the requests in flight.

import "../workers/death.ts";
import type { SchedulerAnswer, SchedulerPorts, SchedulerQuestion } from "../messages.ts";
import type { SchedulerConfig } from "./config.ts";
import { Inbox, portIo } from "./io.ts";
import { Scheduler } from "./scheduler.ts";

declare const self: DedicatedWorkerGlobalScope;

let scheduler: Scheduler | null = null;

function answer(message: SchedulerAnswer): void {
  self.postMessage(message);
}

function start(config: SchedulerConfig, ports: SchedulerPorts): Scheduler {
  const scheduler = new Scheduler(config, portIo(ports));
  void scheduler.eventLoop(new Inbox(ports));
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

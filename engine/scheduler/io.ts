// Where the scheduler's messages go. The scheduler itself knows no ports, workers or timers, so that tests can drive
// it by hand; the worker gives it this interface over its `MessagePort`s.

import type { SchedulerPorts, ToDetokenizer, ToExecutor } from "../messages.ts";

/** The scheduler's way out. */
export interface SchedulerIo {
  /** Every rank gets the same message. */
  toExecutors(message: ToExecutor): void;
  /** News of requests, in order. */
  toDetokenizer(message: ToDetokenizer): void;
}

/** Sends over message ports. */
export function portIo(ports: Pick<SchedulerPorts, "executors" | "detokenizer">): SchedulerIo {
  return {
    toExecutors(message) {
      for (const port of ports.executors) port.postMessage(message);
    },
    toDetokenizer(message) {
      ports.detokenizer.postMessage(message);
    },
  };
}

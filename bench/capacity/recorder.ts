// Runs in a recorded server's scheduler worker, before the worker itself: writes down what goes in and out of the
// scheduler, and when. The engine knows nothing of it: methods and ports are wrapped.
//
// A line per record, appended when enough have come or when the scheduler has nothing to do; times are milliseconds
// of the system's clock, which the client of the same machine can compare with its own.

import { Scheduler } from "../../engine/scheduler/scheduler.ts";
import type { ToDetokenizer, ToExecutor } from "../../engine/messages.ts";
import type { SchedulerConfig } from "../../engine/scheduler/config.ts";
import { requestKey, type ServerRecord, systemTime } from "./records.ts";
import { shapeOf } from "./profile.ts";

declare const self: DedicatedWorkerGlobalScope;

/** Records that are written at once. */
const batch = 512;

const path = Deno.env.get("RADISH_CAPACITY_RECORD");
if (path === undefined) throw new Error("RADISH_CAPACITY_RECORD names the file to write");

let records: ServerRecord[] = [];
/** When the result came that the scheduler is dealing with; null outside such a turn. */
let turn: number | null = null;
/** Plans without a result. */
let unanswered = 0;
const keys = new Map<string, string>();

function write(): void {
  if (records.length === 0) return;
  const text = records.map((record) => JSON.stringify(record) + "\n").join("");
  records = [];
  Deno.writeTextFileSync(path!, text, { append: true });
}

self.addEventListener("message", ({ data }: MessageEvent<{ type: string; config?: SchedulerConfig }>) => {
  if (data.type !== "init" || data.config === undefined) return;
  records.push({ type: "config", config: data.config });
  write();
});

const { processInput, processBatchResult, runNextBatches } = Scheduler.prototype;
Scheduler.prototype.processInput = function (message) {
  if (message.type === "request") {
    const key = requestKey(message.ids);
    keys.set(message.id, key);
    records.push({ type: "request", at: systemTime(), key, prompt: message.ids.length });
  }
  processInput.call(this, message);
};
Scheduler.prototype.processBatchResult = function (result) {
  turn = systemTime();
  unanswered--;
  records.push({ type: "result", at: turn, id: result.id, milliseconds: result.milliseconds });
  processBatchResult.call(this, result);
};
Scheduler.prototype.runNextBatches = function () {
  runNextBatches.call(this);
  turn = null;
  if (records.length >= batch || (unanswered === 0 && records.length > 0)) write();
};

const { postMessage } = MessagePort.prototype;
MessagePort.prototype.postMessage = function (message: ToExecutor | ToDetokenizer, ...rest: []) {
  postMessage.call(this, message, ...rest);
  if (message?.type === "plan") {
    const { id, steps, cachedLength, extendLength } = message.plan, at = systemTime();
    unanswered++;
    records.push({
      type: "plan",
      at,
      id,
      turn: turn === null ? null : at - turn,
      shape: shapeOf(steps, cachedLength, extendLength, (i) => extendLength[i]! > 1),
    });
  } else if (message?.type === "updates") {
    const news = message.updates.map(({ id, tokens }) => [keys.get(id) ?? "", tokens.length] as const);
    for (const { id, finish } of message.updates) if (finish !== null) keys.delete(id);
    records.push({ type: "news", at: systemTime(), news });
  }
};

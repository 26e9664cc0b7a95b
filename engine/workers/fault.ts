// Faults on demand, for tests: a worker that imports this can be made to die, to stall, to lose its ports or to send
// what nobody can read. Only the owner of a worker can ask for it; nothing outside the process can.

import { type Fault, type FaultOrder, notedChild } from "./children.ts";
import { notedPorts } from "./death.ts";

export type { Fault, FaultOrder };

/** Deep enough that reading it overflows a worker's stack; shallow enough that writing it does not. */
const unreadableDepth = 3_000;

function unreadable(): unknown {
  let value: unknown = null;
  for (let depth = 0; depth < unreadableDepth; depth++) value = { value };
  return value;
}

/** Never returns, and can be ended all the same: a wait without end would outlive the worker (Deno 2.9.6). */
function stall(): never {
  const never = new Int32Array(new SharedArrayBuffer(4));
  for (;;) Atomics.wait(never, 0, 0, 100);
}

function happen(fault: Fault): void {
  switch (fault) {
    case "die":
      throw new Error("told to die");
    case "stall":
      stall();
      return;
    case "close":
      for (const port of notedPorts()) port.close();
      return;
    case "garble":
      for (const port of notedPorts()) port.postMessage(unreadable());
  }
}

// Registered when the module is loaded, so in front of the worker's own `onmessage`.
self.addEventListener("message", (event) => {
  const { data } = event as MessageEvent<FaultOrder | { readonly type: string }>;
  if (data.type !== "fault" || !("fault" in data)) return;
  event.stopImmediatePropagation();
  if (data.inside !== undefined) return notedChild(data.inside)?.inject(data.fault);
  happen(data.fault);
});

// A kernel thread: attaches the memories it is sent and runs the programs that the executor's thread forks.
// The other half of `threads.ts`, where the words of the control block are explained.

import { instantiate, type KernelExports } from "./module.ts";
import { type AttachMessage, Control, failureBytes } from "./threads.ts";

/** Loads of the signal before the thread sleeps: some tens of microseconds. */
const spins = 20_000;

const banks: KernelExports[] = [];
/** The number of forks served. */
let served = 0;

addEventListener("message", (event: MessageEvent<AttachMessage>) => {
  const { control: buffer, thread, module, memory } = event.data;
  const control = new Int32Array(buffer);
  try {
    banks.push(instantiate(module, memory));
    Atomics.store(control, Control.Attached + thread, banks.length);
    postMessage(null);
    serve(control, thread);
  } catch (error) {
    report(control, error);
    Atomics.store(control, Control.Attached + thread, -1);
    for (const bank of banks) bank.fail();
    postMessage(null);
    close();
  }
});

/** Leaves the reason of a failure where the executor's thread finds it; the first one counts. */
function report(control: Int32Array<SharedArrayBuffer>, error: unknown): void {
  if (Atomics.load(control, Control.FailureLength) !== 0) return;
  const text = new TextEncoder().encode(String(error)).subarray(0, failureBytes);
  new Uint8Array(control.buffer, Control.FailureText * 4).set(text);
  Atomics.store(control, Control.FailureLength, text.length);
  Atomics.store(control, Control.Failed, 1);
}

/** Runs forks until told to leave, or until a further memory waits among the messages. */
function serve(control: Int32Array<SharedArrayBuffer>, thread: number): void {
  for (;;) {
    const signal = Atomics.load(control, Control.Signal);
    if (Atomics.load(control, Control.Stop) !== 0) return close();
    if (Atomics.load(control, Control.Banks) > banks.length) return;
    const forks = Atomics.load(control, Control.Forks);
    if (forks === served) {
      awaitSignal(control, signal);
      continue;
    }
    served = forks;
    const threads = Atomics.load(control, Control.Threads);
    if (thread >= threads) continue;
    const bank = banks[Atomics.load(control, Control.Bank)]!;
    bank.run(Atomics.load(control, Control.Program), Atomics.load(control, Control.Count), thread, threads);
  }
}

function awaitSignal(control: Int32Array<SharedArrayBuffer>, signal: number): void {
  for (let i = 0; i < spins; i++) {
    if (Atomics.load(control, Control.Signal) !== signal) return;
  }
  Atomics.wait(control, Control.Signal, signal);
}

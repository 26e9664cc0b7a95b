// A kernel thread: attaches the memories it is sent and runs the programs that the executor's thread forks.
// The other half of `threads.ts`, where the words of the control block are explained.

import { instantiate, type KernelExports } from "./module.ts";
import { type AttachMessage, Control } from "./threads.ts";

/** Loads of the signal before the thread sleeps: some tens of microseconds. */
const spins = 20_000;

const banks: KernelExports[] = [];
/** The number of forks served. */
let served = 0;

addEventListener("message", (event: MessageEvent<AttachMessage>) => {
  const { control: buffer, thread, threads, module, memory } = event.data;
  const control = new Int32Array(buffer);
  try {
    banks.push(instantiate(module, memory));
    Atomics.store(control, Control.Attached + thread, banks.length);
    Atomics.notify(control, Control.Attached + thread);
    serve(control, thread, threads);
  } catch (error) {
    Atomics.store(control, Control.Attached + thread, -1);
    for (const bank of banks) bank.fail();
    throw error;
  }
});

/** Runs forks until told to leave, or until a further memory waits among the messages. */
function serve(control: Int32Array, thread: number, threads: number): void {
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
    const bank = banks[Atomics.load(control, Control.Bank)]!;
    bank.run(Atomics.load(control, Control.Program), Atomics.load(control, Control.Count), thread, threads);
  }
}

function awaitSignal(control: Int32Array, signal: number): void {
  for (let i = 0; i < spins; i++) {
    if (Atomics.load(control, Control.Signal) !== signal) return;
  }
  Atomics.wait(control, Control.Signal, signal);
}

// Threads that fail, and threads that are asked for in impossible numbers.

import assert from "node:assert/strict";
import { createCpuBackend } from "../../../kernels/cpu/backend.ts";
import { Bank } from "../../../kernels/cpu/bank.ts";
import { compileKernels } from "../../../kernels/cpu/module.ts";
import { Program } from "../../../kernels/cpu/program.ts";
import { ThreadGroup } from "../../../kernels/cpu/threads.ts";

const kernels = compileKernels(256);

/** A product whose scratch for thread 1 lies outside of the memory, and enough panels for both threads. */
function pushTrap(bank: Bank, program: Program): void {
  const tokens = 64, columns = 1024, panels = 400;
  const packed = bank.allocate(tokens * columns * 4), output = bank.allocate(tokens * panels * 32 * 4);
  // Panels overlap: what is multiplied does not matter.
  const weights = bank.allocate(columns * 64), scratch = bank.allocate(1 << 16);
  const words = {
    ...{ input: packed, inputStride: columns * 4, rows: 0, tokens, columns, norm: 0, epsilon: 0, packed },
    ...{ packRoom: 0, weights, format: 0, panels: 1, results: 32, bias: 0, outputStride: panels * 128 },
    ...{ epilogue: 0, scratch, scratchBytes: 1 << 30, claimPanels: 1, groups: 0, expertBytes: 0 },
    ...{ alpha: 1, beta: 0, limit: 0, plus: 0 },
  };
  for (let panel = 0; panel < panels; panel++) {
    program.push("linear", { ...words, output: output + panel * 128 });
  }
}

Deno.test("a thread that traps makes this run and all later ones throw", async () => {
  using group = new ThreadGroup(2, kernels);
  const bank = new Bank(0, kernels);
  group.attach(bank);
  await group.ready();
  const program = new Program(bank);
  pushTrap(bank, program);
  const reason = /a kernel thread failed: RuntimeError: memory access out of bounds/;
  assert.throws(() => group.run(bank, program.address, program.count), reason);
  assert.throws(() => group.run(bank, program.address, 0), reason);
});

Deno.test("a kernel that traps on the caller's thread throws there and releases the others", async () => {
  using group = new ThreadGroup(3, kernels);
  const bank = new Bank(0, kernels);
  group.attach(bank);
  await group.ready();
  const program = bank.allocate(128);
  bank.words[program / 4] = 99;
  assert.throws(() => group.run(bank, program, 1), WebAssembly.RuntimeError);
  assert.throws(() => group.run(bank, program, 0), /a kernel failed/);
});

Deno.test("an impossible number of threads is refused", async () => {
  for (const threads of [0, -1, 1.5, 1000]) {
    await assert.rejects(createCpuBackend({ threads }), RangeError);
  }
});

Deno.test("a disposed group does not run", async () => {
  const group = new ThreadGroup(2, kernels);
  const bank = new Bank(0, kernels);
  group.attach(bank);
  await group.ready();
  group[Symbol.dispose]();
  assert.throws(() => group.run(bank, new Program(bank).address, 0), /disposed/);
});

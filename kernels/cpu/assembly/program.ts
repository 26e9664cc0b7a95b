// How threads share the work of a program: units of an operation are claimed from a counter, and a barrier stands
// between operations.
//
// A program is an array of operations, which `../operations.ts` describes; the executor's thread writes it into the
// memory. The barrier is a counting one with a phase number (Mellor-Crummey & Scott 1991): spin for some microseconds,
// then sleep until the last thread wakes the others. A thread that fails sets `failed`, and every waiter leaves.

import { Operation } from "../operations";

/** Control block, below the compiler's static data; each word stands on a cache line of its own. */
const arrived: usize = 256;
const phase: usize = 320;
const sleepers: usize = 384;
const failed: usize = 448;

/** Loads of the phase before a waiting thread sleeps: some tens of microseconds. */
const spins: i32 = 20000;
/** A sleeper looks at `failed` this often, in nanoseconds. */
const slice: i64 = 200_000_000;
/** Slices without any thread claiming work after which the others are taken for dead: ten seconds. */
const patience: i32 = 50;

/** The first of `count` units that now belong to this thread; beyond the last there is no work left. */
@inline
export function claim(op: Operation, count: usize): usize {
  return atomic.add<usize>(changetype<usize>(op) + offsetof<Operation>("claimed"), count);
}

/** Waits until all threads are here. False: some thread failed or died, give up. */
export function barrier(op: Operation, threads: i32): bool {
  if (threads == 1) return true;
  const now = atomic.load<usize>(phase);
  if (atomic.add<i32>(arrived, 1) + 1 == threads) {
    atomic.store<i32>(arrived, 0);
    atomic.store<usize>(phase, now + 1);
    if (atomic.load<i32>(sleepers) > 0) atomic.notify(phase, threads);
    return atomic.load<i32>(failed) == 0;
  }
  for (let i = 0; i < spins; i++) {
    if (atomic.load<usize>(phase) != now) return atomic.load<i32>(failed) == 0;
  }
  let claims = claim(op, 0), idle = 0;
  atomic.add<i32>(sleepers, 1);
  while (atomic.load<usize>(phase) == now && atomic.load<i32>(failed) == 0) {
    atomic.wait<usize>(phase, now, slice);
    const seen = claim(op, 0);
    idle = seen == claims ? idle + 1 : 0;
    claims = seen;
    if (idle == patience) fail();
  }
  atomic.sub<i32>(sleepers, 1);
  return atomic.load<i32>(failed) == 0;
}

/** Makes every thread leave its barrier. */
export function fail(): void {
  atomic.store<i32>(failed, 1);
  atomic.notify(phase, i32.MAX_VALUE);
}

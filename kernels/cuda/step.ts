// A step in flight: its results come back into pinned memory, and an event says when they are there.

import type { BatchPlan, StepResult } from "../plan.ts";
import type { RecordedStep } from "../ops.ts";
import type { PackedPlan } from "../webgpu/plan/pack.ts";
import { readResult } from "../results.ts";
import type { CudaDevice } from "./device.ts";
import { type PinnedBuffer, wordsOf } from "./pinned.ts";
import type { Handle } from "./driver.ts";

/** Pinned buffers and events lent to steps. */
export class StepPool {
  readonly #device: CudaDevice;
  readonly #buffers = new Map<number, PinnedBuffer[]>();
  readonly #events: Handle[] = [];
  /** When the last step was seen to be done. */
  finished = 0;

  /** Nothing is allocated yet. */
  constructor(device: CudaDevice) {
    this.#device = device;
  }

  /** A buffer of at least `bytes`. */
  buffer(bytes: number): PinnedBuffer {
    const size = 2 ** Math.ceil(Math.log2(Math.max(bytes, 4096)));
    return this.#buffers.get(size)?.pop() ?? this.#device.pin(size);
  }

  /** An event. */
  event(): Handle {
    return this.#events.pop() ?? this.#device.event();
  }

  /** Takes everything of a finished step back. */
  release(buffers: readonly PinnedBuffer[], event: Handle): void {
    for (const buffer of buffers) {
      const size = buffer.data.length, free = this.#buffers.get(size);
      if (free) free.push(buffer);
      else this.#buffers.set(size, [buffer]);
    }
    this.#events.push(event);
  }
}

/** What a step that was launched leaves. */
export interface Launched {
  /** What was read from. */
  readonly input: PinnedBuffer;
  /** Rows of results, then what else is returned of the sampled rows. */
  readonly output: PinnedBuffer;
  /** Passed when the results are there. */
  readonly done: Handle;
  /** When it was launched. */
  readonly started: number;
}

/**
 * A step of the CUDA backend. It is launched when it is recorded, behind the one that runs, so that the GPU goes from
 * one to the next without the host; one in which the host takes part only when it is read, where it may block.
 */
export class CudaStep implements RecordedStep {
  readonly #device: CudaDevice;
  readonly #pool: StepPool;
  readonly #plan: BatchPlan;
  readonly #packed: PackedPlan;
  readonly #launch: () => Launched;
  readonly #check: () => void;
  #launched: Launched | null = null;

  /** `atOnce` launches it here; `check` throws where what was computed means nothing. */
  constructor(
    device: CudaDevice,
    pool: StepPool,
    plan: BatchPlan,
    packed: PackedPlan,
    launch: () => Launched,
    atOnce: boolean,
    check: () => void = () => {},
  ) {
    this.#device = device;
    this.#pool = pool;
    this.#plan = plan;
    this.#packed = packed;
    this.#launch = launch;
    this.#check = check;
    if (atOnce) this.#launched = launch();
  }

  submit(): void {
    this.#device.assertAlive();
  }

  /**
   * Blocks until the step is done.
   * @throws {CudaError} if it failed.
   */
  read(): StepResult {
    const { input, output, done, started } = this.#launched ??= this.#launch();
    this.#device.wait(done);
    this.#check();
    // A step that was launched behind another one begins when that one ends.
    const now = performance.now(), milliseconds = now - Math.max(started, this.#pool.finished);
    this.#pool.finished = now;
    const result = readResult(wordsOf(output), this.#plan, this.#packed, milliseconds);
    this.#pool.release([input, output], done);
    return result;
  }
}

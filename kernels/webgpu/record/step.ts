// A recorded step: submitting it, and reading what it left behind.

import type { BatchPlan, StepResult } from "../../plan.ts";
import type { RecordedStep } from "../../ops.ts";
import { readResult, returnedWords } from "../../results.ts";
import { DeviceError, type GpuDevice } from "../device/device.ts";
import { type PackedPlan } from "../plan/pack.ts";
import type { Readback, Staging } from "../device/readback.ts";
import type { Segment } from "./recorder.ts";

/** Words before the results. */
export const serialWords = 4;

/** What a step is made of. */
export interface StepParts {
  /** Where it runs. */
  readonly gpu: GpuDevice;
  /** Reads what it leaves behind. */
  readonly readback: Readback;
  /** The plan, as it came and packed. */
  readonly plan: BatchPlan;
  /** The words for the kernels. */
  readonly packed: PackedPlan;
  /** Where these go. */
  readonly planBuffer: GPUBuffer;
  /** The commands. */
  readonly segments: readonly Segment[];
  /** Where the results are copied: the serial, then rows, then what else is returned of the sampled rows. */
  readonly staging: Staging;
  /** Number of the step, which stands in front of them. */
  readonly serial: number;
  /** Words of results. */
  readonly rows: number;
  /** Called with the serial once the step is done. */
  readonly done: (serial: number) => void;
}

/** A step of the WebGPU backend. */
export class DeviceStep implements RecordedStep {
  readonly #parts: StepParts;
  #started = 0;

  /** Nothing runs before `submit`. */
  constructor(parts: StepParts) {
    this.#parts = parts;
  }

  /** A step in which the host takes part is put off until `read`, where it may block. */
  submit(): void {
    this.#parts.gpu.check();
    this.#started = performance.now();
    if (this.#parts.segments.length === 1) this.#begin();
  }

  /**
   * Blocks until the step is done, where that is possible.
   * @throws {DeviceError} if the device failed since the step before.
   */
  read(): StepResult | Promise<StepResult> {
    this.#parts.gpu.check();
    if (this.#parts.segments.length > 1) {
      this.#begin();
      const rest = this.#continue(0);
      if (rest !== null) return rest.then(() => this.#collect());
    }
    return this.#collect();
  }

  #begin(): void {
    // The plan goes in right before the commands that read it: an earlier step may still need the buffer.
    this.#parts.gpu.queue.writeBuffer(this.#parts.planBuffer, 0, this.#parts.packed.words);
    this.#parts.gpu.queue.submit([this.#parts.segments[0]!.commands]);
  }

  /** Runs the host's parts from segment `from` on; a promise only where a readback has to be awaited. */
  #continue(from: number): Promise<void> | null {
    for (let i = from; i < this.#parts.segments.length - 1; i++) {
      const { staging, bytes, act, last } = this.#parts.segments[i]!.then!;
      const next = (data: ArrayBuffer) => {
        act(data);
        this.#parts.gpu.queue.submit([this.#parts.segments[i + 1]!.commands]);
      };
      const data = this.#parts.readback.read(staging, bytes, !last);
      if (data instanceof Promise) {
        return data.then((d) => {
          next(d);
          return this.#continue(i + 1) ?? undefined;
        });
      }
      next(data);
    }
    return null;
  }

  #collect(): StepResult | Promise<StepResult> {
    const { staging, rows, packed } = this.#parts;
    const data = this.#parts.readback.read(staging, 4 * (serialWords + rows + returnedWords(packed)));
    return data instanceof Promise ? data.then((d) => this.#decode(d)) : this.#decode(data);
  }

  #decode(data: ArrayBuffer): StepResult | Promise<StepResult> {
    const { serial, packed, plan, done } = this.#parts;
    const words = new Uint32Array(data);
    if (words[0] !== serial) return this.#explain();
    done(serial);
    return readResult(words.subarray(serialWords), plan, packed, performance.now() - this.#started);
  }

  /** The step did not run: the reason arrives as an event by the time the queue says that it is idle. */
  async #explain(): Promise<never> {
    await this.#parts.gpu.queue.onSubmittedWorkDone();
    this.#parts.gpu.check();
    throw new DeviceError("the device did not run the step, and gave no reason");
  }
}

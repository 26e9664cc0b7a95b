// Results from the device without the ten-millisecond wait.
//
// In Deno `mapAsync` blocks until all submitted work is done and then resolves its promise only after a timer of
// 10 ms. The data is there as soon as the call returns, so a buffer that has been mapped once before can be read at
// once, without awaiting. This rests on the runtime's internals; therefore it is tried out at start, and where it
// does not work, or a buffer is new, reading awaits like everyone else.

import { DeviceError, type GpuDevice } from "./device.ts";

/** A mappable buffer lent to one step. */
export interface Staging {
  /** The buffer itself. */
  readonly buffer: GPUBuffer;
  /** Its size. */
  readonly bytes: number;
  /** Mapped at least once: `getMappedRange` on a buffer that never was ends the process. */
  warm: boolean;
}

const minimumBytes = 4096;

/** Lends staging buffers and reads them. */
export class Readback {
  readonly #gpu: GpuDevice;
  /** Free buffers by size, a power of two. */
  readonly #free = new Map<number, Staging[]>();
  #immediate = false;

  private constructor(gpu: GpuDevice) {
    this.#gpu = gpu;
  }

  /** Warms a few buffers of `bytes` and finds out whether they can be read at once. */
  static async create(gpu: GpuDevice, bytes: number): Promise<Readback> {
    const readback = new Readback(gpu);
    const buffers = [1, 2, 3].map(() => readback.acquire(bytes));
    for (const staging of buffers) await readback.#readAwaiting(staging, 4);
    await readback.#tryImmediate();
    return readback;
  }

  /** True when reading does not wait for the runtime's timer. */
  get immediate(): boolean {
    return this.#immediate;
  }

  /** A buffer of at least `bytes` to copy results into; `read` gives it back. */
  acquire(bytes: number): Staging {
    let size = minimumBytes;
    while (size < bytes) size *= 2;
    const free = this.#free.get(size)?.pop();
    if (free) return free;
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    return { buffer: this.#gpu.device.createBuffer({ size, usage }), bytes: size, warm: false };
  }

  /**
   * The first `bytes` of the buffer, after all submitted work; blocks, or is a promise where that cannot be. The
   * buffer goes back to the pool unless it is to be kept for another read.
   *
   * @throws {DeviceError} if the device is lost.
   */
  read(staging: Staging, bytes: number, keep = false): ArrayBuffer | Promise<ArrayBuffer> {
    if (!this.#immediate || !staging.warm) return this.#readAwaiting(staging, bytes, keep);
    try {
      return this.#readAtOnce(staging, bytes, keep);
    } catch (error) {
      this.#gpu.check();
      throw new DeviceError(`results cannot be read: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** Blocks until all submitted work is done, where that is possible. */
  wait(): void {
    if (!this.#immediate) return;
    const staging = this.acquire(minimumBytes);
    if (staging.warm) this.#readAtOnce(staging, 4);
    else this.#release(staging);
  }

  #readAtOnce(staging: Staging, bytes: number, keep = false): ArrayBuffer {
    const { buffer } = staging;
    // The promise settles later and says nothing new: a failure shows in getMappedRange.
    buffer.mapAsync(GPUMapMode.READ).catch(() => {});
    // Unmapping detaches the mapped range.
    const data = buffer.getMappedRange(0, bytes).slice(0);
    buffer.unmap();
    if (!keep) this.#release(staging);
    return data;
  }

  async #readAwaiting(staging: Staging, bytes: number, keep = false): Promise<ArrayBuffer> {
    try {
      await staging.buffer.mapAsync(GPUMapMode.READ);
    } catch (error) {
      this.#gpu.check();
      throw new DeviceError(`results cannot be read: ${error instanceof Error ? error.message : error}`);
    }
    const data = staging.buffer.getMappedRange(0, bytes).slice(0);
    staging.buffer.unmap();
    staging.warm = true;
    if (!keep) this.#release(staging);
    return data;
  }

  #release(staging: Staging): void {
    const free = this.#free.get(staging.bytes);
    if (free) free.push(staging);
    else this.#free.set(staging.bytes, [staging]);
  }

  /** Copies a few patterns through the device and reads each at once. */
  async #tryImmediate(): Promise<void> {
    const { device, queue } = this.#gpu;
    const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const source = device.createBuffer({ size: 16, usage });
    this.#immediate = true;
    for (let i = 1; i <= 4 && this.#immediate; i++) {
      const staging = this.acquire(16);
      if (!staging.warm) await this.#readAwaiting(staging, 4);
      queue.writeBuffer(source, 0, new Uint32Array([i, i * 3, i * 5, i * 7]));
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(source, 0, staging.buffer, 0, 16);
      queue.submit([encoder.finish()]);
      try {
        const words = new Uint32Array(this.#readAtOnce(staging, 16));
        this.#immediate = words[0] === i && words[1] === i * 3 && words[2] === i * 5 && words[3] === i * 7;
      } catch {
        this.#immediate = false;
      }
    }
    source.destroy();
  }
}

// Buffers on the device, numbered so that bind groups can be found again, and the account of their bytes.

import { DeviceError, type GpuDevice } from "./device.ts";

/** A storage buffer. */
export interface DeviceBuffer {
  /** Unique per allocator. */
  readonly id: number;
  /** The buffer itself. */
  readonly gpu: GPUBuffer;
  /** Its size, a multiple of 16. */
  readonly bytes: number;
}

/** Makes buffers and owns them all. */
export class BufferAllocator implements Disposable {
  readonly #gpu: GpuDevice;
  readonly #live = new Set<DeviceBuffer>();
  #nextId = 1;
  #bytes = 0;

  /** Nothing is allocated yet. */
  constructor(gpu: GpuDevice) {
    this.#gpu = gpu;
  }

  /** Bytes of all live buffers. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * A zeroed buffer, usable as storage and for copies both ways.
   *
   * @throws {DeviceError} if it is larger than one binding may be.
   */
  create(label: string, bytes: number): DeviceBuffer {
    const { maxBindingBytes } = this.#gpu.caps;
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    if (size > Math.min(maxBindingBytes, this.#gpu.maxBufferBytes)) {
      throw new DeviceError(
        `${label}: ${size} bytes are more than the ${maxBindingBytes} a binding may have`,
      );
    }
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const gpu = this.#gpu.device.createBuffer({ label, size, usage });
    const buffer = { id: this.#nextId++, gpu, bytes: size };
    this.#live.add(buffer);
    this.#bytes += size;
    return buffer;
  }

  /** Writes to a buffer, in the order of submissions. Nothing at all is not passed on: it ends the process. */
  write(
    buffer: DeviceBuffer,
    offset: number,
    data: Uint8Array | Uint32Array | Float32Array | Float16Array,
  ): void {
    if (data.byteLength === 0) return;
    this.#gpu.queue.writeBuffer(buffer.gpu, offset, data as Uint8Array<ArrayBuffer>);
  }

  /** Gives a buffer's memory back once the work that uses it is done. */
  release(buffer: DeviceBuffer): void {
    if (!this.#live.delete(buffer)) return;
    this.#bytes -= buffer.bytes;
    buffer.gpu.destroy();
  }

  /** Destroys all buffers. */
  [Symbol.dispose](): void {
    for (const buffer of this.#live) buffer.gpu.destroy();
    this.#live.clear();
    this.#bytes = 0;
  }
}

// The decoder's operations, each turned into launches.

import type {
  Activation,
  AttentionArgs,
  LinearArgs,
  Matrix,
  MoeArgs,
  NormArgs,
  Ops,
  SampleArgs,
} from "../ops.ts";
import { Float } from "./arguments.ts";
import { launchAttention } from "./attention/layer.ts";
import { divideUp, type Forward } from "./forward.ts";
import { launchLinear } from "./linear/linear.ts";
import { type CudaActivation, type CudaMatrix, type CudaVector, ElementType } from "./memory.ts";
import { launchMoe } from "./moe/moe.ts";
import { launchSample } from "./sample/sample.ts";

/** One forward over the plan on the device. */
export class CudaOps implements Ops {
  readonly #forward: Forward;

  /** Launches nothing yet. */
  constructor(forward: Forward) {
    this.#forward = forward;
  }

  get draws(): boolean {
    return this.#forward.needs.kept === "restore";
  }

  embed(table: Matrix, output: Activation, scale = 1): void {
    const { context: { device, state }, shape, plan } = this.#forward;
    const { spec, type, buffer } = table as CudaMatrix, to = output as CudaActivation;
    device.launch(device.kernel("embed", "embed"), [shape.tokens, 1], 128, 0, [
      plan,
      buffer.address,
      ElementType[type],
      state.tokenPool.address,
      to.buffer.address,
      ElementType[to.type],
      spec.columns,
      spec.rows,
      state.spec.vocabStart,
      state.spec.contextLength,
      new Float(scale),
    ]);
  }

  norm({ input, norm, first, output, epilogue, whole }: NormArgs): void {
    const { context: { device }, shape, plan } = this.#forward;
    const from = input as CudaActivation, to = output as CudaActivation;
    const sums = whole?.sums as CudaActivation | undefined;
    device.launch(device.kernel("prepare", "norm_columns"), [shape.tokens, 1], 256, 0, [
      plan,
      ...place(from),
      (norm.weight as CudaVector).buffer.address,
      new Float(norm.epsilon),
      ...place(to),
      first,
      norm.weight.length,
      epilogue === "add" ? 1 : 0,
      sums === undefined ? 0n : sums.buffer.address + BigInt(4 * whole!.column),
      sums?.width ?? 0,
      whole?.count ?? 0,
    ]);
  }

  squares(input: Activation, first: number, count: number, output: Activation, column: number): void {
    const { context: { device }, shape, plan } = this.#forward;
    const from = input as CudaActivation, to = output as CudaActivation;
    const words = [plan, ...place(from), first, count, to.buffer.address, to.width, column];
    device.launch(device.kernel("prepare", "squares"), [shape.tokens, 1], 256, 0, words);
  }

  linear({ input, norm, weight, bias, output, epilogue, gate }: LinearArgs): void {
    launchLinear(this.#forward, {
      input: input as CudaActivation,
      norm: norm ?? null,
      weight: weight as CudaMatrix,
      bias: bias as CudaVector | undefined ?? null,
      output: output as CudaActivation,
      epilogue,
      gate,
      rows: this.#forward.shape.tokens,
    });
  }

  attention(args: AttentionArgs): void {
    launchAttention(this.#forward, args);
  }

  moe(args: MoeArgs): void {
    launchMoe(this.#forward, args);
  }

  /** Through the host, unless GPUs see each other's memory: waits for the device, and for the other ranks. */
  allReduce(partial: Activation, output: Activation, epilogue: "store" | "add"): void {
    const { context: { device, collective, peers }, shape: { tokens } } = this.#forward;
    if (collective === null) throw new Error("all-reduce without a group of ranks");
    const from = partial as CudaActivation, to = output as CudaActivation, count = tokens * from.width;
    if (peers !== null) return peers.sum(from.buffer.address, to.buffer.address, count, epilogue);
    const values = new Float32Array(device.read(from.buffer.address, 4 * count));
    collective.allReduce(values);
    device.write((epilogue === "store" ? to : from).buffer.address, values);
    if (epilogue === "store") return;
    device.launch(
      device.kernel("embed", "add_rows"),
      [Math.min(1024, divideUp(count, 256)), 1],
      256,
      0,
      [from.buffer.address, to.buffer.address, count],
    );
  }

  sample(args: SampleArgs): void {
    launchSample(this.#forward, args);
  }
}

/** Where an activation is, its type, and the numbers of a row. */
const place = ({ buffer, type, width }: CudaActivation) =>
  [buffer.address, ElementType[type], width] as const;

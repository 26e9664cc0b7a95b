// Gates by themselves: products have SiLU, another one takes a kernel behind them, as biases of experts do.

import { type Gate, silu } from "../../ops.ts";
import { Float } from "../arguments.ts";
import { divideUp, type Forward } from "../forward.ts";
import { type CudaActivation, ElementType } from "../memory.ts";

/** Whether a gate needs a kernel of its own. */
export const isOwnGate = (gate: Gate | undefined): gate is Gate =>
  gate !== undefined && Object.entries(silu).some(([name, value]) => gate[name as keyof Gate] !== value);

/** y = gate(x), of rows of float32 gate numbers, then up numbers. */
export function launchGate(
  forward: Forward,
  gate: Gate,
  x: bigint,
  output: Pick<CudaActivation, "type" | "buffer">,
  { rows, width, experts }: {
    readonly rows: number;
    readonly width: number;
    /** Rows of pairs: biases of all experts, the pairs' experts, and the pairs in the order of the rows. */
    readonly experts?: { readonly bias: bigint; readonly routes: bigint; readonly order: bigint };
  },
): void {
  const { device } = forward.context;
  device.launch(device.kernel("prepare", "gate"), [rows, divideUp(width, 256)], 256, 0, [
    x,
    output.buffer.address,
    ElementType[output.type],
    width,
    width,
    experts?.bias ?? 0n,
    experts?.routes ?? 0n,
    experts?.order ?? 0n,
    ...[gate.alpha, gate.beta, gate.limit, gate.plus].map((value) => new Float(value)),
  ]);
}

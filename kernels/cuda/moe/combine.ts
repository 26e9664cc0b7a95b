// The end of a layer of experts: the sum of what the chosen ones give, weighted by the router.

import type { MoeArgs, Vector } from "../../ops.ts";
import { divideUp, type Forward } from "../forward.ts";
import { Epilogue } from "../linear/product.ts";
import type { CudaActivation, CudaVector } from "../memory.ts";

/** Where a vector stands; 0n where there is none. */
export const addressOf = (vector: Vector | null | undefined) =>
  (vector as CudaVector | null | undefined)?.buffer.address ?? 0n;

/** The weighted sum of the experts' results. */
export function launchCombine(forward: Forward, args: MoeArgs, routes: bigint, results: bigint): void {
  const { context: { device }, shape: { tokens }, plan } = forward;
  const { columns } = args.router.spec, { buffer } = args.output as CudaActivation;
  device.launch(device.kernel("moe", "combine"), [divideUp(columns, 256), tokens], 256, 0, [
    plan,
    routes,
    results,
    addressOf(args.downBias),
    buffer.address,
    columns,
    args.expertsPerToken,
    Epilogue[args.epilogue],
  ]);
}

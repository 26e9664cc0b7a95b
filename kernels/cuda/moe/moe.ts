// A mixture of experts: router, choice, the chosen experts' products, and their weighted sum. Small experts go pair by
// pair in float32; large ones in tiles of up to sixteen tokens that share an expert, so that its weights are read once
// for all of them.

import type { MoeArgs } from "../../ops.ts";
import { Float } from "../arguments.ts";
import { divideUp, type Forward, scratch } from "../forward.ts";
import {
  Epilogue,
  inputType,
  launchLinear,
  launchSkinny,
  prepare,
  usesMatrixUnits,
} from "../linear/linear.ts";
import { type CudaActivation, type CudaMatrix, type CudaVector, ElementType } from "../memory.ts";

/** Rows of a tile: those of an mma. */
const tileRows = 16;

/** output = or += the chosen experts' results, weighted by the router. */
export function launchMoe(forward: Forward, args: MoeArgs): void {
  const { context: { device, scratch: buffers, halfFrom }, shape: { tokens }, plan } = forward;
  const [input, output] = [args.input as CudaActivation, args.output as CudaActivation];
  const [router, gateUp, down] = [args.router, args.gateUp, args.down].map((m) => m as CudaMatrix) as [
    CudaMatrix,
    CudaMatrix,
    CudaMatrix,
  ];
  const { rows: experts, columns } = router.spec;
  const k = args.expertsPerToken, pairs = tokens * k, inner = down.spec.columns;
  const logits = buffers.get("routing", 4 * tokens * experts);
  launchLinear(forward, {
    input,
    norm: args.norm,
    weight: router,
    bias: null,
    output: { type: "f32", buffer: logits },
    epilogue: "store",
    rows: tokens,
    exact: true,
  });
  const routes = scratch(forward, "routes", 8 * pairs);
  device.launch(device.kernel("moe", "route"), [tokens, 1], 32, 0, [
    plan,
    logits.address,
    routes,
    experts,
    k,
    args.renormalize ? 1 : 0,
  ]);
  const results = buffers.get("expertResults", 4 * pairs * columns);
  if (usesMatrixUnits(gateUp, halfFrom) && usesMatrixUnits(down, halfFrom)) {
    const type = inputType(gateUp);
    const most = Math.min(pairs, experts + Math.floor(pairs / tileRows));
    const order = scratch(forward, "expertOrder", 4 * pairs);
    const tiles = scratch(forward, "expertTiles", 4 * (1 + 3 * most));
    device.launch(device.kernel("moe", "expert_tiles"), [1, 1], 1024, 0, [
      routes,
      order,
      tiles,
      pairs,
      experts,
      tileRows,
    ]);
    const x = prepare(forward, input, args.norm, type, tokens, columns, "prepared");
    const gated = buffers.get("expertGated", 2 * pairs * inner);
    const grouped = (perToken: number) => ({ tiles, order, most, perToken });
    launchSkinny(
      forward,
      {
        weight: gateUp,
        bias: null,
        output: { type, buffer: gated },
        epilogue: "silu-mul",
        rows: tileRows,
      },
      x,
      null,
      grouped(k),
    );
    launchSkinny(
      forward,
      {
        weight: down,
        bias: null,
        output: { type: "f32", buffer: results },
        epilogue: "store",
        rows: tileRows,
      },
      gated.address,
      null,
      grouped(1),
    );
  } else {
    const x = input.type === "f32"
      ? input.buffer.address
      : prepare(forward, input, null, "f32", tokens, columns, "wide");
    const gated = buffers.get("expertGated", 4 * pairs * inner);
    const pairwise = (
      { spec, buffer }: CudaMatrix,
      from: bigint,
      norm: bigint,
      to: bigint,
      features: number,
      epilogue: number,
      perToken: number,
    ) =>
      device.launch(device.kernel(`plain_${spec.dtype}`, "plain"), [divideUp(features, 8), pairs], 256, 0, [
        from,
        norm,
        new Float(args.norm.epsilon),
        buffer.address,
        0n,
        to,
        ElementType.f32,
        1,
        features,
        spec.columns,
        features,
        epilogue,
        routes,
        perToken,
      ]);
    const norm = (args.norm.weight as CudaVector).buffer.address;
    pairwise(gateUp, x, norm, gated.address, inner, Epilogue["silu-mul"], k);
    pairwise(down, gated.address, 0n, results.address, columns, Epilogue.store, 1);
  }
  device.launch(device.kernel("moe", "combine"), [divideUp(columns, 256), tokens], 256, 0, [
    plan,
    routes,
    results.address,
    output.buffer.address,
    columns,
    k,
    Epilogue[args.epilogue],
  ]);
}

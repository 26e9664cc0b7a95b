// A mixture of experts: router, choice, the chosen experts' products, and their weighted sum. Few tokens take the four
// kernels of few.ts. Else small experts go pair by pair in float32; large ones in tiles of up to sixteen tokens that share
// an expert, so that its weights are read once for all of them, or in the tiles of prompts.

import { type MoeArgs, silu } from "../../ops.ts";
import { Float } from "../arguments.ts";
import type { DeviceBuffer } from "../device.ts";
import { divideUp, type Forward, scratch } from "../forward.ts";
import { launchProduct, planProduct } from "../gemm/product.ts";
import { isOwnGate, launchGate } from "../linear/gate.ts";
import { hasFewRows, launchLinear, launchSkinny, prepare } from "../linear/linear.ts";
import { Epilogue, inputType, usesMatrixUnits } from "../linear/product.ts";
import { type CudaActivation, type CudaMatrix, type CudaVector, ElementType } from "../memory.ts";
import { addressOf, launchCombine } from "./combine.ts";
import { launchFewTokens, tiledPairs } from "./few.ts";

/** Rows of a tile: those of an mma. */
const tileRows = 16;

/** output = or += the chosen experts' results, weighted by the router. */
export function launchMoe(forward: Forward, args: MoeArgs): void {
  const { context: { device, scratch: buffers, halfFrom }, shape: { tokens }, plan } = forward;
  const input = args.input as CudaActivation;
  const [router, gateUp, down] = [args.router, args.gateUp, args.down].map((m) => m as CudaMatrix) as [
    CudaMatrix,
    CudaMatrix,
    CudaMatrix,
  ];
  const { rows: experts, columns } = router.spec;
  const k = args.expertsPerToken, pairs = tokens * k, inner = down.spec.columns;
  if (launchFewTokens(forward, args)) return;
  const logits = buffers.get("routing", 4 * tokens * experts);
  launchLinear(forward, {
    input,
    norm: args.norm,
    weight: router,
    bias: (args.routerBias ?? null) as CudaVector | null,
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
  const combine = () => launchCombine(forward, args, routes, results.address);
  if ([gateUp, down].every((weight) => usesMatrixUnits(weight, halfFrom) && hasFewRows(weight))) {
    if (pairs > tiledPairs * experts) {
      launchManyPairs(forward, args, routes, results.address, experts);
      return combine();
    }
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
    const ungated = separateGate(forward, args, pairs);
    const grouped = (perToken: number) => ({ tiles, order, most, perToken });
    launchSkinny(
      forward,
      {
        weight: gateUp,
        bias: null,
        output: ungated === null ? { type, buffer: gated } : { type: "f32", buffer: ungated },
        epilogue: ungated === null ? "gate-mul" : "store",
        rows: tileRows,
      },
      x,
      null,
      grouped(k),
    );
    if (ungated !== null) gateRows(forward, args, ungated, { type, buffer: gated }, routes, 0n);
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
      { spec, type, buffer }: CudaMatrix,
      from: bigint,
      norm: bigint,
      to: bigint,
      features: number,
      epilogue: number,
      perToken: number,
    ) =>
      device.launch(device.kernel(`plain_${type}`, "plain"), [divideUp(features, 8), pairs], 256, 0, [
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
    const ungated = separateGate(forward, args, pairs);
    if (ungated === null) {
      pairwise(gateUp, x, norm, gated.address, inner, Epilogue["gate-mul"], k);
    } else {
      pairwise(gateUp, x, norm, ungated.address, 2 * inner, Epilogue.store, k);
      gateRows(forward, args, ungated, { type: "f32", buffer: gated }, routes, 0n);
    }
    pairwise(down, gated.address, 0n, results.address, columns, Epilogue.store, 1);
  }
  combine();
}

/** Where gate and up numbers go if products cannot gate them: with biases, or another gate than SiLU. */
function separateGate(forward: Forward, args: MoeArgs, pairs: number): DeviceBuffer | null {
  if (args.gateUpBias == null && !isOwnGate(args.gate)) return null;
  return forward.context.scratch.get("ungated", 4 * pairs * args.gateUp.spec.rows);
}

/** Gates the rows of all pairs, which stand in `order`, or as they are numbered. */
function gateRows(
  forward: Forward,
  { gate = silu, gateUp, gateUpBias, expertsPerToken }: MoeArgs,
  from: DeviceBuffer,
  to: Pick<CudaActivation, "type" | "buffer">,
  routes: bigint,
  order: bigint,
): void {
  const rows = forward.shape.tokens * expertsPerToken, width = gateUp.spec.rows / 2;
  launchGate(forward, gate, from.address, to, {
    rows,
    width,
    experts: { bias: addressOf(gateUpBias), routes, order },
  });
}

/** Products in the tiles of prompts: results of the first in the order of the experts, of the second by pair. */
function launchManyPairs(
  forward: Forward,
  args: MoeArgs,
  routes: bigint,
  results: bigint,
  experts: number,
): void {
  const { context: { device, scratch: buffers }, shape: { tokens } } = forward;
  const [gateUp, down] = [args.gateUp as CudaMatrix, args.down as CudaMatrix];
  const k = args.expertsPerToken, pairs = tokens * k, inner = down.spec.columns, { columns } = gateUp.spec;
  const { capability, multiprocessors } = device.properties, gpu = { capability, multiprocessors };
  const element = inputType(gateUp), ungated = separateGate(forward, args, pairs);
  const plans = [
    planProduct({
      tokens: pairs,
      rows: gateUp.spec.rows,
      columns,
      dtype: gateUp.spec.dtype,
      element,
      mode: ungated === null ? "silu-mul" : "store-f32",
      experts: { count: experts, gather: true },
    }, gpu),
    planProduct({
      tokens: pairs,
      rows: down.spec.rows,
      columns: inner,
      dtype: down.spec.dtype,
      element,
      mode: "store-f32",
      experts: { count: experts, gather: false },
    }, gpu),
  ] as const;
  const order = scratch(forward, "expertOrder", 4 * pairs);
  // Both lists fit the order that the second leaves: experts begin at the same places in both.
  const [first, second] = (["expertTiles", "otherTiles"] as const).map((role, i) => {
    const list = scratch(forward, role, 4 * (1 + 3 * plans[i]!.tilesTokens));
    const sizes = [pairs, experts, plans[i]!.tileTokens];
    device.launch(device.kernel("moe", "expert_tiles"), [1, 1], 1024, 0, [routes, order, list, ...sizes]);
    return list;
  }) as [bigint, bigint];
  const x = prepare(forward, args.input as CudaActivation, args.norm, element, tokens, columns, "prepared");
  const gated = buffers.get("expertGated", 2 * pairs * inner);
  const rest = { bias: null, rowScale: null, partials: 0n, counters: 0n };
  device.start(launchProduct(plans[0], gpu, {
    ...rest,
    weight: gateUp.buffer.address,
    input: x,
    output: (ungated ?? gated).address,
    outputStride: ungated === null ? inner : 2 * inner,
    experts: { tiles: first, order, perToken: k, scatter: false, inputRows: tokens },
  }));
  if (ungated !== null) gateRows(forward, args, ungated, { type: element, buffer: gated }, routes, order);
  device.start(launchProduct(plans[1], gpu, {
    ...rest,
    weight: down.buffer.address,
    input: gated.address,
    output: results,
    outputStride: down.spec.rows,
    experts: { tiles: second, order, perToken: 0, scatter: true, inputRows: pairs },
  }));
}

// A layer of experts for few tokens in four kernels: the router with its choice and the list of tiles, both products by
// blocks that stay, the sum.

import type { MoeArgs } from "../../ops.ts";
import { Float } from "../arguments.ts";
import { divideUp, type Forward, scratch } from "../forward.ts";
import { inputType, type StayingPlan, usesMatrixUnits } from "../linear/product.ts";
import { launchRows, mostRows, planRows, rowsType } from "../linear/rows.ts";
import { type CudaActivation, type CudaMatrix, ElementType, paddedRows } from "../memory.ts";
import { addressOf, launchCombine } from "./combine.ts";

/** From so many pairs an expert on they go through the tiles of prompts. */
export const tiledPairs = 8;

/** Most experts whose numbers a block of the router has room for. */
const mostRoutedExperts = 1024;

/** Launches a layer, where the kernels suit it; whether it did. */
export function launchFewTokens(forward: Forward, args: MoeArgs): boolean {
  const { context: { device, scratch: buffers, halfFrom }, shape: { tokens }, plan } = forward;
  const [input, router, gateUp, down] = [
    args.input as CudaActivation,
    args.router as CudaMatrix,
    args.gateUp as CudaMatrix,
    args.down as CudaMatrix,
  ];
  const { rows: experts, columns } = router.spec, k = args.expertsPerToken, pairs = tokens * k;
  const inner = down.spec.columns,
    type = inputType(gateUp),
    { sharedBytes, multiprocessors } = device.properties;
  const suits = input.type === "f32" && ["f32", "bf16", "f16"].includes(router.type) &&
    experts <= mostRoutedExperts && pairs <= tiledPairs * experts && inputType(down) === type &&
    [gateUp, down].every((weight) => usesMatrixUnits(weight, halfFrom));
  if (!suits) return false;
  const held = Math.min(mostRows, tokens), tiles = Math.min(pairs, experts + Math.floor(pairs / mostRows));
  const planOf = (weight: CudaMatrix, paired: boolean): StayingPlan | null => {
    const { spec } = weight, dtype = rowsType(weight), features = paired ? spec.rows / 2 : spec.rows;
    if (dtype === undefined) return null;
    const shape = { dtype, tokens: held, features, columns: spec.columns, paired, norm: false, tiles };
    return planRows(shape, multiprocessors, sharedBytes);
  };
  const [first, second] = [planOf(gateUp, true), planOf(down, false)];
  if (first === null || second === null) return false;

  const routes = scratch(forward, "routes", 8 * pairs), order = scratch(forward, "expertOrder", 4 * pairs);
  const list = scratch(forward, "expertTiles", 4 * (1 + 3 * tiles));
  const prepared = scratch(forward, "prepared", 2 * paddedRows(tokens) * columns);
  const each = tokens === 1 ? 1 : 8, groups = divideUp(tokens, each);
  device.launch(
    device.kernel("moe", `choose_${each}`),
    [divideUp(experts, 4), groups],
    256,
    each === 1 ? 0 : 4 * (2 * experts + 64),
    [
      plan,
      input.buffer.address,
      addressOf(args.norm.weight),
      new Float(args.norm.epsilon),
      router.buffer.address,
      ElementType[router.type],
      addressOf(args.routerBias),
      scratch(forward, "routing", 4 * tokens * experts),
      prepared,
      ElementType[type],
      routes,
      order,
      list,
      scratch(forward, "routingCounters", 4 * (1 + groups)),
      tokens,
      experts,
      columns,
      k,
      args.renormalize ? 1 : 0,
      mostRows,
    ],
  );
  const gated = buffers.get("expertGated", 2 * pairs * inner),
    results = buffers.get("expertResults", 4 * pairs * columns);
  const product = { bias: null, rows: held, gate: args.gate } as const;
  launchRows(
    device,
    first,
    { ...product, weight: gateUp, output: { type, buffer: gated }, epilogue: "gate-mul" },
    prepared,
    null,
    { tiles: list, order, perToken: k, known: false, bias: addressOf(args.gateUpBias) },
  );
  // The kernel in front of this one has waited for the one that lists the tiles.
  launchRows(
    device,
    second,
    { ...product, weight: down, output: { type: "f32", buffer: results }, epilogue: "store" },
    gated.address,
    null,
    { tiles: list, order, perToken: 1, known: true, bias: 0n },
  );
  launchCombine(forward, args, routes, results.address);
  return true;
}

// Records a mixture-of-experts layer: route, sort (token, expert) pairs by expert, two grouped products, sum.
//
// Work follows the routing: an expert that no token chose is not touched. The kernels are in `assembly/moe.ts`;
// router, gate/up and down may lie in different banks, so everything between them is a `Region`.

import type { MoeArgs } from "../ops.ts";
import { type Bank, Region } from "./bank.ts";
import { type Forward, normArgs } from "./forward.ts";
import { type CpuMatrix, dtypeCode } from "./matrix.ts";
import { Epilogue, Kind } from "./program.ts";
import { type CpuActivation, maxChunk } from "./workspace.ts";

/** Sizes of a layer. */
export interface Shape {
  /** Number of experts. */
  readonly experts: number;
  /** Experts per token. */
  readonly choices: number;
  /** Width of the residual stream. */
  readonly hidden: number;
  /** Width of an expert. */
  readonly inner: number;
}

/** Intermediate results of one chunk of tokens. A slot is a pair's place in the order of the experts. */
export class LayerBuffers {
  /** [tokens, experts] */
  readonly logits: Region;
  /** Per pair: expert, weight, slot. */
  readonly chosen: Region;
  /** Weight of each pair's expert. */
  readonly weights: Region;
  /** Slot of each pair. */
  readonly slots: Region;
  /** Per slot: token. */
  readonly tokens: Region;
  /** Number of groups, then three words of each; and a word per expert. */
  readonly groups: Region;
  /** A word per expert. */
  readonly counts: Region;
  /** Inputs, packed for the kernels. */
  readonly packed: Region;
  /** [slots, inner], [slots, hidden] */
  readonly gated: Region;
  /** [slots, hidden] */
  readonly results: Region;

  /** For chunks of up to `tokens` tokens. */
  constructor(tokens: number, { experts, choices, hidden, inner }: Shape) {
    const pairs = tokens * choices;
    this.logits = new Region(tokens * experts * 4);
    this.chosen = new Region(pairs * 4);
    this.weights = new Region(pairs * 4);
    this.slots = new Region(pairs * 4);
    this.tokens = new Region(pairs * 4);
    this.groups = new Region(4 + experts * 12);
    this.counts = new Region(experts * 4);
    this.packed = new Region((pairs + experts) * Math.max(hidden, inner) * 4);
    this.gated = new Region(pairs * inner * 4);
    this.results = new Region(pairs * hidden * 4);
  }
}

/** Buffers of the shapes met so far: one, in a real model. */
export class ExpertBuffers {
  readonly #buffers = new Map<string, LayerBuffers>();

  /** For chunks of up to `tokens` tokens. */
  constructor(readonly tokens: number) {}

  /** The buffers of one shape. */
  of(shape: Shape): LayerBuffers {
    const key = Object.values(shape).join();
    let buffers = this.#buffers.get(key);
    if (buffers === undefined) this.#buffers.set(key, buffers = new LayerBuffers(this.tokens, shape));
    return buffers;
  }
}

/** Appends `Ops.moe` to a forward. */
export function recordExperts(forward: Forward, args: MoeArgs): void {
  for (let first = 0; first < forward.tokens.count; first += maxChunk) {
    recordChunk(forward, args, first, Math.min(maxChunk, forward.tokens.count - first));
  }
}

function recordChunk(forward: Forward, args: MoeArgs, first: number, count: number): void {
  const router = args.router as CpuMatrix, gateUp = args.gateUp as CpuMatrix, down = args.down as CpuMatrix;
  const input = args.input as CpuActivation, output = args.output as CpuActivation;
  const { expertsPerToken: choices, norm } = args;
  const experts = router.spec.rows, hidden = gateUp.spec.columns, inner = down.spec.columns;
  const buffers = forward.context.experts.of({ experts, choices, hidden, inner });
  const pairs = count * choices, all = forward.tokens.count;
  const inputIn = (bank: Bank) => input.read(bank, all * hidden * 4) + first * hidden * 4;

  forward.enter(router.bank);
  const logits = buffers.logits.write(router.bank);
  forward.product({
    input: inputIn(router.bank),
    inputStride: hidden * 4,
    tokens: count,
    rows: 0,
    norm,
    weight: router,
    bias: null,
    output: logits,
    outputStride: experts * 4,
    epilogue: "store",
  });
  const chosen = buffers.chosen.write(router.bank);
  forward.push(Kind.Route, [
    ...[logits, experts, count, choices, args.renormalize ? 1 : 0],
    ...[chosen, buffers.weights.write(router.bank)],
  ]);
  forward.push(Kind.GroupTokens, [
    ...[chosen, pairs, experts, choices, buffers.slots.write(router.bank)],
    ...[buffers.tokens.write(router.bank), buffers.groups.write(router.bank)],
    buffers.counts.write(router.bank),
  ]);

  const groupsIn = (bank: Bank) => buffers.groups.read(bank, buffers.groups.byteLength);
  forward.enter(gateUp.bank);
  forward.push(Kind.ExpertPack, [
    ...[inputIn(gateUp.bank), hidden * 4, buffers.tokens.read(gateUp.bank, pairs * 4)],
    ...[groupsIn(gateUp.bank), hidden, ...normArgs(norm, gateUp.bank), buffers.packed.write(gateUp.bank)],
    ...[0, dtypeCode[gateUp.spec.dtype]],
  ]);
  grouped(forward, buffers, pairs, gateUp, buffers.gated.write(gateUp.bank), "silu-mul");

  forward.enter(down.bank);
  forward.push(Kind.ExpertPack, [
    ...[buffers.gated.read(down.bank, pairs * inner * 4), inner * 4, 0],
    ...[groupsIn(down.bank), inner, 0, 0, buffers.packed.write(down.bank)],
    ...[0, dtypeCode[down.spec.dtype]],
  ]);
  const results = buffers.results.write(down.bank);
  grouped(forward, buffers, pairs, down, results, "store");
  const to = args.epilogue === "add" || first > 0
    ? output.read(down.bank, all * hidden * 4)
    : output.write(down.bank);
  forward.push(Kind.Combine, [
    ...[results, hidden, count, choices, buffers.slots.read(down.bank, pairs * 4)],
    ...[buffers.weights.read(down.bank, pairs * 4), to + first * hidden * 4, hidden * 4],
    args.epilogue === "add" ? 1 : 0,
  ]);
}

/** The product of every group of slots, packed, with its expert's matrix. */
function grouped(
  forward: Forward,
  buffers: LayerBuffers,
  pairs: number,
  { bank, spec, panels, address, expertBytes }: CpuMatrix,
  output: number,
  epilogue: "store" | "silu-mul",
): void {
  const workspace = forward.enter(bank);
  const groups = buffers.groups.read(bank, buffers.groups.byteLength);
  const packed = buffers.packed.write(bank);
  const results = epilogue === "silu-mul" ? spec.rows / 2 : spec.rows;
  forward.push(Kind.ExpertLinear, [
    ...[0, 0, 0, groups, spec.columns, 0, 0, packed, address, dtypeCode[spec.dtype], panels, results, 0],
    ...[output, results * 4, Epilogue[epilogue], workspace.scratch, workspace.scratchBytes, 0, expertBytes],
  ], pairs * spec.rows * spec.columns);
}

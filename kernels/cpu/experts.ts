// Records a mixture-of-experts layer: route, sort (token, expert) pairs by expert, two grouped products, sum.
//
// Work follows the routing: an expert that no token chose is not touched. The kernels are in `assembly/moe.ts`;
// router, gate/up and down may lie in different banks, so everything between them is a `Region`.

import type { LinearArgs, MoeArgs, Norm, Vector } from "../ops.ts";
import { type Bank, Region } from "./bank.ts";
import type { CpuMatrix, CpuVector } from "./matrix.ts";
import { productWords, type Recorder } from "./recorder.ts";
import { type CpuActivation, maxChunk } from "./workspace.ts";

/** Sizes of a layer: experts, experts per token, width of the residual stream and of an expert. */
type Shape = Readonly<Record<"experts" | "choices" | "hidden" | "inner", number>>;

/** Intermediate results of a chunk of tokens. A slot is a pair's place in the order of the experts. */
function layerBuffers(tokens: number, { experts, choices, hidden, inner }: Shape) {
  const pairs = tokens * choices;
  return {
    logits: new Region(tokens * experts * 4),
    // Per pair: expert, its weight, slot. Per slot: token.
    chosen: new Region(pairs * 4),
    weights: new Region(pairs * 4),
    slots: new Region(pairs * 4),
    slotTokens: new Region(pairs * 4),
    groups: new Region(4 + experts * 12),
    counts: new Region(experts * 4),
    packed: new Region((pairs + experts) * Math.max(hidden, inner) * 4),
    // Per slot: what comes between the products, and the second one's results.
    gated: new Region(pairs * inner * 4),
    results: new Region(pairs * hidden * 4),
  };
}

/** Buffers of the shapes met so far: one, in a real model. */
export class ExpertBuffers {
  readonly #buffers = new Map<string, ReturnType<typeof layerBuffers>>();

  /** For chunks of up to `tokens` tokens. */
  constructor(readonly tokens: number) {}

  /** The buffers of one shape. */
  of(shape: Shape): ReturnType<typeof layerBuffers> {
    const key = Object.values(shape).join();
    let buffers = this.#buffers.get(key);
    if (buffers === undefined) this.#buffers.set(key, buffers = layerBuffers(this.tokens, shape));
    return buffers;
  }
}

/** Appends `Ops.moe` to a forward. */
export function recordExperts(recorder: Recorder, buffers: ExpertBuffers, args: MoeArgs): void {
  for (let first = 0; first < recorder.tokens.count; first += maxChunk) {
    recordChunk(recorder, buffers, args, first, Math.min(maxChunk, recorder.tokens.count - first));
  }
}

function recordChunk(
  recorder: Recorder,
  all: ExpertBuffers,
  args: MoeArgs,
  first: number,
  tokens: number,
): void {
  const router = args.router as CpuMatrix, gateUp = args.gateUp as CpuMatrix, down = args.down as CpuMatrix;
  const input = args.input as CpuActivation, output = args.output as CpuActivation;
  const { expertsPerToken: choices, norm } = args;
  const experts = router.spec.rows, hidden = gateUp.spec.columns, inner = down.spec.columns;
  const buffers = all.of({ experts, choices, hidden, inner });
  const pairs = tokens * choices, bytes = recorder.tokens.count * hidden * 4;
  const inputIn = (bank: Bank) => input.read(bank, bytes) + first * hidden * 4;

  recorder.enter(router.bank);
  const logits = buffers.logits.write(router.bank);
  recorder.product({
    ...{
      input: inputIn(router.bank),
      inputStride: hidden * 4,
      tokens,
      rows: 0,
      norm,
      weight: router,
      bias: (args.routerBias ?? null) as CpuVector | null,
    },
    ...{ output: logits, outputStride: experts * 4, epilogue: "store" },
  });
  const { chosen, weights, slots, slotTokens, groups, counts } = buffers;
  const routing = {
    ...{ logits, experts, tokens, choices, renormalize: args.renormalize ? 1 : 0 },
    ...{
      chosen: chosen.write(router.bank),
      weights: weights.write(router.bank),
      slots: slots.write(router.bank),
    },
    ...{ slotTokens: slotTokens.write(router.bank), groups: groups.write(router.bank) },
    counts: counts.write(router.bank),
  };
  recorder.push("route", routing);
  recorder.push("groupTokens", routing);

  /** The product of every group of slots with its expert's matrix. */
  const grouped = (
    weight: CpuMatrix,
    inputIn: (bank: Bank) => number,
    rows: Region | null,
    norm: Norm | null,
    results: Region,
    epilogue: LinearArgs["epilogue"],
    bias: Vector | null | undefined,
  ) => {
    const { bank, spec } = weight, workspace = recorder.enter(bank);
    const words = productWords(weight, workspace, norm, epilogue, args.gate);
    const grouped = {
      ...{
        ...words,
        input: inputIn(bank),
        inputStride: spec.columns * 4,
        rows: rows?.read(bank, pairs * 4) ?? 0,
      },
      ...{
        tokens: pairs,
        packed: buffers.packed.write(bank),
        packRoom: 0,
        bias: (bias as CpuVector | null | undefined)?.biasOf(weight) ?? 0,
        output: results.write(bank),
      },
      ...{ outputStride: words.results * 4, claimPanels: 1, groups: groups.read(bank, groups.byteLength) },
      expertBytes: weight.expertBytes,
    };
    recorder.push("expertPack", grouped);
    recorder.push("expertLinear", grouped, pairs * spec.rows * spec.columns);
    return grouped.output;
  };
  grouped(gateUp, inputIn, buffers.slotTokens, norm, buffers.gated, "gate-mul", args.gateUpBias);
  const gated = (bank: Bank) => buffers.gated.read(bank, pairs * inner * 4);
  const results = grouped(down, gated, null, null, buffers.results, "store", args.downBias);
  const add = args.epilogue === "add";
  const to = add || first > 0 ? output.read(down.bank, bytes) : output.write(down.bank);
  recorder.push("combine", {
    ...{ results, width: hidden, tokens, choices, slots: slots.read(down.bank, pairs * 4), add: add ? 1 : 0 },
    ...{
      weights: weights.read(down.bank, pairs * 4),
      output: to + first * hidden * 4,
      outputStride: hidden * 4,
    },
  });
}

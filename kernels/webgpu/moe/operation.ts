// Mixture of experts: norm, router, choice, then matrix–vector products for few tokens or, for many, products
// grouped by expert.

import type { MoeArgs } from "../../ops.ts";
import { DeviceActivation, type Forward, look, recordOperation, sharedBuffer } from "../record/context.ts";
import { PlanWord } from "../shader/kernel.ts";
import { recordLinear } from "../linear/operation.ts";
import { combineExperts } from "./combine.ts";
import { groupedProduct, groupedTile } from "./grouped.ts";
import { expertDown, expertGateUp } from "./matvec.ts";
import { route } from "./route.ts";
import type { ExpertProduct } from "./shape.ts";
import { listTiles, mostTiles } from "./tiles.ts";
import { gatherNorm } from "../norm/gather_norm.ts";
import type { Prepared } from "../record/recorder.ts";
import type { DeviceMatrix, DeviceVector, MatrixPart } from "../state/weights.ts";

/** Up to so many tokens the experts' weights are read once per token. */
const matvecTokens = 8;

/** Most bytes of one intermediate result of the grouped products; longer batches go through in pieces. */
const mostPairBytes = 128 * 2 ** 20;

/** Records a layer of experts. */
export function recordMoe(forward: Forward, args: MoeArgs): void {
  const { context: { gpu: { caps } }, shape: { tokens } } = forward;
  const router = args.router as DeviceMatrix;
  const input = args.input as DeviceActivation;
  const output = args.output as DeviceActivation;
  const { columns, rows: experts } = router.spec;
  const normed = new DeviceActivation(columns, "f32", sharedBuffer(forward, "normed", 4 * tokens * columns));
  const logits = new DeviceActivation(experts, "f32", sharedBuffer(forward, "routing", 4 * tokens * experts));
  recordOperation(forward, `expert norm ${router.parts[0]!.buffer.id} ${input.buffer.id} ${tokens}`, () => [
    look(
      forward,
      gatherNorm(
        { rows: "all", columns, epsilon: args.norm.epsilon, input: input.element, output: "f32" },
        tokens,
        caps,
      ),
      { input: input.buffer, weight: (args.norm.weight as DeviceVector).buffer, output: normed.buffer },
    ),
  ]);
  recordLinear(forward, {
    input: normed,
    norm: null,
    weight: router,
    bias: null,
    output: logits,
    epilogue: "store",
    next: null,
    rows: tokens,
    countWord: PlanWord.Tokens,
  });
  const key = `experts ${router.parts[0]!.buffer.id} ${output.buffer.id} ${args.epilogue} ${tokens}`;
  recordOperation(forward, key, () => {
    const { expertsPerToken, renormalize } = args;
    const routes = sharedBuffer(forward, "routes", 8 * tokens * expertsPerToken);
    const choose = look(forward, route({ experts, expertsPerToken, renormalize }, tokens, caps), {
      logits: logits.buffer,
      routes,
    });
    const layer = { args, normed, output, routes, experts };
    return [choose, ...(tokens <= matvecTokens ? fewTokens(forward, layer) : manyTokens(forward, layer))];
  });
}

interface Layer {
  readonly args: MoeArgs;
  readonly normed: DeviceActivation;
  readonly output: DeviceActivation;
  readonly routes: DeviceActivation["buffer"];
  readonly experts: number;
}

/** The products of a part of a layer's experts. */
function products({ args, output }: Layer) {
  const gateUp = args.gateUp as DeviceMatrix;
  const down = args.down as DeviceMatrix;
  const { expertsPerToken } = args;
  const inner = down.spec.columns;
  const of = (kind: ExpertProduct["kind"], matrix: DeviceMatrix, width: number) => (part: MatrixPart) => ({
    kind,
    width,
    columns: matrix.spec.columns,
    dtype: matrix.spec.dtype,
    expertsPerToken,
    firstExpert: part.first,
    experts: part.count,
    output: kind === "down" ? output.element : "f32" as const,
  });
  return {
    gateUp,
    down,
    inner,
    gateUpOf: of("gate-up", gateUp, inner),
    downOf: of("down", down, down.spec.rows),
  };
}

function fewTokens(forward: Forward, layer: Layer): Prepared[] {
  const { context: { gpu: { caps } }, shape: { tokens } } = forward;
  const { args, normed, output, routes } = layer;
  const { gateUp, down, inner, gateUpOf, downOf } = products(layer);
  const gated = sharedBuffer(forward, "expertGated", 4 * tokens * args.expertsPerToken * inner);
  const first = gateUp.parts.map((part) =>
    look(forward, expertGateUp(gateUpOf(part), tokens, caps), {
      activations: normed.buffer,
      weights: part.buffer,
      routes,
      result: gated,
    })
  );
  const second = down.parts.map((part, i) =>
    look(forward, expertDown(downOf(part), i === 0 ? args.epilogue : "add", tokens, caps), {
      activations: gated,
      weights: part.buffer,
      routes,
      result: output.buffer,
    })
  );
  return [...first, ...second];
}

function manyTokens(forward: Forward, layer: Layer): Prepared[] {
  const { context: { gpu: { caps } }, shape: { tokens } } = forward;
  const { args, normed, output, routes, experts } = layer;
  const { gateUp, down, inner, gateUpOf, downOf } = products(layer);
  const { expertsPerToken, epilogue } = args;
  const width = down.spec.rows;
  const tile = groupedTile(tokens * expertsPerToken, experts, caps);
  const mostBytes = Math.min(mostPairBytes, caps.maxBindingBytes);
  const piece = Math.max(1, Math.floor(mostBytes / (4 * expertsPerToken * Math.max(width, inner))));
  const prepared: Prepared[] = [];
  for (let firstToken = 0; firstToken < tokens; firstToken += piece) {
    const count = Math.min(piece, tokens - firstToken);
    const pairs = count * expertsPerToken;
    const firstPair = firstToken * expertsPerToken;
    const shape = { experts, expertsPerToken, tilePairs: tile.pairs, firstToken, mostTokens: piece };
    const most = mostTiles(shape, count);
    const order = sharedBuffer(forward, "expertOrder", 4 * pairs);
    const tiles = sharedBuffer(forward, "expertTiles", 4 * (1 + 3 * most));
    const gated = sharedBuffer(forward, "expertGated", 4 * pairs * inner);
    const results = sharedBuffer(forward, "expertResults", 4 * pairs * width);
    prepared.push(look(forward, listTiles(shape, PlanWord.Tokens, caps), { routes, order, tiles }));
    for (const part of gateUp.parts) {
      const buffers = { activations: normed.buffer, weights: part.buffer, order, tiles, result: gated };
      prepared.push(look(forward, groupedProduct(gateUpOf(part), tile, firstPair, most), buffers));
    }
    for (const part of down.parts) {
      const buffers = { activations: gated, weights: part.buffer, order, tiles, result: results };
      prepared.push(look(forward, groupedProduct(downOf(part), tile, firstPair, most), buffers));
    }
    const combine = { width, expertsPerToken, epilogue, firstToken, output: output.element };
    prepared.push(
      look(forward, combineExperts(combine, count), {
        expertResults: results,
        routes,
        output: output.buffer,
      }),
    );
  }
  return prepared;
}

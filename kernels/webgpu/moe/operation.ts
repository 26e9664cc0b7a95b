// Mixture of experts: norm, router, choice, then the experts' two products (gate/up and down). For few tokens these are
// matrix–vector products that look up the expert of each pair; a pair is one of a token's chosen experts. For many
// tokens the pairs are sorted by expert, tiled products go through the list of tiles, and another kernel adds up.

import type { MoeArgs, Vector } from "../../ops.ts";
import { expertTile, matvecTile } from "../linear/divide.ts";
import { gemmCall } from "../linear/gemm.ts";
import type { LinearShape } from "../linear/linear.ts";
import { matvecCall } from "../linear/matvec.ts";
import { plainShape, recordLinear, recordNorm } from "../linear/operation.ts";
import { mostMatvecTokens } from "../linear/plan.ts";
import { Word } from "../plan/words.ts";
import { DeviceActivation, dispatch, type Forward, sharedBuffer } from "../record/context.ts";
import type { DeviceMatrix, DeviceVector, MatrixPart } from "../state/weights.ts";
import { combineExperts } from "./combine.ts";
import { route } from "./route.ts";
import { listTiles, mostTiles } from "./tiles.ts";

/** Most bytes of one intermediate result of the tiled products; longer batches go through in pieces. */
const mostPairBytes = 128 * 2 ** 20;

/** Records a layer of experts. */
export function recordMoe(forward: Forward, args: MoeArgs): void {
  const { context: { gpu: { caps } }, shape: { tokens } } = forward;
  const { expertsPerToken, renormalize } = args;
  const router = args.router as DeviceMatrix;
  const input = args.input as DeviceActivation;
  const { columns, rows: experts } = router.spec;
  const normed = new DeviceActivation(columns, "f32", sharedBuffer(forward, "normed", 4 * tokens * columns));
  const logits = new DeviceActivation(experts, "f32", sharedBuffer(forward, "routing", 4 * tokens * experts));
  const rows = { rows: tokens, countWord: Word.Tokens };
  recordNorm(forward, input, args.norm, normed, { ...rows, gather: false });
  recordLinear(forward, {
    input: normed,
    weight: router,
    bias: (args.routerBias ?? undefined) as DeviceVector | undefined,
    output: logits,
    epilogue: "store",
    ...rows,
  });
  const routes = sharedBuffer(forward, "routes", 8 * tokens * expertsPerToken);
  const choice = route({ experts, expertsPerToken, renormalize }, tokens, caps);
  dispatch(forward, choice, { logits: logits.buffer, routes });
  const layer = { args, normed, routes, experts };
  if (tokens <= mostMatvecTokens) fewTokens(forward, layer);
  else manyTokens(forward, layer);
}

interface Layer {
  readonly args: MoeArgs;
  readonly normed: DeviceActivation;
  readonly routes: DeviceActivation["buffer"];
  readonly experts: number;
}

/** The product of a part of the experts: gate/up of a token, or down of a pair. */
function expertShape(
  { expertsPerToken: perToken, gate, gateUpBias, downBias }: MoeArgs,
  weight: DeviceMatrix,
  part: MatrixPart,
  input: "token" | "pair",
  firstPair = 0,
): LinearShape {
  const { rows } = weight.spec, isGateUp = input === "token";
  return {
    ...plainShape(weight, part),
    rows,
    epilogue: isGateUp ? "gate-mul" : "store",
    gate,
    bias: (isGateUp ? gateUpBias : downBias) != null,
    outputStride: isGateUp ? rows / 2 : rows,
    outputOffset: 0,
    experts: { input, perToken, first: part.first, count: part.count, firstPair },
  };
}

/** Biases of all experts. */
function expertBiases({ gateUpBias, downBias }: MoeArgs) {
  const bufferOf = (bias: Vector | null | undefined) => (bias as DeviceVector | null)?.buffer ?? null;
  return { gateUp: bufferOf(gateUpBias), down: bufferOf(downBias) };
}

function fewTokens(forward: Forward, { args, normed, routes }: Layer): void {
  const { context: { gpu: { caps } }, shape: { tokens } } = forward;
  const biases = expertBiases(args);
  const gateUp = args.gateUp as DeviceMatrix, down = args.down as DeviceMatrix;
  const output = args.output as DeviceActivation;
  const gated = sharedBuffer(forward, "expertGated", 4 * tokens * args.expertsPerToken * down.spec.columns);
  const product = (shape: LinearShape) => matvecCall(shape, matvecTile(shape, 1, caps), tokens);
  for (const part of gateUp.parts) {
    const buffers = { input: normed.buffer, weight: part.buffer, bias: biases.gateUp, routes, output: gated };
    dispatch(forward, product(expertShape(args, gateUp, part, "token")), buffers);
  }
  down.parts.forEach((part, i) => {
    const buffers = {
      input: gated,
      weight: part.buffer,
      bias: biases.down,
      routes,
      output: output.buffer,
    };
    const epilogue = i === 0 ? args.epilogue : "add";
    const shape = { ...expertShape(args, down, part, "pair"), epilogue, output: output.element };
    dispatch(forward, product(shape), buffers);
  });
}

function manyTokens(forward: Forward, { args, normed, routes, experts }: Layer): void {
  const { context: { gpu: { caps } }, shape: { tokens } } = forward;
  const gateUp = args.gateUp as DeviceMatrix, down = args.down as DeviceMatrix;
  const output = args.output as DeviceActivation;
  const { expertsPerToken, epilogue } = args, biases = expertBiases(args);
  const { rows: width, columns: inner } = down.spec;
  const tile = expertTile(tokens * expertsPerToken / experts, caps);
  const mostBytes = Math.min(mostPairBytes, caps.maxBindingBytes);
  const piece = Math.max(1, Math.floor(mostBytes / (4 * expertsPerToken * Math.max(width, inner))));
  for (let firstToken = 0; firstToken < tokens; firstToken += piece) {
    const count = Math.min(piece, tokens - firstToken);
    const pairs = count * expertsPerToken;
    const firstPair = firstToken * expertsPerToken;
    const shape = { experts, expertsPerToken, tilePairs: tile.tileTokens, firstToken, mostTokens: piece };
    const most = mostTiles(shape, count);
    const order = sharedBuffer(forward, "expertOrder", 4 * pairs);
    const tiles = sharedBuffer(forward, "expertTiles", 4 * (1 + 3 * most));
    const gated = sharedBuffer(forward, "expertGated", 4 * pairs * inner);
    const results = sharedBuffer(forward, "expertResults", 4 * pairs * width);
    const product = (matrix: DeviceMatrix, input: "token" | "pair", from: typeof gated, to: typeof gated) => {
      const bias = matrix === gateUp ? biases.gateUp : biases.down;
      for (const part of matrix.parts) {
        const shape = expertShape(args, matrix, part, input, firstPair);
        const call = gemmCall(shape, most, tile, { role: "input", type: "f32", scaled: false });
        dispatch(forward, call, { input: from, weight: part.buffer, bias, order, tiles, output: to });
      }
    };
    dispatch(forward, listTiles(shape, Word.Tokens, caps), { routes, order, tiles });
    product(gateUp, "token", normed.buffer, gated);
    product(down, "pair", gated, results);
    const combine = { width, expertsPerToken, epilogue, firstToken, output: output.element };
    dispatch(forward, combineExperts(combine, count), {
      expertResults: results,
      routes,
      output: output.buffer,
    });
  }
}

// Attention of a layer. Where every sequence computes one token, one kernel does it all. Otherwise later tokens of a
// sequence see earlier ones, so norm, rotation and store come first, for all; then prompts go over the pages in tiles, other
// queries one by one. Splits of long contexts are merged at the end.

import type { AttentionArgs, HeadLayout, Norm, Vector } from "../../ops.ts";
import type { AttentionCut } from "../../webgpu/plan/pack.ts";
import { Float } from "../arguments.ts";
import { divideUp, type Forward, scratch } from "../forward.ts";
import {
  type CudaActivation,
  type CudaRope,
  type CudaState,
  type CudaVector,
  elementBytes,
  ElementType,
} from "../memory.ts";
import {
  decodeCounters,
  decodePartialBytes,
  decodeSplits,
  type FreshHeads,
  hasDecode,
  launchDecode,
  launchPrefill,
  mostDecodeSplits,
  takesFresh,
} from "./attention.ts";

/** Most splits of a sequence's keys. */
const mostSplits = 64;
/** A split has at least so many keys: below, the merge costs more than it saves. */
const leastKeys = 128;
/** Splits are multiples of this many keys. */
const granularity = 32;
/** Widest head: its eighths are spread over a warp. */
export const widestHead = 256;

/**
 * Query heads of a key/value head that one block handles: one where the GPU has room for all heads of all queries, though
 * each then reads the keys.
 */
function headBlock(
  { numHeads, numKvHeads }: HeadLayout,
  queries: number,
  multiprocessors: number,
): 1 | 2 | 4 {
  if (numHeads * queries <= multiprocessors) return 1;
  const group = numHeads / numKvHeads;
  return group >= 3 ? 4 : group === 2 ? 2 : 1;
}

/** Blocks for a query and split. */
const headBlocks = (heads: HeadLayout, block: number) =>
  heads.numKvHeads * divideUp(heads.numHeads / heads.numKvHeads, block);

/** Heads of a block of the decode kernel on the matrix units; also the mark of a cut that is made for it. */
const tensorBlock = 8;

/**
 * From so many keys on decode steps that fill the GPU go through it, where query heads share keys in fours or more and where
 * they do not: the norm and the rotation then take a kernel of their own.
 */
const tensorKeysOfGroups = 128, tensorKeys = 384;

/**
 * Most keys of one of its splits, so that sequences of different lengths keep all multiprocessors busy to the end; of
 * int8, in half of the time, twice as many.
 */
const tensorSplitKeys = { f16: 512, int8: 1024 };

/**
 * How the keys of queries that see so many are divided over blocks. `tensor`: decode steps may go over the keys on the
 * matrix units; "always" is for tests. `element` is the keys' type.
 */
export function cutKeys(
  lengths: readonly number[],
  decodeOnly: boolean,
  heads: HeadLayout,
  multiprocessors: number,
  tensor: "never" | "long" | "always",
  element: "f16" | "int8",
): AttentionCut {
  let longest = 1, keys = 0;
  for (const length of lengths) longest = Math.max(longest, length), keys += length;
  const many = lengths.length * heads.numKvHeads >= multiprocessors;
  const least = heads.numHeads >= 4 * heads.numKvHeads ? tensorKeysOfGroups : tensorKeys;
  if (decodeOnly && (tensor === "always" || tensor === "long" && many && longest >= least)) {
    const wanted = decodeSplits(heads, lengths.length, longest, multiprocessors);
    const power = Math.max(
      Math.floor(Math.log2(wanted)),
      Math.ceil(Math.log2(longest / tensorSplitKeys[element])),
    );
    const splits = Math.min(2 ** power, mostDecodeSplits);
    const splitKeys = divideUp(divideUp(longest, splits), granularity) * granularity;
    return { splitKeys, splits, threads: 128, headBlock: tensorBlock, batch: 4 };
  }
  const block = headBlock(heads, lengths.length, multiprocessors);
  // Blocks behind the end of a short sequence leave at once: what counts is how many there would be of the longest.
  const blocks = Math.max(1, keys / longest * headBlocks(heads, block));
  const wanted = Math.min(
    mostSplits,
    Math.floor(4 * multiprocessors / blocks),
    Math.floor(longest / leastKeys),
  );
  // Powers of two, so that a growing context has few shapes.
  const splits = wanted < 2 ? 1 : 2 ** Math.floor(Math.log2(wanted));
  const splitKeys = divideUp(divideUp(longest, splits), granularity) * granularity;
  return { splitKeys, splits, threads: 128, headBlock: block, batch: 4 };
}

/** Norms and rotation of q and k for all tokens, and the store of k and v; where q is then, in `type`. */
function launchRope(forward: Forward, args: AttentionArgs, type: "f32" | "f16"): bigint {
  const { context: { device, state }, shape, plan } = forward;
  const { heads: { numHeads, numKvHeads, headDim }, layer } = args;
  const qkv = args.qkv as CudaActivation, rope = args.rope as CudaRope;
  const query = scratch(forward, "query", elementBytes(type) * shape.tokens * numHeads * headDim);
  const kernel = state.int8 ? device.kernel("rope_int8", "rope_store") : device.kernel("rope", "rope_store");
  device.launch(kernel, [numHeads + 2 * numKvHeads, shape.tokens], 32, 0, [
    plan,
    qkv.buffer.address,
    ElementType[qkv.type],
    rope.cosine.address,
    rope.sine.address,
    ...normsOf(args),
    state.pageTable.address,
    state.keys[layer]!.address,
    state.values[layer]!.address,
    query,
    ElementType[type],
    numHeads,
    numKvHeads,
    headDim,
    state.pageShift,
    state.pagesPerRow,
    ...scalesOf(state, layer),
  ]);
  return query;
}

/** Where the scales of a layer's keys and values are, for kernels of a cache of eight bits. */
const scalesOf = ({ scales }: CudaState, layer: number) =>
  scales.slice(layer, layer + 1).map(({ address }) => address);

const sinksOf = (sinks: Vector | undefined) => (sinks as CudaVector | undefined)?.buffer.address ?? 0n;

const weightOf = (norm: Norm | undefined) => norm ? (norm.weight as CudaVector).buffer.address : 0n;

/** Weights and epsilons of the norms of q and k. */
const normsOf = ({ qNorm, kNorm }: AttentionArgs) => [
  weightOf(qNorm),
  weightOf(kNorm),
  new Float(qNorm?.epsilon ?? 0),
  new Float(kNorm?.epsilon ?? 0),
];

/** What keys and values are to the kernels on the matrix units. */
export const elementOf = ({ int8 }: Pick<CudaState, "int8">): "int8" | "f16" => int8 ? "int8" : "f16";

/** What the kernels on the matrix units take; `query` is f16. */
function tensorAttention(
  { context: { state }, plan }: Forward,
  { heads, layer, window, scale, softCap, sinks, output }: AttentionArgs,
  query: bigint,
) {
  const { numHeads, numKvHeads, headDim } = heads, { pageSize } = state.spec;
  const to = output as CudaActivation;
  const layout = {
    heads,
    element: elementOf(state),
    output: to.type,
    pageSize,
    pagesPerRow: state.pagesPerRow,
    strides: { page: numKvHeads * pageSize * headDim, head: pageSize * headDim, slot: headDim },
    window,
    scale,
    cap: softCap ?? 0,
  } as const;
  const buffers = {
    plan,
    queries: query,
    queryStride: numHeads * headDim,
    keys: state.keys[layer]!.address,
    values: state.values[layer]!.address,
    ...state.int8 ? { scales: state.scales[layer]!.address } : {},
    pageTable: state.pageTable.address,
    output: to.buffer.address,
    partials: 0n,
    counters: 0n,
    sinks: sinksOf(sinks),
  };
  return { layout, buffers };
}

/** What the decode kernel norms and rotates itself; null where it cannot. */
function freshHeads(
  { qkv, qNorm, kNorm, rope, heads }: AttentionArgs,
  element: "f16" | "int8",
): FreshHeads | null {
  const { buffer, type } = qkv as CudaActivation, { cosine, sine } = rope as CudaRope;
  if (type === "f32" || !takesFresh({ heads, element })) return null;
  return {
    qkv: buffer.address,
    type,
    cosine: cosine.address,
    sine: sine.address,
    qNorm: qNorm ? weightOf(qNorm) : null,
    kNorm: kNorm ? weightOf(kNorm) : null,
    qEpsilon: qNorm?.epsilon ?? 0,
    kEpsilon: kNorm?.epsilon ?? 0,
  };
}

/** A decode step over long contexts, on the matrix units; splits meet in the same kernel. */
function launchTensorDecode(forward: Forward, args: AttentionArgs): void {
  const { context: { device, state }, shape: { decodes, splits } } = forward;
  const fresh = freshHeads(args, elementOf(state));
  const query = fresh === null ? launchRope(forward, args, "f16") : 0n;
  const { layout, buffers } = tensorAttention(forward, args, query);
  const partialBytes = decodePartialBytes(layout, decodes, splits);
  device.start(launchDecode(
    layout,
    {
      ...buffers,
      partials: partialBytes === 0 ? 0n : scratch(forward, "partial", partialBytes),
      counters: scratch(forward, "attentionCounters", 4 * decodeCounters(layout, decodes)),
    },
    decodes,
    splits,
    device.properties.capability,
    fresh,
  ));
}

/** Norms and rotation of q and k, store of k and v, and attention. */
export function launchAttention(forward: Forward, args: AttentionArgs): void {
  const { context: { device, state }, shape, plan } = forward;
  const { heads, layer, scale, window } = args;
  const { numHeads, numKvHeads, headDim } = heads;
  // Caps and sinks are in the kernels of single queries over the pages, and in those of prompts.
  const [cap, sinks] = [args.softCap ?? 0, sinksOf(args.sinks)], scores = cap > 0 || sinks !== 0n;
  const qkv = args.qkv as CudaActivation,
    output = args.output as CudaActivation,
    rope = args.rope as CudaRope;
  const partialBytes = 4 * shape.decodes * numHeads * shape.splits * (headDim + 2);
  const partial = shape.splits > 1 ? scratch(forward, "partial", partialBytes) : 0n;
  const lanes = [4, 8, 16, 32].find((n) => 8 * n >= headDim) as 4 | 8 | 16 | 32;
  // Narrow heads of int8 leave half of their lanes idle, which saves a build.
  const int8Lanes = lanes === 4 ? 8 : lanes;
  const { multiprocessors } = device.properties;
  const block = headBlock(heads, shape.decodes, multiprocessors), blocks = headBlocks(heads, block);
  const tensor = shape.headBlock === tensorBlock && hasDecode({ heads, element: elementOf(state) });
  if (tensor && !scores) return launchTensorDecode(forward, args);
  const grid = [shape.splits, blocks, shape.decodes] as const;
  const result = [partial, output.buffer.address, ElementType[output.type]];
  const span = window ?? 0;
  /** From the page table on, the kernels of single queries are given the same. */
  const pages = [
    state.pageTable.address,
    state.keys[layer]!.address,
    state.values[layer]!.address,
    ...result,
    numHeads,
    numKvHeads,
    headDim,
    state.pageShift,
    state.pagesPerRow,
    new Float(scale * Math.LOG2E),
    span,
  ];
  // A lane's eight elements of a head turn with eight others.
  if (shape.decodeOnly && headDim % 16 === 0 && !scores) {
    const all = ownThreads(blocks * shape.decodes * shape.splits, multiprocessors);
    const threads = block === 4 ? Math.min(all, 256) : all;
    device.launch(
      device.kernel(state.int8 ? `own_${int8Lanes}_int8` : `own_${lanes}`, `own_h${block}`),
      grid,
      threads,
      threads / 32 * block * (8 * (state.int8 ? int8Lanes : lanes) + 2) * 4,
      [
        plan,
        qkv.buffer.address,
        ElementType[qkv.type],
        rope.cosine.address,
        rope.sine.address,
        ...normsOf(args),
        ...pages,
        ...scalesOf(state, layer),
      ],
    );
  } else {
    const tile = forward.context.prefill;
    const type = tile === null ? "f32" : "f16";
    const query = launchRope(forward, args, type);
    if (shape.decodes > 0) {
      const module = state.int8 ? `attention_${int8Lanes}_int8` as const : `attention_${lanes}` as const;
      device.launch(device.kernel(module, `attention_h${block}`), grid, 128, 0, [
        plan,
        query,
        ElementType[type],
        ...pages,
        new Float(cap),
        sinks,
        ...scalesOf(state, layer),
      ]);
    }
    if (tile !== null && shape.tiles > 0) {
      const { layout, buffers } = tensorAttention(forward, args, query);
      device.start(launchPrefill(layout, buffers, tile, shape.tiles, device.properties.capability));
    }
  }
  if (shape.splits === 1 || shape.decodes === 0) return;
  device.launch(
    device.kernel("merge", "attention_merge"),
    [numHeads, shape.decodes],
    headDim <= 64 ? 64 : 128,
    0,
    [plan, ...result, numHeads, headDim, span, sinks],
  );
}

/** Threads of a block: all of a multiprocessor's where there are few blocks, because time goes by latency there. */
const ownThreads = (blocks: number, multiprocessors: number): number =>
  blocks <= multiprocessors ? 512 : blocks <= 2 * multiprocessors ? 256 : 128;

// The operations of a program and their words, declared once: the TypeScript that writes programs takes its types
// from here, and `build.ts` makes of it the classes and numbers that the kernels in `assembly/` import as
// "../operations".
//
// An operation is 192 bytes: word 0 its number, word 1 the counter from which threads claim units, then its words in
// the order of its layout. A word is an address, a count of something or a number of bytes ("stride" is from row to
// row); 0 stands for "none".

/** Words of an operation's arguments, in order. Operations that follow each other share a layout. */
export const layouts = {
  /** Rows of the embedding table. `ids` are row numbers; 0xffffffff is not one of this rank's and gives zeros. All times `scale`. */
  Embed: ["ids", "tokens", "weights", "format", "columns", "output", "outputStride", "scale"],
  /**
   * A matrix product. `rows` are token numbers (none: in order); `norm` is applied to the input. `packed` is where
   * the packed input stands (none: every thread packs for itself, into the first `packRoom` floats of its scratch).
   * `bias` is padded like the panels; `results` are numbers per token; threads claim `claimPanels` at a time.
   * Products of experts work on the `groups` of slots that `Routing` makes, with `expertBytes` per expert's weights.
   * The rest is the gate's (`ops.ts`); `limit` is also the cap of capped results.
   */
  Product: [
    ...["input", "inputStride", "rows", "tokens", "columns", "norm", "epsilon", "packed", "packRoom"],
    ...["weights", "format", "panels", "results", "bias", "output", "outputStride", "epilogue"],
    ...["scratch", "scratchBytes", "claimPanels", "groups", "expertBytes"],
    ...["alpha", "beta", "limit", "plus"],
  ],
  /**
   * Norm of `columns` numbers of a row, stored or, if `add`, added; or their sum of squares. With `sums` that sum stands
   * there already, of `count` numbers in all.
   */
  Norm: [
    ...["input", "inputStride", "tokens", "columns", "norm", "epsilon", "output", "outputStride", "add"],
    ...["sums", "sumsStride", "count"],
  ],
  /**
   * Rotation, store and attention of [q | k | v] rows. `rows` and `positions` are per token; a run is (sequence row,
   * first position, first token, tokens). The page table has `pagesPerRow` entries per row, a page 2^`pageShift`
   * tokens. A number of the cache takes `numberBytes`. A unit of attention has at most `unitRows` rows, a multiple of 4.
   * `softCap` 0 is none; `sinks` are a score per head.
   */
  Attention: [
    ...["qkv", "stride", "tokens", "rows", "positions", "heads", "kvHeads", "headDim", "cosine", "sine"],
    ...["qNorm", "qEpsilon", "kNorm", "kEpsilon"],
    ...["keys", "values", "keyScales", "valueScales", "numberBytes"],
    ...["pageTable", "pagesPerRow", "pageShift", "runs", "runCount", "output", "outputStride", "scale"],
    ...["window", "scratch", "scratchBytes", "unitRows", "softCap", "sinks"],
  ],
  /**
   * Choice of experts and sorting of the (token, choice) pairs by expert. `logits` are overwritten. Out: `chosen`
   * expert, its weight and its slot per pair; token per slot; `groups`: their number, then (expert, first slot,
   * slots) of each. `counts` is scratch, a word per expert.
   */
  Routing: [
    ...["logits", "experts", "tokens", "choices", "renormalize"],
    ...["chosen", "weights", "slots", "slotTokens", "groups", "counts"],
  ],
  /** Weighted sum of the experts' results, stored or, if `add`, added. */
  Combine: [
    ...["results", "width", "tokens", "choices", "slots", "weights", "output", "outputStride", "add"],
  ],
} as const;

/** Words that hold a float32. */
export const floatWords: ReadonlySet<string> = new Set([
  ...["epsilon", "qEpsilon", "kEpsilon", "scale", "softCap"],
  ...["alpha", "beta", "limit", "plus"],
]);

/** The layout of each operation; an operation's number is its place here. */
export const operations = {
  embed: "Embed",
  pack: "Product",
  linear: "Product",
  norm: "Norm",
  squares: "Norm",
  ropeStore: "Attention",
  attention: "Attention",
  route: "Routing",
  groupTokens: "Routing",
  expertPack: "Product",
  expertLinear: "Product",
  combine: "Combine",
} as const;

/** What happens to a product's results; its number is its place here. */
export const epilogues = ["store", "add", "gate-mul", "cap"] as const;

/** Words of an operation, the first two included. */
export const operationWords = 48;

/** Name of an operation. */
export type Operation = keyof typeof operations;
/** The words of an operation. */
export type Words<K extends Operation> = Readonly<
  Record<typeof layouts[typeof operations[K]][number], number>
>;

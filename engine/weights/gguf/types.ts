// GGML's tensor types: how many elements a block has, how many bytes it takes, and what it means.
//
// Sources: ggml-common.h and gguf-py's quants.py for layouts; the decoders are in `blocks.ts`. Types without a decoder
// are known by name, so that an error can name them.

import { type Decode, decoders } from "./blocks.ts";

/** A type of tensor. */
export interface GgmlType {
  /** GGML's name, for example "Q4_K". */
  readonly name: string;
  /** Elements that are stored together. */
  readonly blockElements: number;
  /** Bytes they take. */
  readonly blockBytes: number;
  /** Null where the type cannot be read. */
  readonly decode: Decode | null;
}

/** Number, name, elements and bytes of a block. */
const table: readonly (readonly [number, string, number, number])[] = [
  [0, "F32", 1, 4],
  [1, "F16", 1, 2],
  [2, "Q4_0", 32, 18],
  [3, "Q4_1", 32, 20],
  [6, "Q5_0", 32, 22],
  [7, "Q5_1", 32, 24],
  [8, "Q8_0", 32, 34],
  [9, "Q8_1", 32, 36],
  [10, "Q2_K", 256, 84],
  [11, "Q3_K", 256, 110],
  [12, "Q4_K", 256, 144],
  [13, "Q5_K", 256, 176],
  [14, "Q6_K", 256, 210],
  [15, "Q8_K", 256, 292],
  [16, "IQ2_XXS", 256, 66],
  [17, "IQ2_XS", 256, 74],
  [18, "IQ3_XXS", 256, 98],
  [19, "IQ1_S", 256, 50],
  [20, "IQ4_NL", 32, 18],
  [21, "IQ3_S", 256, 110],
  [22, "IQ2_S", 256, 82],
  [23, "IQ4_XS", 256, 136],
  [24, "I8", 1, 1],
  [25, "I16", 1, 2],
  [26, "I32", 1, 4],
  [27, "I64", 1, 8],
  [28, "F64", 1, 8],
  [29, "IQ1_M", 256, 56],
  [30, "BF16", 1, 2],
  [34, "TQ1_0", 256, 54],
  [35, "TQ2_0", 256, 66],
  [39, "MXFP4", 32, 17],
];

/** By GGML's number. */
export const ggmlTypes: ReadonlyMap<number, GgmlType> = new Map(
  table.map(([number, name, blockElements, blockBytes]) => [
    number,
    { name, blockElements, blockBytes, decode: decoders[name] ?? null },
  ]),
);

/** By name. */
export const ggmlTypeNamed: ReadonlyMap<string, GgmlType> = new Map(
  [...ggmlTypes.values()].map((type) => [type.name, type]),
);

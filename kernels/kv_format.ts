// How keys and values are kept in their pages: the numbers, and the scale that the numbers of one token and head share.
//
// A backend declares a format for every type of cache that it has kernels for. The size of the page pool follows from
// it, and so do the backend's own buffers.

/**
 * Types of cache: "auto" is what the backend does best, 16 bits a number; "int8" halves that. Its numbers are rounded to
 * 255 steps between ± the largest of a token's key, or value, of one head.
 */
export const kvDTypes = ["auto", "int8"] as const;

/** One of them. */
export type KvDType = (typeof kvDTypes)[number];

/** What a number of the cache takes. */
export interface KvFormat {
  /** Bytes of a number. */
  readonly numberBytes: number;
  /** Bytes of the scale beside the numbers of one token and head, for keys and for values; 0 where there is none. */
  readonly scaleBytes: number;
}

/** The formats of a backend. */
export type KvFormats = { readonly auto: KvFormat } & { readonly [T in KvDType]?: KvFormat };

/** Bytes of keys and values per token over all layers. */
export function kvBytesPerToken(
  { numberBytes, scaleBytes }: KvFormat,
  { numKvHeads, headDim }: { readonly numKvHeads: number; readonly headDim: number },
  numLayers: number,
): number {
  return 2 * numLayers * numKvHeads * (headDim * numberBytes + scaleBytes);
}

/**
 * The format of a type of cache on a backend.
 * @throws {RangeError} where the backend has no kernels for it, with what to do
 */
export function kvFormat(
  { info: { kind }, kvFormats }: { readonly info: { readonly kind: string }; readonly kvFormats: KvFormats },
  kvDType: KvDType,
): KvFormat {
  const format = kvFormats[kvDType];
  if (format !== undefined) return format;
  const others = Object.keys(kvFormats).join(" or ");
  throw new RangeError(
    `${kind} has no cache of type ${kvDType}: choose another --device, or --kv-dtype ${others}`,
  );
}

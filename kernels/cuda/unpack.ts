// PTX is embedded compressed, as base64 text: a seventh of its size.

import { brotliDecompressSync } from "node:zlib";

/** The PTX of a module. */
export function unpack(text: string): string {
  return new TextDecoder().decode(brotliDecompressSync(Uint8Array.fromBase64(text)));
}

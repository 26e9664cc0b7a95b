// PTX is embedded compressed, as base64 text: a tenth of its size.

import { gunzipSync } from "node:zlib";

/** The PTX of a module. */
export function unpack(text: string): string {
  return new TextDecoder().decode(gunzipSync(Uint8Array.fromBase64(text)));
}

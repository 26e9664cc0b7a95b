// Where the Qwen3 tokenizer is: third-party data that is not kept here. $RADISH_QWEN3_TOKENIZER says so, or it lies
// in ../shared beside the checkout.

const root = new URL("../../../", import.meta.url).pathname;

/** Its folder; null where there is none. */
export async function findQwen3(): Promise<string | null> {
  const places = [Deno.env.get("RADISH_QWEN3_TOKENIZER"), `${root}../shared/tokenizers/qwen3`];
  for (const place of places) {
    if (place === undefined) continue;
    try {
      await Deno.stat(`${place}/tokenizer.json`);
      return place;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return null;
}

/** For a test's name: why it is ignored. */
export function noQwen3(folder: string | null): string {
  return folder === null ? " (ignored: no tokenizer at $RADISH_QWEN3_TOKENIZER or ../shared)" : "";
}

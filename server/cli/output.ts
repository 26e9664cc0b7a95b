// Text on standard output.

const encoder = new TextEncoder();

/** Writes all of a text at once, however much of it the terminal or pipe takes at a time. */
export function writeOut(text: string): void {
  let bytes = encoder.encode(text);
  while (bytes.length > 0) bytes = bytes.subarray(Deno.stdout.writeSync(bytes));
}

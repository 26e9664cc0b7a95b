// Text on standard output.

const encoder = new TextEncoder();

/** Whoever read standard output has gone (`| head`); the program ends without a word, as others do. */
export class BrokenPipe extends Error {}

/** Writes all of a text at once, however much of it the terminal or pipe takes at a time. */
export function writeOut(text: string): void {
  let bytes = encoder.encode(text);
  try {
    while (bytes.length > 0) bytes = bytes.subarray(Deno.stdout.writeSync(bytes));
  } catch (error) {
    throw error instanceof Deno.errors.BrokenPipe ? new BrokenPipe("nobody reads the output") : error;
  }
}

/** A line on standard output. */
export function printLine(text: string): void {
  writeOut(`${text}\n`);
}

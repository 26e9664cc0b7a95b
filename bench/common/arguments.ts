// The command line of a benchmark: its options, its help, and the numbers in it.

import { parseArgs, type ParseArgsConfig } from "node:util";

/**
 * What the command line says, by `node:util`'s parseArgs. `--help` prints the comment that the program (`module`, its
 * `import.meta.url`) begins with; a wrong option is one line and exit code 2.
 */
export function readOptions<const T extends ParseArgsConfig>(
  module: string,
  config: T,
): ReturnType<typeof parseArgs<T>> {
  if (Deno.args.includes("--help") || Deno.args.includes("-h")) {
    const [comment = ""] = /^(\/\/.*\n)+/.exec(Deno.readTextFileSync(new URL(module))) ?? [];
    console.log(comment.replace(/^\/\/ ?/gm, "").trimEnd());
    Deno.exit(0);
  }
  try {
    return parseArgs(config);
  } catch (error) {
    console.error(error instanceof Error ? error.message.split(". ")[0] : error);
    Deno.exit(2);
  }
}

/** A whole number of at least `least`. @throws {RangeError} naming the option */
export function whole(text: string, name: string, least = 1): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least && text.trim() !== "") return value;
  throw new RangeError(`--${name} is a whole number of at least ${least}, not "${text}"`);
}

/** A number greater than 0. @throws {RangeError} naming the option */
export function positive(text: string, name: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new RangeError(`--${name} is a number greater than 0, not "${text}"`);
}

/** A list such as 1,8,32. */
export function list<T>(text: string, read: (part: string) => T): T[] {
  return text.split(",").filter((part) => part.trim() !== "").map(read);
}

/** One of a few words. @throws {RangeError} naming the option and the words */
export function choice<const T extends string>(text: string, name: string, words: readonly T[]): T {
  const word = words.find((each) => each === text);
  if (word !== undefined) return word;
  throw new RangeError(`--${name} is one of ${words.join(", ")}, not "${text}"`);
}

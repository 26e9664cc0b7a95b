// Where a prompt comes from: an argument or a file, and whatever a pipe or a redirection brings on standard input,
// which is added to it. `cat notes.txt | radish generate "Summarise:"` sees both.

import { UsageError } from "./option.ts";

/** Silence on standard input after which it is said that the program waits for it, in milliseconds. */
const patience = 2_000;

/** The whole prompt. A single "-" stands for standard input, as no words do. */
export async function readPrompt(
  words: readonly string[],
  file: string | undefined,
  quiet: boolean,
): Promise<string> {
  const argument = words.length === 0 || words.length === 1 && words[0] === "-" ? undefined : words.join(" ");
  if (file !== undefined && argument !== undefined) throw new UsageError("give a prompt or --file, not both");
  const given = file !== undefined ? await readText(file) : argument;
  if (given === "") throw new UsageError("the prompt is empty");
  if (given !== undefined && Deno.stdin.isTerminal()) return given;
  if (Deno.stdin.isTerminal()) {
    throw new UsageError("no prompt: give one as an argument, with --file, or on standard input");
  }
  const piped = await readStandardInput(quiet);
  const prompt = [given, piped].filter((part) => part !== undefined && part !== "").join("\n\n");
  if (prompt === "") throw new UsageError("the prompt is empty");
  return prompt;
}

/** A text file; one line says why it cannot be read. */
export async function readText(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message.split(" (os")[0] : String(error);
    throw new Error(`cannot read ${path}: ${reason}`);
  }
}

/** All of standard input, without its last line end; nothing when it is closed. */
async function readStandardInput(quiet: boolean): Promise<string> {
  const note = () => console.error("radish: waiting for standard input to end (< /dev/null leaves it out)");
  const timer = quiet ? undefined : setTimeout(note, patience);
  try {
    return (await new Response(Deno.stdin.readable).text()).replace(/\r?\n$/, "");
  } catch (error) {
    if (error instanceof Deno.errors.BadResource) return "";
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

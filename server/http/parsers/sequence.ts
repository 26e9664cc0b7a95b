// Patterns that are matched while their text still comes in: unlike a regular expression they can say "not yet".

import type { Incoming } from "./streaming.ts";

/** A literal, or something to catch; white space before each is skipped. */
export type Step =
  | string
  /** A bare word, as tools are called. */
  | { readonly catch: "word" }
  /** A JSON string. */
  | { readonly catch: "string" };

/** A match from the beginning of a text. */
export interface Match {
  /** Which of the patterns. */
  readonly pattern: number;
  /** What was caught first, if anything. */
  readonly caught: string;
  /** Characters of it all. */
  readonly length: number;
}

/**
 * The first of the patterns that the text begins with; "partial" if none does but one still could; "other" if none
 * can. No pattern may begin with another one, or the answer would depend on how much of the text is there.
 */
function matchAny(text: string, patterns: readonly (readonly Step[])[]): Match | "partial" | "other" {
  let partial = false;
  for (const [pattern, steps] of patterns.entries()) {
    const found = matchOne(text, steps);
    if (found === "partial") partial = true;
    else if (found !== "other") return { ...found, pattern };
  }
  return partial ? "partial" : "other";
}

/** Waits until the text begins with one of the patterns or cannot; "partial" only where the text is over. */
export function* matched(
  text: Incoming,
  patterns: readonly (readonly Step[])[],
): Generator<null, ReturnType<typeof matchAny>> {
  for (;; yield null) {
    const found = matchAny(text.held, patterns);
    if (found !== "partial" || text.over) return found;
  }
}

/** `{"name": "…", "field": {`, as models write a call. */
export const jsonHeader = (
  field: string,
): readonly Step[] => ["{", '"name"', ":", { catch: "string" }, ",", `"${field}"`, ":", "{"];

function matchOne(text: string, steps: readonly Step[]): Omit<Match, "pattern"> | "partial" | "other" {
  let at = 0;
  let caught: string | null = null;
  for (const step of steps) {
    while (at < text.length && text[at]!.trim() === "") at++;
    const rest = text.slice(at);
    if (typeof step === "string") {
      if (!rest.startsWith(step)) return step.startsWith(rest) ? "partial" : "other";
      at += step.length;
    } else if (step.catch === "word") {
      const word = /^[a-zA-Z0-9_.:-]*/.exec(rest)![0];
      if (word.length === rest.length) return "partial"; // It may go on.
      if (word === "") return "other";
      caught ??= word;
      at += word.length;
    } else {
      const string = /^"((?:[^"\\]|\\.)*)("?)/.exec(rest);
      if (string === null) return rest === "" ? "partial" : "other";
      if (string[2] === "") return "partial";
      caught ??= string[1]!;
      at += string[0].length;
    }
  }
  return { caught: caught ?? "", length: at };
}

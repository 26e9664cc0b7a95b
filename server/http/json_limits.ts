// Bounds on JSON before it is parsed and on values before they are rendered. Parsing and rendering walk a value by
// recursion, here, in a chat template and between workers, and must not be led to the end of their stack; and a
// value with a million keys takes seconds where a text of the same length takes none.

import { httpLimits } from "./limits.ts";

/** What is wrong with a JSON text, as the end of a sentence that begins with its name; null if nothing is. */
export function jsonProblem(text: string): string | null {
  let depth = 0, keys = 0, values = 1;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22: // a string: goes on to its end
        for (i++; i < text.length; i++) {
          const code = text.charCodeAt(i);
          if (code === 0x22) break;
          if (code === 0x5c) i++; // backslash: the next character is taken literally
        }
        break;
      case 0x7b:
      case 0x5b:
        if (++depth > httpLimits.jsonDepth) return `is nested deeper than ${httpLimits.jsonDepth} levels`;
        break;
      case 0x7d:
      case 0x5d:
        depth--;
        break;
      case 0x3a:
        if (++keys > httpLimits.jsonKeys) return `has more than ${httpLimits.jsonKeys} keys`;
        break;
      case 0x2c:
        if (++values > httpLimits.jsonValues) return `has more than ${httpLimits.jsonValues} values`;
    }
  }
  return null;
}

/** Whether a parsed value is at most `most` large: characters of its texts and keys, and 8 for every value. */
export function isSmall(value: unknown, most: number): boolean {
  let size = 0;
  const open: unknown[] = [value];
  while (open.length > 0) {
    const next = open.pop();
    size += 8 + (typeof next === "string" ? next.length : 0);
    if (size > most) return false;
    if (Array.isArray(next)) {
      if (size + 8 * next.length > most) return false;
      for (const each of next) open.push(each);
    } else if (typeof next === "object" && next !== null) {
      for (const [key, each] of Object.entries(next)) {
        size += key.length;
        open.push(each);
      }
    }
  }
  return true;
}

/** The object that a JSON text of a model's is; null where it is something else, or was cut off. */
export function objectOf(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : null;
  } catch {
    return null;
  }
}

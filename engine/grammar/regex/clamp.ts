/** Counts that are further away than a text to come is long make no difference to it: masks are kept without them. */
import type { RegexBuilder } from "./builder.ts";
import type { RegexNode } from "./node.ts";

/**
 * A language that says the same of the next `length` characters, the same one for all counts that they cannot exhaust.
 * Only where nothing is intersected: there a count decides whether anything is left at all.
 */
export function clampLoops(regex: RegexBuilder, node: RegexNode, length: number): RegexNode {
  if (!node.simple) return node;
  if (node.kind === "loop") {
    const item = node.children[0]!;
    if (item.minLength < 1 || (node.min <= length && (node.max <= length || node.max === Infinity))) {
      return node;
    }
    return regex.loop(item, Math.min(node.min, length), node.max > length ? Infinity : node.max);
  }
  if (node.kind === "concat") {
    const [first, rest] = [node.children[0]!, node.children[1]!];
    const [head, tail] = [clampLoops(regex, first, length), clampLoops(regex, rest, length)];
    return head === first && tail === rest ? node : regex.concat(head, tail);
  }
  return node;
}

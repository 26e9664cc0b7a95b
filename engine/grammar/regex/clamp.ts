/**
 * Counts that are further away than a text to come is long make no difference to it: masks are kept without them.
 *
 * Two languages say the same of the next n characters if every text of fewer belongs to both or neither, and begins a
 * text of both or neither. That carries over to what is made of them by one after the other, by choice and by
 * repetition. It does not carry over to an intersection, where a count may decide whether anything is left at all; one
 * of those is clamped all the same, a bound on the length beside something simple, which is known to have a short way
 * out from anywhere.
 */
import type { RegexBuilder } from "./builder.ts";
import type { RegexNode } from "./node.ts";

/** A language that says the same of the next `length` characters, the same one for all counts out of their reach. */
export function clampLoops(regex: RegexBuilder, node: RegexNode, length: number): RegexNode {
  if (node.count <= 1) return node;
  switch (node.kind) {
    case "loop": {
      const item = node.children[0]!;
      if (item.minLength < 1) return node;
      const reach = Math.ceil(length / item.minLength); // more than this are not even begun
      return regex.loop(item, Math.min(node.min, reach), node.max > reach ? Infinity : node.max);
    }
    case "concat": {
      const parts: RegexNode[] = [];
      let rest = node, away = 0;
      for (; rest.kind === "concat" && away < length; rest = rest.children[1]!) {
        parts.push(clampLoops(regex, rest.children[0]!, length));
        away += rest.children[0]!.minLength;
      }
      return regex.concat(...parts, away < length ? clampLoops(regex, rest, length) : rest);
    }
    case "alt":
      return regex.alt(node.children.map((child) => clampLoops(regex, child, length)));
    case "and":
      return clampBound(regex, node, length);
    case "none":
    case "epsilon":
    case "chars":
    case "not":
    case "machine":
      return node;
  }
}

// What has to be longer than `min` gets there within reach, and from wherever it is then, out before `max`.
function clampBound(regex: RegexBuilder, node: RegexNode, length: number): RegexNode {
  const bound = node.children.find(({ kind, children }) => kind === "loop" && children[0] === regex.anyChar);
  const other = node.children.find((child) => child !== bound);
  if (bound === undefined || other === undefined || node.children.length > 2) return node;
  if (bound.min >= length || bound.max < length + other.wayOut) return node;
  return regex.and([clampLoops(regex, other, length), regex.loop(regex.anyChar, bound.min, Infinity)]);
}

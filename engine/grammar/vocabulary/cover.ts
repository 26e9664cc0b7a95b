/**
 * Characters of which any text may follow in a place, by classes: what tokens have nothing else are allowed without
 * walking through them. That a place takes the characters by themselves is not enough, `(?!.*://)` takes all of them;
 * so it is proven for texts, of all classes at once and, where that fails, without those for which it does.
 */
import type { State } from "../automaton/automaton.ts";
import type { Position } from "../automaton/position.ts";
import { type CharSet, charSet, unionSets } from "../regex/char_set.ts";
import { CLASSES } from "./trie.ts";

/** Any text of up to `length` characters of these classes may follow. */
export interface Cover {
  /** A bit for each class. */
  readonly classes: number;
  /** Characters. */
  readonly length: number;
}

/** Nothing is known. */
export const NO_COVER: Cover = { classes: 0, length: 0 };
/** Characters of the texts by which classes are chosen. */
const TRIED = 8;
/** Proofs by which classes are chosen at most: few of them stand in the way of the others, or it is not worth it. */
const MAX_TRIES = 16;

// Without the ends of lines, which are no ordinary characters.
const SETS: readonly CharSet[] = CLASSES.map((bytes) =>
  bytes[0]! < 0x80
    ? charSet(bytes.map((byte) => [byte, byte]))
    : charSet([[0x80, 0x2027], [0x202a, 0x10ffff]])
);

/** Finds covers. */
export class Covers {
  /** Characters by classes. */
  readonly #sets = new Map<number, CharSet>(SETS.map((set, i) => [1 << i, set]));

  /** The cover of a state for tokens of up to `longest` characters: that of the reading that takes most. */
  find({ stacks }: State, longest: number): Cover {
    let best = NO_COVER;
    for (const { position } of stacks) {
      const found = position === undefined ? NO_COVER : this.#find(position, longest);
      if (size(found.classes) > size(best.classes)) best = found;
    }
    return best;
  }

  #find(position: Position, longest: number): Cover {
    const tried = Math.min(TRIED, longest);
    // Without letters there is little to save.
    if (!position.takes(SETS[0]!) || !position.takesAll(SETS[0]!, tried)) return NO_COVER;
    let classes = 1, tries = 0;
    const add = (more: number): void => {
      if (more === 0 || ++tries > MAX_TRIES) return;
      if (position.takesAll(this.#set(classes | more), tried)) classes |= more;
      else if ((more & (more - 1)) !== 0) {
        const some = lowerHalf(more);
        add(some);
        add(more & ~some);
      }
    };
    add(SETS.reduce((taken, set, i) => i > 0 && position.takes(set) ? taken | 1 << i : taken, 0));
    const set = this.#set(classes);
    // What holds for a length holds for shorter ones.
    let length = tried;
    for (let out = longest + 1, next = longest; length < out - 1; next = (length + out) >> 1) {
      if (position.takesAll(set, next)) length = next;
      else out = next;
    }
    return { classes, length };
  }

  #set(classes: number): CharSet {
    let set = this.#sets.get(classes);
    if (set === undefined) {
      const some = lowerHalf(classes);
      this.#sets.set(classes, set = unionSets(this.#set(some), this.#set(classes & ~some)));
    }
    return set;
  }
}

// The lower half of the bits that are set: of more than one, not all.
function lowerHalf(bits: number): number {
  let some = 0;
  for (let left = bits, n = size(bits) >> 1; n > 0; n--, left &= left - 1) some |= left & -left;
  return some;
}

function size(bits: number): number {
  let count = 0;
  for (let left = bits; left !== 0; left &= left - 1) count++;
  return count;
}

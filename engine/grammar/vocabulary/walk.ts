/**
 * Walks the trees of a vocabulary through an automaton and marks the tokens that it takes. A subtree below a state that
 * leads nowhere, or that takes whatever the subtree has, is not walked.
 */
import type { Automaton, State } from "../automaton/automaton.ts";
import { getByte } from "../automaton/by_byte.ts";
import { type Cover, Covers, NO_COVER } from "./cover.ts";
import { CLASS_OF, CLASSES, type Trie } from "./trie.ts";
import type { Tokens } from "./vocabulary.ts";

/** Nodes of a tree for which it is worth to find out what a state takes whatever it is. */
const LARGE = 256;
/** Steps to states not known before that are cheaper than finding it out. */
const MANY = 32;

/** Walks; a walk is over before the next one begins. */
export class Walker {
  readonly #finder = new Covers();
  // By depth: the state before a byte, and of which classes how many more characters may follow there.
  readonly #states: State[] = [];
  readonly #classes: number[] = [];
  readonly #lengths: number[] = [];

  /** Sets the bits of the tree's tokens that are allowed. */
  walk(automaton: Automaton, state: State, trie: Trie, mask: Uint32Array): void {
    const { size, byte, depth, end, first, own, ids, classes } = trie;
    const states = this.#states;
    states[0] = state;
    for (let node = 0; node < size;) {
      const at = depth[node]!;
      const before = states[at]!;
      const after = follow(automaton, before, byte[node]!);
      if (after === null) {
        node = end[node]!;
        continue;
      }
      const last = loopsOn(automaton, before, after, classes[node]!) ? end[node]! : node + 1;
      setBits(mask, ids, first[node]!, last > node + 1 ? first[last]! : own[node]!);
      states[at + 1] = after;
      node = last;
    }
    states.length = 1;
  }

  /** Makes the mask of the ordinary tokens that are allowed; `covers` keeps what is found out of states for them. */
  walkPlain(
    automaton: Automaton,
    state: State,
    tokens: Tokens,
    covers: Map<State, Cover>,
    mask: Uint32Array,
  ): void {
    const { size, byte, depth, end, first, own, ids, reach, classes } = tokens.plain;
    // Where most tokens are allowed, all are set and some removed.
    const removing = state.free > 0 || mostlyFree(automaton, state);
    if (removing) mask.set(tokens.plainMask);
    else mask.fill(0);
    const states = this.#states, takenClasses = this.#classes, takenLengths = this.#lengths;
    const enter = (at: number, state: State, cover: Cover): void => {
      states[at] = state;
      takenClasses[at] = cover.classes;
      takenLengths[at] = cover.length;
    };
    const coverOf = (state: State): Cover => {
      let cover = covers.get(state);
      if (cover !== undefined) return cover;
      if (state.free > 0 || fresh < MANY) return NO_COVER;
      fresh = 0;
      covers.set(state, cover = this.#finder.find(state, tokens.longest));
      return cover;
    };
    let fresh = 0;
    enter(0, state, NO_COVER);
    for (let node = 0; node < size;) {
      const at = depth[node]!, next = byte[node]!, last = end[node]!;
      if (at === 0) enter(0, state, coverOf(state));
      // What may follow on any text may follow on a longer one, too: of its classes, as many characters less.
      const taken = takenClasses[at]!;
      const left = (CLASS_OF[next]! & ~taken) !== 0
        ? -1
        : takenLengths[at]! - ((next & 0xc0) === 0x80 ? 0 : 1);
      if (left >= reach[node]! && (classes[node]! & ~taken) === 0) {
        if (!removing) setBits(mask, ids, first[node]!, first[last]!);
        node = last;
        continue;
      }
      const before = states[at]!;
      let after = getByte(before.next, next);
      if (after === undefined) {
        after = automaton.step(before, next);
        fresh++;
      }
      if (after === null) {
        if (removing) clearBits(mask, ids, first[node]!, first[last]!);
        node = last;
        continue;
      }
      if (
        (after.free > 0 && after.free >= reach[node]!) || loopsOn(automaton, before, after, classes[node]!)
      ) {
        if (!removing) setBits(mask, ids, first[node]!, first[last]!);
        node = last;
        continue;
      }
      if (!removing) setBits(mask, ids, first[node]!, own[node]!);
      if (left >= 0) {
        states[at + 1] = after;
        takenClasses[at + 1] = taken;
        takenLengths[at + 1] = left;
      } else enter(at + 1, after, last - node > LARGE ? coverOf(after) : NO_COVER);
      node++;
    }
    states.length = 1;
  }
}

function follow(automaton: Automaton, before: State, byte: number): State | null {
  const known = getByte(before.next, byte);
  return known === undefined ? automaton.step(before, byte) : known;
}

// Whether a state leads back to itself on all of the classes.
function loopsOn(automaton: Automaton, before: State, after: State, classes: number): boolean {
  return after === before && (classes & ~(after.loops ??= loops(automaton, after))) === 0;
}

function loops(automaton: Automaton, state: State): number {
  let found = 0;
  CLASSES.forEach((bytes, i) => {
    if (bytes.every((byte) => automaton.step(state, byte) === state)) found |= 1 << i;
  });
  return found;
}

function mostlyFree(automaton: Automaton, state: State): boolean {
  let free = 0;
  for (let letter = 0; letter < 26; letter++) {
    const after = automaton.step(state, 0x61 + letter);
    if (after === null && letter > 12 && free === 0) return false;
    if (after !== null && after.free > 0) free++;
  }
  return free > 13;
}

function setBits(mask: Uint32Array, ids: Uint32Array, from: number, to: number): void {
  for (let i = from; i < to; i++) mask[ids[i]! >> 5]! |= 1 << (ids[i]! & 31);
}

function clearBits(mask: Uint32Array, ids: Uint32Array, from: number, to: number): void {
  for (let i = from; i < to; i++) mask[ids[i]! >> 5]! &= ~(1 << (ids[i]! & 31));
}

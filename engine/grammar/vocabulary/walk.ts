/**
 * Walks the trees of a vocabulary through an automaton and marks the tokens that it takes. A subtree below a state that
 * leads nowhere, or that takes whatever the subtree has, is not walked.
 */
import type { Automaton, State } from "../automaton/automaton.ts";
import { NOWHERE, UNKNOWN } from "../automaton/byte_table.ts";
import { type Cover, Covers, NO_COVER } from "./cover.ts";
import { CLASS_OF, CLASSES, type Trie } from "./trie.ts";
import type { Tokens } from "./vocabulary.ts";

/** Nodes of a tree for which it is worth to find out what a state takes whatever it is. */
const LARGE = 256;
/** Steps to states not known before that are cheaper than finding it out. */
const MANY = 32;

/** States that have numbers at once, if not more are on the path. */
const NUMBERS = 1024;

/** Walks; a walk is over before the next one begins. What it writes to lasts, so that it leaves nothing to collect. */
export class Walker {
  readonly #finder = new Covers();
  // In a large tree states have numbers of the walk, so that what each byte leads to stands in one small table. By them
  // the automaton's and what may follow freely; by the automaton's, one more than them.
  readonly #states: number[] = [];
  readonly #free: number[] = [];
  #numbers = new Int32Array(NUMBERS);
  #count = 0;
  #next: Int32Array;
  readonly #most: number;
  // By depth: the state before a byte, and of which classes how many more characters may follow there.
  readonly #path: number[] = [];
  readonly #classes: number[] = [];
  readonly #lengths: number[] = [];

  /** `numbers`: for tests. */
  constructor(numbers: number = NUMBERS) {
    this.#most = numbers;
    this.#next = new Int32Array(numbers << 8);
  }

  /** Sets the bits of the tree's tokens that are allowed. */
  walk(automaton: Automaton, state: State, trie: Trie, mask: Uint32Array): void {
    const { size, byte, depth, end, first, own, ids, classes } = trie;
    const path = this.#path;
    path[0] = automaton.numberOf(state);
    for (let node = 0; node < size;) {
      const at = depth[node]!;
      const to = automaton.follow(path[at]!, byte[node]!);
      if (to === NOWHERE) {
        node = end[node]!;
        continue;
      }
      const after = to - 1;
      const all = after === path[at]! && loopsOn(automaton, automaton.at(after), classes[node]!);
      const last = all ? end[node]! : node + 1;
      setBits(mask, ids, first[node]!, last > node + 1 ? first[last]! : own[node]!);
      path[at + 1] = after;
      node = last;
    }
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
    // Where most letters lead on, all tokens are set and those that are not allowed removed.
    const removing = state.free > 0 || takesLetters(automaton, state);
    if (removing) mask.set(tokens.plainMask);
    else mask.fill(0);
    const path = this.#path, takenClasses = this.#classes, takenLengths = this.#lengths;
    const states = this.#states, free = this.#free;
    const coverOf = (state: State): Cover => {
      let cover = covers.get(state);
      if (cover !== undefined) return cover;
      if (state.free > 0 || fresh < MANY) return NO_COVER;
      fresh = 0;
      covers.set(state, cover = this.#finder.find(state, tokens.longest));
      return cover;
    };
    let fresh = 0;
    this.#forget(); // a walk before may have ended with an error
    path[0] = this.#number(automaton, automaton.numberOf(state));
    let table = this.#next;
    for (let node = 0; node < size;) {
      const at = depth[node]!, next = byte[node]!;
      if (at === 0) ({ classes: takenClasses[0], length: takenLengths[0] } = coverOf(state));
      // What may follow on any text may follow on a longer one, too: of its classes, as many characters less.
      const taken = takenClasses[at]!;
      let left = -1;
      if (taken !== 0 && (CLASS_OF[next]! & ~taken) === 0) {
        left = takenLengths[at]! - ((next & 0xc0) === 0x80 ? 0 : 1);
        if (left >= reach[node]! && (classes[node]! & ~taken) === 0) {
          const last = end[node]!;
          if (!removing) setBits(mask, ids, first[node]!, first[last]!);
          node = last;
          continue;
        }
      }
      let to = table[path[at]! << 8 | next]!;
      if (to === UNKNOWN) {
        const before = states[path[at]!]!;
        let after = automaton.known(before, next);
        if (after === UNKNOWN) {
          after = automaton.follow(before, next);
          fresh++;
        }
        if (after > 0 && this.#count >= this.#most && !(this.#numbers[after - 1]! > 0)) {
          this.#renumber(automaton, at);
        }
        to = after === NOWHERE ? NOWHERE : this.#number(automaton, after - 1) + 1;
        table = this.#next;
        table[path[at]! << 8 | next] = to;
      }
      if (to === NOWHERE) {
        const last = end[node]!;
        if (removing) clearBits(mask, ids, first[node]!, first[last]!);
        node = last;
        continue;
      }
      const after = to - 1;
      if (
        (free[after]! > 0 && free[after]! >= reach[node]!) ||
        (after === path[at]! && loopsOn(automaton, automaton.at(states[after]!), classes[node]!))
      ) {
        const last = end[node]!;
        if (!removing) setBits(mask, ids, first[node]!, first[last]!);
        node = last;
        continue;
      }
      if (!removing) setBits(mask, ids, first[node]!, own[node]!);
      path[at + 1] = after;
      takenClasses[at + 1] = 0;
      if (left >= 0) {
        takenClasses[at + 1] = taken;
        takenLengths[at + 1] = left;
      } else if (end[node]! - node > LARGE) {
        ({ classes: takenClasses[at + 1], length: takenLengths[at + 1] } = coverOf(
          automaton.at(states[after]!),
        ));
      }
      node++;
    }
    this.#forget();
  }

  #number(automaton: Automaton, state: number): number {
    if (state >= this.#numbers.length) {
      const larger = new Int32Array(2 * state);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    const known = this.#numbers[state]!;
    if (known > 0) return known - 1;
    const number = this.#count++;
    this.#numbers[state] = this.#count;
    this.#states[number] = state;
    this.#free[number] = automaton.at(state).free;
    if (this.#next.length < this.#count << 8) {
      const larger = new Int32Array(2 * this.#next.length);
      larger.set(this.#next);
      this.#next = larger;
    }
    return number;
  }

  #forget(): void {
    this.#next.fill(UNKNOWN, 0, this.#count << 8);
    for (let i = 0; i < this.#count; i++) this.#numbers[this.#states[i]!] = 0;
    this.#count = 0;
  }

  // Too many states: only those up to a depth are kept.
  #renumber(automaton: Automaton, depth: number): void {
    const states = this.#path.slice(0, depth + 1).map((number) => this.#states[number]!);
    this.#forget();
    states.forEach((state, at) => this.#path[at] = this.#number(automaton, state));
  }
}

// Whether a state leads back to itself on all of the classes.
function loopsOn(automaton: Automaton, state: State, classes: number): boolean {
  return (classes & ~(state.loops ??= loops(automaton, state))) === 0;
}

function loops(automaton: Automaton, state: State): number {
  let found = 0;
  CLASSES.forEach((bytes, i) => {
    if (bytes.every((byte) => automaton.step(state, byte) === state)) found |= 1 << i;
  });
  return found;
}

function takesLetters(automaton: Automaton, state: State): boolean {
  let taken = 0;
  for (let letter = 0; letter < 26 && taken <= 13 && letter - taken <= 13; letter++) {
    if (automaton.step(state, 0x61 + letter) !== null) taken++;
  }
  return taken > 13;
}

function setBits(mask: Uint32Array, ids: Uint32Array, from: number, to: number): void {
  for (let i = from; i < to; i++) mask[ids[i]! >> 5]! |= 1 << (ids[i]! & 31);
}

function clearBits(mask: Uint32Array, ids: Uint32Array, from: number, to: number): void {
  for (let i = from; i < to; i++) mask[ids[i]! >> 5]! &= ~(1 << (ids[i]! & 31));
}

/**
 * Masks: which tokens may come next in a state, found by walking the trees of the vocabulary through the automaton.
 * Where any text may follow inside a string, the tree of plain tokens is not walked; where most letters lead to such a
 * place, the walk starts with all of them allowed and removes. Masks are kept by state, within a number of bytes.
 */
import type { Automaton, StackNode, State } from "../automaton/automaton.ts";
import type { Trie } from "./trie.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** A mask with few tokens is kept as their ids. */
const FEW = 512;
const BYTES_PER_ENTRY = 200;

type Kept = { readonly words: Uint32Array } | { readonly ids: Uint32Array };

/** Makes and keeps masks for one vocabulary; grammars share it. */
export class MaskMaker {
  readonly vocabulary: Vocabulary;
  readonly #maxBytes: number;
  readonly #kept = new Map<State, Kept>();
  #bytes = 0;
  readonly #path: State[] = [];
  readonly #work: Uint32Array;
  /** For measurements: masks found among the kept ones, and made. */
  hits = 0;
  misses = 0;

  /** @param maxBytes what the kept masks may take */
  constructor(vocabulary: Vocabulary, maxBytes = 64 << 20) {
    this.vocabulary = vocabulary;
    this.#maxBytes = maxBytes;
    this.#work = new Uint32Array(vocabulary.words);
  }

  /** Bytes of the kept masks. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Writes the mask of a state, a bit for each token, ends of text included; false where no token is allowed. */
  fill(automaton: Automaton, state: State, out: Uint32Array): boolean {
    const { vocabulary } = this;
    const key = this.#key(automaton, state);
    let kept = this.#kept.get(key);
    if (kept === undefined) {
      this.misses++;
      kept = this.#make(automaton, key);
    } else {
      this.hits++;
      this.#kept.delete(key);
    }
    this.#keep(key, kept);
    let any: boolean;
    if ("words" in kept) {
      out.set(kept.words);
      any = true;
    } else {
      out.fill(0);
      for (const id of kept.ids) out[id >> 5]! |= 1 << (id & 31);
      any = kept.ids.length > 0;
    }
    if (state.canEnd) {
      for (const id of vocabulary.endIds) {
        out[id >> 5]! |= 1 << (id & 31);
        any = true;
      }
    }
    return any;
  }

  #keep(key: State, kept: Kept): void {
    const size = (mask: Kept): number => BYTES_PER_ENTRY + 4 * ("words" in mask ? mask.words : mask.ids).length;
    if (!this.#kept.has(key)) this.#bytes += size(kept);
    this.#kept.set(key, kept);
    // The oldest come first; one that is used is put last again, with its bytes counted once.
    for (const [old, mask] of this.#kept) {
      if (this.#bytes <= this.#maxBytes || old === key) break;
      this.#kept.delete(old);
      this.#bytes -= size(mask);
    }
  }

  // States that differ only in counts that one token cannot exhaust have the same mask.
  #key(automaton: Automaton, state: State): State {
    if (state.maskState !== undefined) return state.maskState;
    let changed = false;
    const stacks = state.stacks.map((stack): StackNode => {
      const clamped = stack.position?.clamped(this.vocabulary.longest + 1);
      if (clamped === undefined || clamped === stack.position) return stack;
      changed = true;
      return automaton.push(stack.below!, clamped);
    });
    return state.maskState = changed ? automaton.state([...new Set(stacks)]) : state;
  }

  #make(automaton: Automaton, state: State): Kept {
    const work = this.#work.fill(0);
    const { plain, others, plainMask } = this.vocabulary;
    if (state.free) work.set(plainMask);
    else if (this.#mostlyFree(automaton, state)) {
      work.set(plainMask);
      this.#walk(automaton, state, plain, work, true);
    } else this.#walk(automaton, state, plain, work, false);
    this.#walk(automaton, state, others, work, false);
    let count = 0;
    for (let i = 0; i < work.length && count <= FEW; i++) {
      for (let word = work[i]!; word !== 0; word &= word - 1) count++;
    }
    if (count > FEW) return { words: work.slice() };
    const ids = new Uint32Array(count);
    for (let i = 0, at = 0; i < work.length; i++) {
      for (let word = work[i]!; word !== 0; word &= word - 1) ids[at++] = i * 32 + 31 - Math.clz32(word & -word);
    }
    return { ids };
  }

  #mostlyFree(automaton: Automaton, state: State): boolean {
    let free = 0;
    for (let letter = 0; letter < 26; letter++) if (automaton.step(state, 0x61 + letter)?.free) free++;
    return free > 13;
  }

  // Sets the tokens that are allowed or, where all are set already, clears those that are not. `plain` tokens below a
  // free state are all allowed.
  #walk(automaton: Automaton, state: State, trie: Trie, mask: Uint32Array, removing: boolean): void {
    const { size, byte, depth, end, first, own, ids } = trie;
    const plain = trie === this.vocabulary.plain;
    const path = this.#path;
    path[0] = state;
    for (let node = 0; node < size;) {
      const at = depth[node]!;
      const before = path[at]!;
      const after = before.next?.[byte[node]!] ?? automaton.step(before, byte[node]!);
      if (after === null) {
        if (removing) for (let i = first[node]!; i < first[end[node]!]!; i++) clear(mask, ids[i]!);
        node = end[node]!;
      } else if (plain && after.free) {
        if (!removing) for (let i = first[node]!; i < first[end[node]!]!; i++) set(mask, ids[i]!);
        node = end[node]!;
      } else {
        if (!removing) for (let i = first[node]!; i < own[node]!; i++) set(mask, ids[i]!);
        path[at + 1] = after;
        node++;
      }
    }
    path.length = 1;
  }
}

function set(mask: Uint32Array, id: number): void {
  mask[id >> 5]! |= 1 << (id & 31);
}

function clear(mask: Uint32Array, id: number): void {
  mask[id >> 5]! &= ~(1 << (id & 31));
}

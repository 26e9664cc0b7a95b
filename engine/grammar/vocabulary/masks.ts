/**
 * Masks: which tokens may come next in a state, found by walking the trees of the vocabulary through the automaton.
 * Where any text may follow inside a string, the tree of plain tokens is not walked; where most letters lead to such a
 * place, the walk starts with all of them allowed and removes. Masks are kept by state, within a number of bytes.
 */
import type { Automaton, StackNode, State } from "../automaton/automaton.ts";
import type { Position } from "../automaton/position.ts";
import { CLASSES, type Trie } from "./trie.ts";
import type { Tokens, Vocabulary } from "./vocabulary.ts";

/** A mask with few tokens is kept as their ids. */
const FEW = 512;
const BYTES_PER_ENTRY = 200;

type Kept = { readonly words: Uint32Array } | { readonly ids: Uint32Array };

/** Makes and keeps masks for one vocabulary; grammars share it. */
export class MaskMaker {
  /** Whose tokens. */
  readonly vocabulary: Vocabulary;
  readonly #maxBytes: number;
  // By what they are of: a state, or a position inside a string where only plain tokens are concerned.
  readonly #short = new Map<State | Position, Kept>();
  readonly #long = new Map<State | Position, Kept>();
  #bytes = 0;
  readonly #path: State[] = [];
  readonly #work: Uint32Array;
  /** For measurements: masks found among the kept ones, and made. */
  hits = 0;
  /** Masks that had to be made. */
  misses = 0;

  /** Masks of one vocabulary; those that are kept take at most `maxBytes`. */
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
    const { short, long, endIds } = this.vocabulary;
    // States that differ only in counts that no token can exhaust share a mask.
    state.shortKey ??= this.#key(automaton, state, short.longest);
    state.longKey ??= this.#key(automaton, state, long.longest);
    const first = this.#find(automaton, state.shortKey, short);
    let any = true;
    if ("words" in first) out.set(first.words);
    else {
      out.fill(0);
      any = set(out, first.ids);
    }
    const second = this.#find(automaton, state.longKey, long);
    if ("words" in second) {
      for (let i = 0; i < out.length; i++) out[i]! |= second.words[i]!;
      any = true;
    } else any = set(out, second.ids) || any;
    if (state.canEnd) any = set(out, endIds) || any;
    return any;
  }

  #find(automaton: Automaton, state: State, tokens: Tokens): Kept {
    return this.#kept(state, tokens, () => {
      this.#allow(automaton, state, tokens);
      return this.#pack();
    });
  }

  #kept(key: State | Position, tokens: Tokens, make: () => Kept): Kept {
    const keptBy = tokens === this.vocabulary.short ? this.#short : this.#long;
    let kept = keptBy.get(key);
    if (kept === undefined) {
      this.misses++;
      kept = make();
      this.#bytes += size(kept);
    } else {
      this.hits++;
      keptBy.delete(key);
    }
    keptBy.set(key, kept);
    // The ones that were not used for longest come first.
    while (this.#bytes > this.#maxBytes && keptBy.size > 1) {
      const [old, mask] = keptBy.entries().next().value!;
      keptBy.delete(old);
      this.#bytes -= size(mask);
    }
    return kept;
  }

  #key(automaton: Automaton, state: State, longest: number): State {
    let changed = false;
    const stacks = state.stacks.map((stack): StackNode => {
      const clamped = stack.position?.clamped(longest + 1);
      if (clamped === undefined || clamped === stack.position) return stack;
      changed = true;
      return automaton.push(stack.below!, clamped);
    });
    return changed ? automaton.state([...new Set(stacks)]) : state;
  }

  // Leaves what is allowed in the work mask.
  #allow(automaton: Automaton, state: State, tokens: Tokens): void {
    const work = this.#work;
    const [only] = state.stacks;
    const top = state.stacks.length === 1 ? only!.position : undefined;
    if (state.free >= tokens.longest) work.set(tokens.plainMask);
    else if (top?.insideString) {
      const plain = this.#kept(top, tokens, () => {
        this.#allowPlain(automaton, state, tokens);
        return this.#pack();
      });
      if ("words" in plain) work.set(plain.words);
      else set(work.fill(0), plain.ids);
    } else this.#allowPlain(automaton, state, tokens);
    // In a string that may be anything, it does not matter what a token begins with.
    this.#walk(automaton, state, top?.anyString ? tokens.endings : tokens.others, work, false, false);
  }

  #allowPlain(automaton: Automaton, state: State, { plain, plainMask }: Tokens): void {
    const removing = state.free > 0 || this.#mostlyFree(automaton, state);
    if (removing) this.#work.set(plainMask);
    else this.#work.fill(0);
    this.#walk(automaton, state, plain, this.#work, true, removing);
  }

  #pack(): Kept {
    const work = this.#work;
    let count = 0;
    for (let i = 0; i < work.length && count <= FEW; i++) {
      for (let word = work[i]!; word !== 0; word &= word - 1) count++;
    }
    if (count > FEW) return { words: work.slice() };
    const ids = new Uint32Array(count);
    for (let i = 0, at = 0; at < count; i++) {
      for (let word = work[i]!; word !== 0; word &= word - 1) {
        ids[at++] = i * 32 + 31 - Math.clz32(word & -word);
      }
    }
    return { ids };
  }

  #mostlyFree(automaton: Automaton, state: State): boolean {
    let free = 0;
    for (let letter = 0; letter < 26; letter++) {
      const after = automaton.step(state, 0x61 + letter);
      if (after === null && letter > 12 && free === 0) return false;
      if (after !== null && after.free > 0) free++;
    }
    return free > 13;
  }

  // Sets the tokens that are allowed or, where all are set already, clears those that are not. Below a state that
  // takes all that the subtree has, nothing is walked.
  #walk(
    automaton: Automaton,
    state: State,
    trie: Trie,
    mask: Uint32Array,
    plain: boolean,
    removing: boolean,
  ): void {
    const { size, byte, depth, end, first, own, ids, reach, classes } = trie;
    const path = this.#path;
    path[0] = state;
    for (let node = 0; node < size;) {
      const at = depth[node]!;
      const before = path[at]!;
      const after = before.next?.[byte[node]!] ?? automaton.step(before, byte[node]!);
      let last = node;
      if (after === null) {
        last = end[node]!;
        if (removing) { for (let i = first[node]!; i < first[last]!; i++) clearBit(mask, ids[i]!); }
        node = last;
        continue;
      }
      const all = (plain && after.free > 0 && after.free >= reach[node]!) ||
        (after === before && (classes[node]! & ~(after.loops ??= loops(automaton, after))) === 0);
      if (all) last = end[node]!;
      if (!removing) {
        const until = all ? first[last]! : own[node]!;
        for (let i = first[node]!; i < until; i++) setBit(mask, ids[i]!);
      }
      path[at + 1] = after;
      node = all ? last : node + 1;
    }
    path.length = 1;
  }
}

function loops(automaton: Automaton, state: State): number {
  let found = 0;
  CLASSES.forEach((bytes, i) => {
    if (bytes.every((byte) => automaton.step(state, byte) === state)) found |= 1 << i;
  });
  return found;
}

function size(mask: Kept): number {
  return BYTES_PER_ENTRY + 4 * ("words" in mask ? mask.words : mask.ids).length;
}

function set(mask: Uint32Array, ids: Uint32Array | readonly number[]): boolean {
  for (let i = 0; i < ids.length; i++) setBit(mask, ids[i]!);
  return ids.length > 0;
}

function setBit(mask: Uint32Array, id: number): void {
  mask[id >> 5]! |= 1 << (id & 31);
}

function clearBit(mask: Uint32Array, id: number): void {
  mask[id >> 5]! &= ~(1 << (id & 31));
}

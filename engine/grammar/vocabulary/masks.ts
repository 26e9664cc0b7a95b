/**
 * Masks: which tokens may come next in a state, found by walking the trees of the vocabulary through the automaton.
 * Where any text may follow inside a string, the tree of plain tokens is not walked. Masks are kept by state, within a
 * number of bytes, and forgotten with the states: what is kept of all grammars together is bounded here.
 */
import type { Automaton, StackNode, State } from "../automaton/automaton.ts";
import type { Position } from "../automaton/position.ts";
import type { Cover } from "./cover.ts";
import type { Tokens, Vocabulary } from "./vocabulary.ts";
import { Walker } from "./walk.ts";

/** A mask with few tokens is kept as their ids. */
const FEW = 512;
const BYTES_PER_ENTRY = 200;

type Kept = { readonly words: Uint32Array } | { readonly ids: Uint32Array };

/** What masks are made for: a grammar. */
export interface MaskSource {
  /** Runs it. */
  readonly automaton: Automaton;
  /** Nodes, positions and states that it holds, and how many it may. */
  readonly size: number;
  /** See `size`. */
  readonly maxSize: number;
  /** Forgets those that a text can come to again. */
  trim(): void;
}

/** What is kept of one grammar: masks by what they are of, the one that was not used for longest first. */
class SourceMasks {
  // A state, or a position inside a string where only plain tokens are concerned.
  readonly short = new Map<State | Position, Kept>();
  readonly long = new Map<State | Position, Kept>();
  readonly shortCovers = new Map<State, Cover>();
  readonly longCovers = new Map<State, Cover>();
  bytes = 0;
  /** The grammar's size when it was last used. */
  size = 0;
}

/** What a mask maker may keep of all grammars together. */
export interface MaskLimits {
  /** Bytes of masks. */
  readonly bytes: number;
  /** Nodes, positions and states, half a kilobyte each: in a larger heap, collections become noticed. */
  readonly items: number;
}

const DEFAULT_LIMITS: MaskLimits = { bytes: 64 << 20, items: 30_000 };

/** Makes and keeps masks for one vocabulary; grammars share it. */
export class MaskMaker {
  /** Whose tokens. */
  readonly vocabulary: Vocabulary;
  readonly #limits: MaskLimits;
  /** The grammar that was not used for longest comes first. */
  readonly #sources = new Map<MaskSource, SourceMasks>();
  #last: MaskSource | undefined;
  #bytes = 0;
  #items = 0;
  readonly #walker = new Walker();
  readonly #work: Uint32Array;
  /** For measurements: masks found among the kept ones, and made. */
  hits = 0;
  /** Masks that had to be made. */
  misses = 0;

  /** Masks of one vocabulary. */
  constructor(vocabulary: Vocabulary, limits: Partial<MaskLimits> = {}) {
    this.vocabulary = vocabulary;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#work = new Uint32Array(vocabulary.words);
  }

  /** Bytes of the kept masks. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A grammar is about to be run: it, or those that were not run for longest, forget what is too much by now. */
  use(source: MaskSource): void {
    if (this.#last !== undefined) this.#measure(this.#last);
    if (source !== this.#last) {
      const kept = this.#sources.get(source) ?? new SourceMasks();
      this.#sources.delete(source);
      this.#sources.set(source, kept);
      this.#last = source;
      this.#measure(source);
    }
    if (source.size > source.maxSize) this.#forget(source);
    for (const old of this.#sources.keys()) {
      if (this.#items <= this.#limits.items || old === source) break;
      this.#forget(old);
      this.#sources.delete(old);
    }
  }

  #measure(source: MaskSource): void {
    const kept = this.#sources.get(source);
    if (kept === undefined) return;
    const { size } = source;
    this.#items += size - kept.size;
    kept.size = size;
  }

  #forget(source: MaskSource): void {
    const kept = this.#sources.get(source)!;
    source.trim();
    this.#bytes -= kept.bytes;
    this.#items -= kept.size;
    kept.bytes = kept.size = 0;
    kept.short.clear();
    kept.long.clear();
    kept.shortCovers.clear();
    kept.longCovers.clear();
  }

  /**
   * Writes the mask of a state, a bit for each token, ends of text included; false where no token is allowed. The
   * grammar is the one last used.
   */
  fill(source: MaskSource, state: State, out: Uint32Array): boolean {
    const { short, long, endIds } = this.vocabulary;
    const { automaton } = source;
    const kept = this.#sources.get(source)!;
    // States that differ only in counts that no token can exhaust share a mask.
    state.shortKey ??= this.#key(automaton, state, short.longest);
    state.longKey ??= this.#key(automaton, state, long.longest);
    const first = this.#find(automaton, kept, state.shortKey, short);
    let any = true;
    if ("words" in first) out.set(first.words);
    else {
      out.fill(0);
      any = set(out, first.ids);
    }
    const second = this.#find(automaton, kept, state.longKey, long);
    if ("words" in second) {
      for (let i = 0; i < out.length; i++) out[i]! |= second.words[i]!;
      any = true;
    } else any = set(out, second.ids) || any;
    if (state.canEnd) any = set(out, endIds) || any;
    return any;
  }

  #find(automaton: Automaton, kept: SourceMasks, state: State, tokens: Tokens): Kept {
    return this.#kept(kept, state, tokens, () => {
      this.#allow(automaton, kept, state, tokens);
      return this.#pack();
    });
  }

  #kept(source: SourceMasks, key: State | Position, tokens: Tokens, make: () => Kept): Kept {
    const keptBy = tokens === this.vocabulary.short ? source.short : source.long;
    let kept = keptBy.get(key);
    if (kept === undefined) {
      this.misses++;
      kept = make();
      this.#count(source, size(kept));
    } else {
      this.hits++;
      keptBy.delete(key);
    }
    keptBy.set(key, kept);
    for (const other of this.#sources.values()) {
      for (const masks of [other.short, other.long]) {
        for (const [old, mask] of masks) {
          if (this.#bytes <= this.#limits.bytes) return kept;
          if (mask === kept) continue;
          masks.delete(old);
          this.#count(other, -size(mask));
        }
      }
    }
    return kept;
  }

  #count(source: SourceMasks, bytes: number): void {
    source.bytes += bytes;
    this.#bytes += bytes;
  }

  #key(automaton: Automaton, state: State, longest: number): State {
    const stacks = state.stacks.map((stack) => clamp(automaton, stack, longest + 1));
    return stacks.every((stack, i) => stack === state.stacks[i])
      ? state
      : automaton.state([...new Set(stacks)]);
  }

  // Leaves what is allowed in the work mask.
  #allow(automaton: Automaton, kept: SourceMasks, state: State, tokens: Tokens): void {
    const work = this.#work;
    const covers = tokens === this.vocabulary.short ? kept.shortCovers : kept.longCovers;
    const [only] = state.stacks;
    const top = state.stacks.length === 1 ? only!.position : undefined;
    if (state.free >= tokens.longest) work.set(tokens.plainMask);
    else if (top?.insideString) {
      const plain = this.#kept(kept, top, tokens, () => {
        this.#walker.walkPlain(automaton, state, tokens, covers, work);
        return this.#pack();
      });
      if ("words" in plain) work.set(plain.words);
      else set(work.fill(0), plain.ids);
    } else this.#walker.walkPlain(automaton, state, tokens, covers, work);
    // In a string that may be anything, it does not matter what a token begins with.
    this.#walker.walk(automaton, state, top?.anyString ? tokens.endings : tokens.others, work);
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
}

// Places in arrays below may be counted, too.
function clamp(automaton: Automaton, stack: StackNode, length: number): StackNode {
  const { position, below } = stack;
  if (position === undefined || below === undefined) return stack;
  const rest = clamp(automaton, below, length), clamped = position.clamped(length);
  return rest === below && clamped === position ? stack : automaton.push(rest, clamped);
}

function size(mask: Kept): number {
  return BYTES_PER_ENTRY + 4 * ("words" in mask ? mask.words : mask.ids).length;
}

function set(mask: Uint32Array, ids: Uint32Array | readonly number[]): boolean {
  for (let i = 0; i < ids.length; i++) mask[ids[i]! >> 5]! |= 1 << (ids[i]! & 31);
  return ids.length > 0;
}

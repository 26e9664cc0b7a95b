/**
 * Masks: which tokens may come next in a state, found by walking the trees of the vocabulary through the automaton.
 * Where any text may follow inside a string, the tree of plain tokens is not walked. Masks are kept within a number of
 * bytes, by the keys of a state's positions and not by the state: a text that goes on for long makes ever new states, so
 * these are forgotten again and again, and the masks stay. What is kept of all grammars together is bounded here.
 */
import type { Automaton, StackNode, State } from "../automaton/automaton.ts";
import type { Position } from "../automaton/position.ts";
import type { Cover } from "./cover.ts";
import type { Tokens, Vocabulary } from "./vocabulary.ts";
import { Walker } from "./walk.ts";

/** A mask with few tokens is kept as their ids. */
const FEW = 512;
const BYTES_PER_ENTRY = 200;
/** Grammars of which masks are kept: all that is kept of a grammar lives in the heap. */
const MOST_SOURCES = 16;

type Kept = { readonly words: Uint32Array } | { readonly ids: Uint32Array };

/** What masks are made for: a grammar. */
export interface MaskSource {
  /** Runs it. */
  readonly automaton: Automaton;
  /** Nodes, positions and states that it holds, and how many it may. */
  readonly size: number;
  /** See `size`. */
  readonly maxSize: number;
  /** Forgets those that a text can come to again; languages only if `all` are to go. */
  trim(all: boolean): void;
}

/** What is kept of one grammar: masks by what they are of, the one that was not used for longest first. */
class SourceMasks {
  // By a state's key, or by that of a position inside a string where only plain tokens are concerned.
  readonly short = new Map<string, Kept>();
  readonly long = new Map<string, Kept>();
  readonly shortCovers = new Map<State, Cover>();
  readonly longCovers = new Map<State, Cover>();
  bytes = 0;
  /** The grammar's size when it was last looked at. */
  size = 0;
  /** What it has forgotten since it was last used. */
  forgotten: "nothing" | "states" | "all" = "nothing";
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
    const own = this.#sources.get(source)!;
    own.forgotten = "nothing";
    for (const what of ["states", "all"] as const) {
      if (source.size > source.maxSize) this.#forget(source, own, what);
    }
    for (const what of ["states", "all"] as const) {
      for (const [old, kept] of this.#sources) {
        if (this.#items <= this.#limits.items) break;
        if (old !== source) this.#forget(old, kept, what);
      }
    }
    for (const [old, kept] of this.#sources) {
      if (this.#sources.size <= MOST_SOURCES) break;
      this.#bytes -= kept.bytes;
      this.#items -= kept.size;
      this.#sources.delete(old);
    }
  }

  #measure(source: MaskSource): void {
    const kept = this.#sources.get(source);
    if (kept !== undefined) this.#resize(source, kept);
  }

  #resize(source: MaskSource, kept: SourceMasks): void {
    const { size } = source;
    this.#items += size - kept.size;
    kept.size = size;
  }

  // Masks stay: their keys mean the same afterwards.
  #forget(source: MaskSource, kept: SourceMasks, what: "states" | "all"): void {
    if (kept.forgotten === what || kept.forgotten === "all") return;
    source.trim(what === "all");
    kept.forgotten = what;
    kept.shortCovers.clear();
    kept.longCovers.clear();
    this.#resize(source, kept);
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
    state.shortKey ??= keyOf(state, short.longest + 1);
    state.longKey ??= keyOf(state, long.longest + 1);
    const first = this.#find(automaton, kept, state, state.shortKey, short);
    let any = true;
    if ("words" in first) out.set(first.words);
    else {
      out.fill(0);
      any = set(out, first.ids);
    }
    const second = this.#find(automaton, kept, state, state.longKey, long);
    if ("words" in second) {
      for (let i = 0; i < out.length; i++) out[i]! |= second.words[i]!;
      any = true;
    } else any = set(out, second.ids) || any;
    if (state.canEnd) any = set(out, endIds) || any;
    return any;
  }

  #find(automaton: Automaton, kept: SourceMasks, state: State, key: string, tokens: Tokens): Kept {
    return this.#kept(kept, key, tokens, () => {
      this.#allow(automaton, kept, clampedState(automaton, state, tokens.longest + 1), tokens);
      return this.#pack();
    });
  }

  #kept(source: SourceMasks, key: string, tokens: Tokens, make: () => Kept): Kept {
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
    if (this.#bytes > this.#limits.bytes) this.#drop(kept);
    return kept;
  }

  // Forgets masks other than the one just used until what is kept fits.
  #drop(kept: Kept): void {
    for (const other of this.#sources.values()) {
      for (const masks of [other.short, other.long]) {
        for (const [old, mask] of masks) {
          if (this.#bytes <= this.#limits.bytes) return;
          if (mask === kept) continue;
          masks.delete(old);
          this.#count(other, -size(mask));
        }
      }
    }
  }

  #count(source: SourceMasks, bytes: number): void {
    source.bytes += bytes;
    this.#bytes += bytes;
  }

  // Leaves what is allowed in the work mask.
  #allow(automaton: Automaton, kept: SourceMasks, state: State, tokens: Tokens): void {
    const work = this.#work;
    const covers = tokens === this.vocabulary.short ? kept.shortCovers : kept.longCovers;
    const [only] = state.stacks;
    const top = state.stacks.length === 1 ? only!.position : undefined;
    if (state.free >= tokens.longest) work.set(tokens.plainMask);
    else if (top?.insideString) {
      const plain = this.#kept(kept, PLAIN + keyOfPosition(top), tokens, () => {
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

/** In front of the key of a position, where a mask is of plain tokens only. A state's key does not begin so. */
const PLAIN = "plain ";

// The keys of the positions that a state has when counts are clamped: equal for states with equal masks.
function keyOf(state: State, length: number): string {
  const keys = state.stacks.map((stack) => {
    let key = "";
    for (let on: StackNode | undefined = stack; on?.position !== undefined; on = on.below) {
      key += keyOfPosition(on.position.clamped(length));
    }
    return key;
  });
  return keys.length === 1 ? keys[0]! : [...new Set(keys)].sort().join("|");
}

// A key may have any character, so its length comes first.
function keyOfPosition({ key }: Position): string {
  if (key === "") throw new Error("a position that is not of the table has no masks");
  return typeof key === "number" ? `#${key} ` : `${key.length} ${key}`;
}

// Places in arrays below may be counted, too.
function clampedState(automaton: Automaton, state: State, length: number): State {
  const stacks = state.stacks.map((stack) => clamp(automaton, stack, length));
  return stacks.every((stack, i) => stack === state.stacks[i])
    ? state
    : automaton.state([...new Set(stacks)]);
}

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

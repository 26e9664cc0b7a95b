/**
 * The automaton: a set of stacks of positions, taking bytes. Stacks share their lower parts, equal stacks are one
 * object and equal sets are one state, whose successors are kept: walking a text that was walked before is one lookup
 * a byte, and a new byte costs the positions on top and nothing else. There is no backtracking: all readings of a text
 * are followed at once, up to a limit.
 */
import { GrammarError } from "../errors.ts";
import type { Budget, GrammarLimits } from "../limits.ts";
import { type ByByte, getByte, withByte } from "./by_byte.ts";
import type { Position } from "./position.ts";

/** One stack: a position and what is below it. The root stands for "nothing left to come". */
export class StackNode {
  /** The one on top; undefined at the root. */
  readonly position: Position | undefined;
  /** The rest; undefined at the root. */
  readonly below: StackNode | undefined;
  /** Positions in it. */
  readonly depth: number;
  /** Never used twice. */
  readonly id: number;
  /** Stacks with one position more, by that position. */
  above: Map<Position, StackNode> | undefined;
  /** The state of this stack alone. */
  alone: State | undefined;

  /** Made by `Automaton.push` only. */
  constructor(id: number, position: Position | undefined, below: StackNode | undefined) {
    this.id = id;
    this.position = position;
    this.below = below;
    this.depth = below === undefined ? 0 : below.depth + 1;
  }
}

/** All readings of a text so far. Never changes, so keeping it is all that going back needs. */
export class State {
  /** One for each reading. */
  readonly stacks: readonly StackNode[];
  /** Whether the text may end here. */
  readonly canEnd: boolean;
  /** How many ordinary characters may follow: see `Position.free`. */
  readonly free: number;
  /** Successors by byte: null is none, undefined not yet known. */
  next: ByByte<State> | undefined;
  /** Memo of the keys of this state's masks, of short and of long tokens. */
  shortKey: string | undefined;
  /** See `shortKey`. */
  longKey: string | undefined;
  /** Memo: the classes of bytes that all lead back to this state. */
  loops: number | undefined;

  /** Made by `Automaton.state` only. */
  constructor(stacks: readonly StackNode[]) {
    this.stacks = stacks;
    this.canEnd = stacks.some((stack) => {
      let on: StackNode | undefined = stack;
      while (on?.position?.nullable) on = on.below;
      return on !== undefined && on.position === undefined;
    });
    this.free = stacks.reduce((most, stack) => Math.max(most, stack.position?.free ?? 0), 0);
  }
}

/** Runs one grammar. Its tables only grow between calls of `trim`. */
export class Automaton {
  readonly #limits: GrammarLimits;
  readonly #budget: () => Budget;
  readonly #first: Position | undefined;
  // Numbers are never used twice: stacks from before `clear` may stand beside new ones.
  #nextId = 1;
  #root = new StackNode(0, undefined, undefined);
  #states = new Map<string, State>();
  // Everything made since the last `clear`, to cut it loose then.
  #stacks: StackNode[] = [];
  #made: State[] = [];
  #start: State | undefined;

  /** `first` undefined: only the empty text. */
  constructor(first: Position | undefined, limits: GrammarLimits, budget: () => Budget) {
    this.#first = first;
    this.#limits = limits;
    this.#budget = budget;
  }

  /** Before the first byte. */
  get start(): State {
    if (this.#start === undefined) {
      const stack = this.#first === undefined ? this.#root : this.push(this.#root, this.#first);
      this.#start = this.state([stack]);
    }
    return this.#start;
  }

  /** Stacks and states held. */
  get size(): number {
    return this.#stacks.length + 4 * this.#made.length;
  }

  /** Forgets what was walked. States held elsewhere stay valid; equal ones made later are other objects. */
  clear(): void {
    for (const stack of [this.#root, ...this.#stacks]) stack.above = stack.alone = undefined;
    for (const state of this.#made) state.next = state.loops = undefined;
    this.#stacks = [];
    this.#made = [];
    this.#states = new Map();
    this.#start = undefined;
  }

  /** The state after a byte, or null where the grammar allows none. */
  step(state: State, byte: number): State | null {
    const known = getByte(state.next, byte);
    if (known !== undefined) return known;
    const after = this.#step(state, byte);
    state.next = withByte(state.next, byte, after);
    return after;
  }

  #step(state: State, byte: number): State | null {
    this.#budget().spend();
    const { stacks } = state;
    const found: StackNode[] = [];
    for (let i = 0; i < stacks.length; i++) {
      // A position that may be through hands the byte to the one below as well.
      for (let on: StackNode | undefined = stacks[i]; on?.position !== undefined; on = on.below) {
        for (const row of on.position.on(byte)) {
          let stack = on.below!;
          for (const position of row) stack = this.push(stack, position);
          if (!found.includes(stack) && stack.depth <= this.#limits.textDepth) found.push(stack);
        }
        if (!on.position.nullable) break;
      }
    }
    if (found.length === 0) return null;
    if (found.length > this.#limits.stacks) {
      throw new GrammarError(
        "limit",
        "grammar",
        "",
        `the text can be read in more than ${this.#limits.stacks} ways`,
      );
    }
    return this.state(found);
  }

  /** A stack with one position more. */
  push(below: StackNode, position: Position): StackNode {
    const known = below.above?.get(position);
    if (known !== undefined) return known;
    this.#budget().spend();
    const stack = new StackNode(this.#nextId++, position, below);
    this.#stacks.push(stack);
    (below.above ??= new Map()).set(position, stack);
    return stack;
  }

  /** The state of these stacks. */
  state(stacks: readonly StackNode[]): State {
    const [only] = stacks;
    if (stacks.length === 1) return only!.alone ??= this.#make(stacks);
    const sorted = [...stacks].sort((a, b) => a.id - b.id);
    const key = sorted.map((stack) => stack.id).join();
    let state = this.#states.get(key);
    if (state === undefined) this.#states.set(key, state = this.#make(sorted));
    return state;
  }

  #make(stacks: readonly StackNode[]): State {
    const state = new State(stacks);
    this.#made.push(state);
    return state;
  }
}

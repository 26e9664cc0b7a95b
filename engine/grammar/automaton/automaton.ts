/**
 * The automaton: a set of stacks of positions, taking bytes. Stacks share their lower parts, equal stacks are one
 * object and equal sets are one state, whose successors are kept: walking a text that was walked before is one lookup
 * a byte, and a new byte costs the positions on top and nothing else. There is no backtracking: all readings of a text
 * are followed at once, up to a limit.
 */
import { GrammarError } from "../errors.ts";
import type { Budget, GrammarLimits } from "../limits.ts";
import { ByteTable, NOWHERE, UNKNOWN } from "./byte_table.ts";
import type { Position } from "./position.ts";
import type { PositionTable } from "./table.ts";

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
  /** Stacks with one position more: the only one, or by that position. */
  above: StackNode | Map<Position, StackNode> | undefined;
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
  /** In its automaton, since that was last cleared; -1: none yet. */
  number = -1;
  /** Memo of the keys of this state's masks, of short and of long tokens. */
  shortKey: string | undefined;
  /** See `shortKey`. */
  longKey: string | undefined;
  /** Memo: the classes of bytes that all lead back to this state. */
  loops: number | undefined;

  /** Made by `Automaton.state` only. */
  constructor(stacks: readonly StackNode[]) {
    this.stacks = stacks;
    let canEnd = false, free = 0;
    for (let i = 0; i < stacks.length; i++) {
      let on: StackNode | undefined = stacks[i];
      free = Math.max(free, on!.position?.free ?? 0);
      while (on?.position?.nullable) on = on.below;
      canEnd ||= on !== undefined && on.position === undefined;
    }
    this.canEnd = canEnd;
    this.free = free;
  }
}

/** Runs one grammar. Its tables only grow between calls of `trim`. */
export class Automaton {
  readonly #limits: GrammarLimits;
  readonly #budget: () => Budget;
  readonly #first: Position | undefined;
  readonly #table: PositionTable;
  // Numbers are never used twice: stacks from before `clear` may stand beside new ones.
  #nextId = 1;
  #root = new StackNode(0, undefined, undefined);
  #states = new Map<string, State>();
  // Everything made since the last `clear`, to cut it loose then.
  #stacks: StackNode[] = [];
  #made: State[] = [];
  // What each byte of a state leads to: one more than the number of a state.
  readonly #next = new ByteTable();
  #start: State | undefined;

  /** `first` undefined: only the empty text. */
  constructor(
    first: Position | undefined,
    table: PositionTable,
    limits: GrammarLimits,
    budget: () => Budget,
  ) {
    this.#first = first;
    this.#table = table;
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
    for (const state of this.#made) {
      state.number = -1;
      state.loops = undefined;
    }
    this.#stacks = [];
    this.#made = [];
    this.#next.clear();
    this.#states = new Map();
    this.#start = undefined;
  }

  /** A state's number: walks follow states by number. */
  numberOf(state: State): number {
    if (state.number < 0) state.number = this.#made.push(state) - 1;
    return state.number;
  }

  /** The state of a number. */
  at(number: number): State {
    return this.#made[number]!;
  }

  /** As `follow` as far as that is known; else `UNKNOWN`. */
  known(number: number, byte: number): number {
    return this.#next.get(number, byte);
  }

  /** The state after a byte, or null where the grammar allows none. */
  step(state: State, byte: number): State | null {
    const after = this.follow(this.numberOf(state), byte);
    return after === NOWHERE ? null : this.#made[after - 1]!;
  }

  /** As `step` by numbers: `NOWHERE` or one more than a state's. */
  follow(number: number, byte: number): number {
    const known = this.#next.get(number, byte);
    if (known !== UNKNOWN) return known;
    const state = this.#step(this.#made[number]!, byte);
    const after = state === null ? NOWHERE : this.numberOf(state) + 1;
    this.#next.set(number, byte, after);
    return after;
  }

  #step(state: State, byte: number): State | null {
    this.#budget().spend();
    const { stacks } = state;
    // One stack is what there nearly always is: no list is made for it.
    let only: StackNode | undefined;
    let found: StackNode[] | undefined;
    for (let i = 0; i < stacks.length; i++) {
      // A position that may be through hands the byte to the one below as well.
      for (let on: StackNode | undefined = stacks[i]; on?.position !== undefined; on = on.below) {
        const rows = this.#table.on(on.position, byte);
        for (let r = 0; r < rows.length; r++) {
          let stack = on.below!;
          const row = rows[r]!;
          for (let p = 0; p < row.length; p++) stack = this.push(stack, row[p]!);
          if (stack === only || stack.depth > this.#limits.textDepth) continue;
          if (only === undefined) only = stack;
          else if (found === undefined) found = [only, stack];
          else if (!found.includes(stack)) found.push(stack);
        }
        if (!on.position.nullable) break;
      }
    }
    if (only === undefined) return null;
    if (found === undefined) return this.#alone(only);
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
    const { above } = below;
    const known = above instanceof StackNode
      ? above.position === position ? above : undefined
      : above?.get(position);
    if (known !== undefined) return known;
    this.#budget().spend();
    const stack = new StackNode(this.#nextId++, position, below);
    this.#stacks.push(stack);
    if (above === undefined) below.above = stack;
    else if (above instanceof StackNode) below.above = new Map([[above.position!, above], [position, stack]]);
    else above.set(position, stack);
    return stack;
  }

  /** The state of these stacks. */
  state(stacks: readonly StackNode[]): State {
    if (stacks.length === 1) return this.#alone(stacks[0]!);
    const sorted = [...stacks].sort((a, b) => a.id - b.id);
    const key = sorted.map((stack) => stack.id).join();
    let state = this.#states.get(key);
    if (state === undefined) this.#states.set(key, state = this.#make(sorted));
    return state;
  }

  #alone(stack: StackNode): State {
    return stack.alone ??= this.#make([stack]);
  }

  #make(stacks: readonly StackNode[]): State {
    const state = new State(stacks);
    this.numberOf(state);
    return state;
  }
}

/**
 * Limits on what a grammar may cost, so that hostile input ends in a typed error and not in a busy server. Work is
 * counted in steps (a derivative, a position, a schema node), and the clock is looked at once in a while, so that a
 * compilation ends within its time whatever it does.
 */
import { GrammarError } from "./errors.ts";

/** What compiling and running one grammar may take. */
export interface GrammarLimits {
  /** Characters of a schema (as JSON), an expression or a grammar. */
  readonly sourceLength: number;
  /** Nesting of the source: schemas, parentheses. */
  readonly sourceDepth: number;
  /** Milliseconds for compiling. */
  readonly compileMs: number;
  /** Steps of work for compiling. */
  readonly compileSteps: number;
  /** Steps of work for one mask or one accepted token. */
  readonly maskSteps: number;
  /** Nodes, positions and states kept before the caches are emptied. */
  readonly cachedItems: number;
  /** Alternatives of one schema location for one type, after merging. */
  readonly alternatives: number;
  /** Stacks followed at once: how ambiguous a text may be. */
  readonly stacks: number;
  /** Nesting of the text itself: open objects and arrays, calls of rules. */
  readonly textDepth: number;
}

/** Defaults: hostile input ends within a second on a slow core. */
export const DEFAULT_LIMITS: GrammarLimits = {
  sourceLength: 2_000_000,
  sourceDepth: 500,
  compileMs: 700,
  compileSteps: 1_000_000,
  maskSteps: 4_000_000,
  cachedItems: 40_000,
  alternatives: 256,
  stacks: 256,
  textDepth: 256,
};

/** Milliseconds between two looks at the clock that are taken for work; the rest of a longer time was a pause. */
const LONGEST_GAP = 20;

/**
 * Counts steps against a limit; the clock is read every 256 steps. The time for which the process was stopped, or the
 * machine asleep, is not held against the grammar.
 */
export class Budget {
  #steps: number;
  #milliseconds: number;
  #looked = performance.now();
  readonly #what: string;

  /** `what` names the work in errors. */
  constructor(what: string, steps: number, milliseconds: number) {
    this.#what = what;
    this.#steps = steps;
    this.#milliseconds = milliseconds;
  }

  /** Takes `count` steps. @throws GrammarError of kind `limit` when none are left or the time is up. */
  spend(count = 1): void {
    const before = this.#steps;
    this.#steps = before - count;
    if (this.#steps < 0) {
      throw new GrammarError(
        "limit",
        this.#what,
        "",
        "needs more work than is allowed; simplify the grammar",
      );
    }
    if ((before >> 8) !== (this.#steps >> 8)) this.#look();
  }

  #look(): void {
    const now = performance.now();
    this.#milliseconds -= Math.min(now - this.#looked, LONGEST_GAP);
    this.#looked = now;
    if (this.#milliseconds < 0) {
      throw new GrammarError("limit", this.#what, "", "takes longer than is allowed; simplify the grammar");
    }
  }
}

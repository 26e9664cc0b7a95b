// What a template knows about the loop that it is in: `loop.index`, `loop.last`, `loop.cycle(…)` and the like.

import { type Budget, TemplateError } from "./budget.ts";
import { isEqual } from "./operators.ts";
import { type Arguments, Callable, found, Sequence, Undefined, type Value } from "./value.ts";

/** What a loop remembers from turn to turn, for `loop.changed`. */
export interface LoopState {
  /** What it was asked about last. */
  previous: Value | undefined;
}

/** The variable `loop` in turn `i`; `state` is the same for all turns. */
export function loopVariable(
  items: readonly Value[],
  i: number,
  state: LoopState,
  budget: Budget,
): Callable {
  const count = items.length;
  const changed = (args: Arguments) => {
    const now = new Sequence(args.positional, "tuple");
    const same = state.previous !== undefined && isEqual(state.previous, now, budget);
    state.previous = now;
    return !same;
  };
  const cycle = (args: Arguments) =>
    found(args.positional[i % args.positional.length], new Undefined("cycle has no items"));
  return new Callable(
    "loop",
    () => {
      throw new TemplateError("recursive loops are not supported");
    },
    new Map<string, Value>([
      ["index", i + 1],
      ["index0", i],
      ["revindex", count - i],
      ["revindex0", count - i - 1],
      ["first", i === 0],
      ["last", i === count - 1],
      ["length", count],
      ["depth", 1],
      ["depth0", 0],
      ["previtem", found(items[i - 1], new Undefined("there is no previous item"))],
      ["nextitem", found(items[i + 1], new Undefined("there is no next item"))],
      ["cycle", new Callable("cycle", cycle)],
      ["changed", new Callable("changed", changed)],
    ]),
  );
}

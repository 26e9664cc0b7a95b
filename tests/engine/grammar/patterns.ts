// Random regular expressions, and a builder for them without limits that count.
import fc from "fast-check";
import { Budget } from "../../../engine/grammar/limits.ts";
import { RegexBuilder } from "../../../engine/grammar/regex/builder.ts";
import { Derivatives } from "../../../engine/grammar/regex/derive.ts";
import { ecmaRegex } from "../../../engine/grammar/regex/ecma.ts";

/** A builder, its derivatives, and what an expression means with them; `anchored`: without `^` and `$`, too. */
export function makeRegex(anchored: boolean) {
  const budget = new Budget("test", 1e7, 60_000);
  const regex = new RegexBuilder(() => budget);
  const derivatives = new Derivatives(regex, () => budget);
  const language = (source: string) => ecmaRegex(regex, source, { anchored, path: "", maxDepth: 50 });
  return { regex, derivatives, language };
}

/** Expressions of `atoms`; repeated at least up to `low` times, and up to `more` times beyond that. */
export function patterns(atoms: readonly string[], low: number, more: number): fc.Arbitrary<string> {
  return fc.letrec<{ part: string; atom: string }>((tie) => ({
    part: fc.oneof(
      { maxDepth: 3 },
      tie("atom"),
      fc.tuple(tie("part"), tie("part")).map(([a, b]) => a + b),
      fc.tuple(tie("part"), tie("part")).map(([a, b]) => `(?:${a}|${b})`),
      fc.tuple(tie("part"), fc.nat(low), fc.nat(more)).map(([a, least, further]) =>
        `(?:${a}){${least},${least + further}}`
      ),
      tie("part").map((a) => `(?:${a})*`),
    ),
    atom: fc.constantFrom(...atoms),
  })).part;
}

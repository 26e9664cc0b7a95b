// The automaton against naive references: expressions against the runtime's own engine, grammars against a matcher
// that tries everything, on random ones of both.
import assert from "node:assert/strict";
import fc from "fast-check";
import { GrammarError } from "../../../engine/grammar/errors.ts";
import { compileGrammar } from "../../../engine/grammar/grammar.ts";
import { accepts, schemaGrammar } from "./support.ts";

// Random expressions over a small alphabet, as source text.
const { expression } = fc.letrec<{ expression: string; atom: string; group: string }>((tie) => ({
  expression: fc.oneof(
    { maxDepth: 4 },
    tie("atom"),
    fc.tuple(tie("expression"), tie("expression")).map(([a, b]) => a + b),
    fc.tuple(tie("expression"), tie("expression")).map(([a, b]) => `(?:${a}|${b})`),
    fc.tuple(tie("group"), fc.constantFrom("*", "+", "?", "{2}", "{1,3}", "{2,}", "{0,2}")).map(([a, b]) =>
      a + b
    ),
  ),
  atom: fc.constantFrom("a", "b", "c", "é", "[ab]", "[^a]", ".", "\\d", "\\w", "(?:)", "1"),
  group: tie("expression").map((inner) => `(?:${inner})`),
}));
const assertion = fc.oneof(
  { weight: 4, arbitrary: fc.constant("") },
  { weight: 1, arbitrary: fc.constantFrom("^", "$") },
  { weight: 1, arbitrary: expression.chain((inner) => fc.constantFrom(`(?=${inner})`, `(?!${inner})`)) },
);
const asserting = fc.tuple(assertion, expression, assertion, expression, assertion).map((parts) =>
  parts.join("")
);
const text = fc.array(fc.constantFrom("a", "b", "c", "1", "é", "\n"), { maxLength: 7 }).map((chars) =>
  chars.join("")
);

Deno.test("a regular expression matches whole texts as the runtime's engine does", () => {
  fc.assert(
    fc.property(expression, fc.array(text, { minLength: 4, maxLength: 4 }), (source, texts) => {
      const grammar = compileGrammar({ kind: "regex", pattern: source });
      const reference = new RegExp(`^(?:${source})$`, "u");
      for (const one of texts) {
        assert.equal(accepts(grammar, one), reference.test(one), `${source} on ${JSON.stringify(one)}`);
      }
    }),
    { numRuns: 3000, seed: 1 },
  );
});

Deno.test("counted repetitions beside and inside each other match as the runtime's engine says", () => {
  const times = fc.tuple(fc.nat(4), fc.nat(4)).map(([min, more]) => `{${min},${min + more}}`);
  const branch = fc.tuple(
    fc.constantFrom("a", "[ab]", "(?:ab?)"),
    times,
    fc.constantFrom("", "b", "c", "b{1,2}"),
  )
    .map((parts) => parts.join(""));
  const branches = fc.array(branch, { minLength: 2, maxLength: 4 }).map((all) => `(?:${all.join("|")})`);
  const nested = fc.tuple(branches, times, fc.constantFrom("", "c")).map((parts) => parts.join(""));
  const letters = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 12 }).map((chars) => chars.join(""));
  const regular = fc.oneof(branches, nested);
  fc.assert(
    fc.property(regular, fc.array(letters, { minLength: 8, maxLength: 8 }), (source, texts) => {
      const grammar = compileGrammar({ kind: "regex", pattern: source });
      const reference = new RegExp(`^(?:${source})$`);
      const counts = Array.from({ length: 10 }, (_, n) => ["", "b", "c"].map((end) => "a".repeat(n) + end));
      for (const one of [...texts, ...counts.flat()]) {
        assert.equal(accepts(grammar, one), reference.test(one), `${source} on ${one}`);
      }
    }),
    { numRuns: 2000, seed: 4 },
  );
});

Deno.test("`pattern` finds what the runtime's engine finds, with anchors and lookaheads", () => {
  fc.assert(
    fc.property(asserting, fc.array(text, { minLength: 4, maxLength: 4 }), (source, texts) => {
      const reference = new RegExp(source, "u");
      let grammar;
      try {
        grammar = schemaGrammar({ type: "string", pattern: source });
      } catch (error) {
        assert.ok(error instanceof GrammarError && error.kind === "empty", String(error));
        for (const one of texts) assert.ok(!reference.test(one), `${source} is called empty`);
        return;
      }
      for (const one of texts) {
        assert.equal(
          accepts(grammar, JSON.stringify(one)),
          reference.test(one),
          `${source} on ${JSON.stringify(one)}`,
        );
      }
    }),
    { numRuns: 3000, seed: 2 },
  );
});

// Random grammars: each rule's body may call any rule.
type Body =
  | { kind: "text"; text: string }
  | { kind: "rule"; rule: number }
  | { kind: "sequence" | "choice"; parts: Body[] }
  | { kind: "star" | "maybe" | "plus"; part: Body };

const RULES = 3;
const { body } = fc.letrec<{ body: Body }>((tie) => ({
  body: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom("a", "b", "(", ")", "ab", "").map((text): Body => ({ kind: "text", text })),
    fc.nat(RULES - 1).map((rule): Body => ({ kind: "rule", rule })),
    fc.tuple(fc.constantFrom("sequence", "choice"), fc.array(tie("body"), { minLength: 1, maxLength: 3 }))
      .map(([kind, parts]) => ({ kind, parts }) as Body),
    fc.tuple(fc.constantFrom("star", "maybe", "plus"), tie("body")).map(([kind, part]) =>
      ({ kind, part }) as Body
    ),
  ),
}));

function write(body: Body): string {
  switch (body.kind) {
    case "text":
      return JSON.stringify(body.text);
    case "rule":
      return ["root", "x", "y"][body.rule]!;
    case "sequence":
      return `(${body.parts.map(write).join(" ")})`;
    case "choice":
      return `(${body.parts.map(write).join(" | ")})`;
    case "star":
      return `(${write(body.part)})*`;
    case "maybe":
      return `(${write(body.part)})?`;
    case "plus":
      return `(${write(body.part)})+`;
  }
}

// Where a body can end from each place of the text, by repeating until nothing new is found.
function naive(rules: readonly Body[], text: string): boolean {
  const known = rules.map(() => Array.from({ length: text.length + 1 }, () => new Set<number>()));
  const ends = (body: Body, from: number): Set<number> => {
    switch (body.kind) {
      case "text":
        return new Set(text.startsWith(body.text, from) ? [from + body.text.length] : []);
      case "rule":
        return known[body.rule]![from]!;
      case "choice":
        return new Set(body.parts.flatMap((part) => [...ends(part, from)]));
      case "sequence":
        return body.parts.reduce(
          (at, part) => new Set([...at].flatMap((one) => [...ends(part, one)])),
          new Set([from]),
        );
      case "maybe":
        return new Set([from, ...ends(body.part, from)]);
      case "star":
      case "plus": {
        const found = new Set(body.kind === "star" ? [from] : ends(body.part, from));
        for (const one of found) for (const next of ends(body.part, one)) found.add(next);
        return found;
      }
    }
  };
  for (let changed = true; changed;) {
    changed = false;
    rules.forEach((body, rule) => {
      for (let from = 0; from <= text.length; from++) {
        for (const end of ends(body, from)) {
          if (known[rule]![from]!.has(end)) continue;
          known[rule]![from]!.add(end);
          changed = true;
        }
      }
    });
  }
  return known[0]![0]!.has(text.length);
}

Deno.test("a grammar accepts exactly the texts that a matcher trying everything accepts", () => {
  let tried = 0;
  const refused = new Map<string, number>();
  const texts = fc.array(
    fc.array(fc.constantFrom("a", "b", "(", ")"), { maxLength: 6 }).map((chars) => chars.join("")),
    { minLength: 5, maxLength: 5 },
  );
  fc.assert(
    fc.property(fc.array(body, { minLength: RULES, maxLength: RULES }), texts, (rules, texts) => {
      const source = rules.map((body, i) => `${["root", "x", "y"][i]} ::= ${write(body)}`).join("\n");
      let grammar;
      try {
        grammar = compileGrammar({ kind: "ebnf", grammar: source });
      } catch (error) {
        assert.ok(error instanceof GrammarError, String(error));
        refused.set(error.kind, (refused.get(error.kind) ?? 0) + 1);
        assert.ok(error.kind === "unsupported" || error.kind === "empty", `${source}\n${error}`);
        // A rule may never end and yet not be needed: then it is refused all the same, as a mistake.
        return;
      }
      tried++;
      for (const text of texts) {
        assert.equal(accepts(grammar, text), naive(rules, text), `${source}\non ${JSON.stringify(text)}`);
      }
    }),
    { numRuns: 4000, seed: 3 },
  );
  assert.ok(tried > 2000, `${tried} were compiled, refused: ${JSON.stringify([...refused])}`);
});

/**
 * Compiles a source into a grammar that matchers run. One grammar serves any number of matchers on one thread; another
 * thread compiles the same source again, which takes about a millisecond.
 */
import { Automaton, type State } from "./automaton/automaton.ts";
import type { Position } from "./automaton/position.ts";
import { PositionTable } from "./automaton/table.ts";
import { GrammarError } from "./errors.ts";
import { type JsonStyle } from "./json/context.ts";
import { JsonValues } from "./json/values.ts";
import { Budget, DEFAULT_LIMITS, type GrammarLimits } from "./limits.ts";
import { RegexBuilder } from "./regex/builder.ts";
import { Derivatives } from "./regex/derive.ts";
import { ecmaRegex } from "./regex/ecma.ts";
import { ebnfTerm } from "./rules/ebnf.ts";
import { FreeText, type Triggered } from "./rules/free_text.ts";
import { type Term, Terms } from "./rules/term.ts";
import { SchemaCompiler } from "./schema/compiler.ts";
import { type Json, SchemaDocument } from "./schema/document.ts";
import type { GrammarSource, TagsSource } from "./source.ts";

/** How to compile. */
export interface GrammarOptions {
  /** Instead of the defaults. */
  readonly limits?: Partial<GrammarLimits>;
  /** How JSON is written. */
  readonly style?: Partial<JsonStyle>;
  /** Formats that no draft and not OpenAPI knows: refused unless they are to be annotations. */
  readonly unknownFormats?: "refuse" | "ignore";
}

/** Milliseconds for one mask or token of a hostile grammar. */
const RUN_MS = 3000;

/** A compiled grammar. */
export class Grammar {
  /** What it was made from. */
  readonly source: GrammarSource;
  /** How it was compiled. */
  readonly options: GrammarOptions;
  /** Runs it. */
  readonly automaton: Automaton;
  readonly #limits: GrammarLimits;
  readonly #regex: RegexBuilder;
  readonly #table: PositionTable;
  #budget: Budget;

  /** Compiles. @throws GrammarError: see `compileGrammar` */
  constructor(source: GrammarSource, options: GrammarOptions = {}) {
    this.source = source;
    this.options = options;
    const limits = this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#budget = new Budget("grammar", limits.compileSteps, limits.compileMs);
    const budget = (): Budget => this.#budget;
    this.#regex = new RegexBuilder(budget);
    const derivatives = new Derivatives(this.#regex, budget);
    this.#table = new PositionTable(this.#regex, derivatives, budget);
    const renew = () => this.#budget = new Budget("grammar", limits.compileSteps, limits.compileMs);
    const compiler = new SourceCompiler(this.#table, limits, options, budget, renew);
    let first: Position | undefined;
    try {
      first = compiler.position(source);
    } catch (error) {
      if (error instanceof RangeError) {
        throw new GrammarError("limit", "grammar", "", "is nested too deeply; simplify it");
      }
      throw error;
    }
    this.automaton = new Automaton(first, this.#table, limits, budget);
    this.#regex.clear(); // what compiling alone needed
  }

  /** Where a text begins. */
  get start(): State {
    return this.automaton.start;
  }

  /** Nodes, positions and states held: what compiling made, and what texts came through since. */
  get size(): number {
    return this.automaton.size + this.#table.size + this.#regex.size;
  }

  /** When the caches are too large. */
  get maxSize(): number {
    return this.#limits.cachedItems;
  }

  /** Begins a piece of work of its own budget. */
  begin(): void {
    this.#budget = new Budget("grammar", this.#limits.maskSteps, RUN_MS);
  }

  /**
   * Empties the caches. States that matchers hold stay valid. Languages and where they lead stay unless `all` are to
   * go: masks are kept by them.
   */
  trim(all: boolean): void {
    this.automaton.clear();
    this.#table.clear();
    this.#regex.clear(all);
  }
}

/**
 * Compiles a source.
 * @throws GrammarError where it is not enforced exactly, is malformed, costs too much or allows nothing
 */
export function compileGrammar(source: GrammarSource, options: GrammarOptions = {}): Grammar {
  return new Grammar(source, options);
}

class SourceCompiler {
  readonly #table: PositionTable;
  readonly #terms: Terms;
  readonly #limits: GrammarLimits;
  readonly #options: GrammarOptions;
  readonly #budget: () => Budget;
  readonly #renew: () => void;
  #depth = 0;
  #length = 0;
  /** A lenient schema has used the budget up: others are not tried. */
  #tired = false;

  constructor(
    table: PositionTable,
    limits: GrammarLimits,
    options: GrammarOptions,
    budget: () => Budget,
    renew: () => void,
  ) {
    this.#renew = renew;
    this.#table = table;
    this.#terms = new Terms(table);
    this.#limits = limits;
    this.#options = options;
    this.#budget = budget;
  }

  position(source: GrammarSource): Position | undefined {
    return this.#terms.position(this.#term(source));
  }

  #term(source: GrammarSource): Term {
    if (++this.#depth > 20) {
      throw new GrammarError("limit", source.kind, "", "grammars are nested too deeply");
    }
    try {
      return this.#compile(source);
    } finally {
      this.#depth--;
    }
  }

  #compile(source: GrammarSource): Term {
    const { regex, derivatives } = this.#table;
    const maxDepth = this.#limits.sourceDepth;
    switch (source.kind) {
      case "json_schema":
        if (source.lenient) return this.#lenient(source.schema);
        this.#measure(source.kind, JSON.stringify(source.schema)?.length ?? 0);
        return this.#json(source.schema);
      case "json_object":
        return this.#json({ type: "object" });
      case "regex": {
        this.#measure(source.kind, source.pattern.length);
        const node = ecmaRegex(regex, source.pattern, { anchored: true, path: "", maxDepth });
        if (!derivatives.live(node)) throw new GrammarError("empty", "regex", "", "matches no text");
        return this.#terms.text(node);
      }
      case "ebnf": {
        this.#measure(source.kind, source.grammar.length);
        const options = { root: source.root ?? "root", maxDepth, budget: this.#budget };
        return ebnfTerm(this.#terms, regex, source.grammar, options);
      }
      case "choice":
        if (source.choices.length === 0) {
          throw new GrammarError("empty", "choice", "", "there is nothing to choose");
        }
        this.#measure(source.kind, source.choices.reduce((sum, choice) => sum + choice.length, 0));
        return this.#terms.text(regex.literals(source.choices));
      case "sequence":
        return this.#terms.sequence(source.parts.map((part) => this.#term(part)));
      case "any_of":
        if (source.parts.length === 0) {
          throw new GrammarError("empty", "any_of", "", "there is nothing to choose");
        }
        return this.#terms.alternatives(source.parts.map((part) => this.#term(part)));
      case "any_text": {
        const text = new FreeText(this.#table, this.#terms, [], { stopAfterFirst: false });
        return { kind: "position", position: text.at("", true) };
      }
      case "tags":
        return this.#tags(source);
    }
  }

  #lenient(schema: Json): Term {
    try {
      if (!this.#tired) return this.#compile({ kind: "json_schema", schema });
    } catch (error) {
      if (!(error instanceof GrammarError || error instanceof RangeError)) throw error;
      if (error instanceof RangeError || error.kind === "limit") {
        this.#tired = true;
        this.#renew();
      }
    }
    return this.#compile({ kind: "json_object" });
  }

  #measure(keyword: string, length: number): void {
    this.#length += length;
    if (this.#length > this.#limits.sourceLength) {
      throw new GrammarError(
        "limit",
        keyword,
        "",
        `has ${this.#length} characters; at most ${this.#limits.sourceLength} are allowed`,
      );
    }
  }

  #json(schema: Json): Term {
    const compiler = new SchemaCompiler({
      document: new SchemaDocument(schema, this.#limits.sourceDepth),
      regex: this.#table.regex,
      derivatives: this.#table.derivatives,
      budget: this.#budget,
      maxDepth: this.#limits.sourceDepth,
      maxAlternatives: this.#limits.alternatives,
      unknownFormats: this.#options.unknownFormats ?? "refuse",
    });
    const style: JsonStyle = { order: "any", whitespace: "bounded", ...this.#options.style };
    const values = new JsonValues(this.#table, compiler, style, this.#budget);
    const root = compiler.root();
    values.prepare(root);
    if (compiler.empty(root)) throw new GrammarError("empty", "schema", "#", "no value satisfies it");
    return { kind: "json", starts: values.starts(root) };
  }

  #tags(source: TagsSource): Term {
    const { regex } = this.#table;
    const encoder = new TextEncoder();
    const fail = (what: string): GrammarError => new GrammarError("invalid", "tags", "", what);
    for (const { begin } of source.tags) {
      if (!source.triggers.some((trigger) => trigger !== "" && begin.startsWith(trigger))) {
        throw fail(`no trigger begins ${JSON.stringify(begin)}`);
      }
    }
    const contents = source.tags.map((tag) => this.#term(tag.content));
    const triggered = source.triggers.map((trigger): Triggered => {
      const parts = source.tags.flatMap((tag, i) =>
        tag.begin.startsWith(trigger)
          ? [this.#terms.sequence([
            this.#terms.text(regex.literal(tag.begin.slice(trigger.length))),
            contents[i]!,
            this.#terms.text(regex.literal(tag.end)),
          ])]
          : []
      );
      if (trigger === "" || parts.length === 0) throw fail(`no tag begins with ${JSON.stringify(trigger)}`);
      return { trigger: encoder.encode(trigger), then: this.#terms.alternatives(parts) };
    });
    const text = new FreeText(this.#table, this.#terms, triggered, {
      stopAfterFirst: source.stopAfterFirst ?? false,
    });
    return { kind: "position", position: text.at("", !(source.atLeastOne ?? false)) };
  }
}

/** Keywords for numbers and strings. */
import { GrammarError } from "../errors.ts";
import { formatTexts, INTEGER_FORMATS } from "../json/formats.ts";
import { ecmaRegex } from "../regex/ecma.ts";
import type { RegexNode } from "../regex/node.ts";
import { below } from "./document.ts";
import type { SchemaReader } from "./reader.ts";
import type { Shape } from "./shape.ts";

/** The numbers among those of `shape` that the keywords for numbers allow. */
export function numericKeywords(reader: SchemaReader, shape: Shape): Shape["numbers"] {
  const { numbers } = reader.context;
  const schema = reader.schema;
  let set = shape.numbers;
  const value = (keyword: string): number | undefined => {
    const given = schema[keyword];
    if (given === undefined || typeof given === "boolean") return undefined;
    if (typeof given !== "number" || !Number.isFinite(given)) {
      throw reader.error("invalid", keyword, "must be a number");
    }
    return given;
  };
  const limit = (keyword: string, exclusive: boolean, make: "atLeast" | "atMost"): void => {
    const bound = value(keyword);
    if (bound !== undefined) set = numbers.meet(set, numbers[make](bound, exclusive));
  };
  // In draft 4, exclusiveMinimum is a boolean that is about minimum.
  limit("minimum", schema["exclusiveMinimum"] === true, "atLeast");
  limit("maximum", schema["exclusiveMaximum"] === true, "atMost");
  limit("exclusiveMinimum", true, "atLeast");
  limit("exclusiveMaximum", true, "atMost");
  const divisor = value("multipleOf");
  if (divisor !== undefined) {
    if (divisor <= 0) throw reader.error("invalid", "multipleOf", "must be greater than 0");
    const multiples = numbers.multipleOf(divisor);
    if (multiples === undefined) {
      throw reader.error("unsupported", "multipleOf", `${divisor} has too many digits`);
    }
    set = numbers.meet(set, multiples);
  }
  const range = INTEGER_FORMATS.get(String(schema["format"]));
  if (range !== undefined) {
    set = numbers.meet(set, numbers.integers);
    set = numbers.meet(
      set,
      numbers.meet(numbers.atLeast(range[0], false), numbers.atMost(range[1], false)),
    );
  }
  return set;
}

/** The strings among those of `shape` that the keywords for strings allow. */
export function stringKeywords(reader: SchemaReader, shape: Shape): RegexNode {
  const { regex, maxDepth } = reader.context;
  const schema = reader.schema;
  const parts = [shape.strings];
  const [min, max] = [reader.count("minLength", 0), reader.count("maxLength", Infinity)];
  if (min > 0 || max < Infinity) parts.push(regex.loop(regex.anyChar, min, max));
  const pattern = schema["pattern"];
  if (pattern !== undefined) {
    if (typeof pattern !== "string") throw reader.error("invalid", "pattern", "must be a string");
    const path = below(reader.place.path, "pattern");
    parts.push(ecmaRegex(regex, pattern, { anchored: false, path, maxDepth }));
  }
  const format = schema["format"];
  if (typeof format === "string" && shape.strings !== regex.none) {
    try {
      const texts = formatTexts(regex, format, below(reader.place.path, "format"));
      if (texts !== undefined) parts.push(texts);
    } catch (error) {
      if (!(error instanceof GrammarError) || reader.context.unknownFormats === "refuse") throw error;
    }
  }
  return parts.length === 1 ? shape.strings : regex.and(parts);
}

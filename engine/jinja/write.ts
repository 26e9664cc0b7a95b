// How values print: Python's str() and repr(), and JSON as Python's json.dumps writes it. What is printed of a foreign
// text stays foreign, escapes included.

import { type Budget, TemplateError } from "./budget.ts";
import { concatenated, Text, TextBuilder } from "./text.ts";
import {
  Callable,
  Float,
  isTrue,
  Mapping,
  Namespace,
  numberOf,
  Sequence,
  typeName,
  Undefined,
  type Value,
} from "./value.ts";

/** Python's str(). */
export function toText(value: Value, budget: Budget): Text {
  if (value instanceof Text) return value;
  return value instanceof Undefined ? Text.own("") : toRepr(value, budget);
}

/** Python's repr(). */
export function toRepr(value: Value, budget: Budget): Text {
  const builder = new TextBuilder(budget);
  writeRepr(value, builder, budget);
  return builder.build();
}

function writeRepr(value: Value, out: TextBuilder, budget: Budget): void {
  budget.nested(() => {
    const list = (open: string, items: readonly Value[], close: string) => {
      out.appendOwn(open);
      items.forEach((item, i) => {
        if (i > 0) out.appendOwn(", ");
        writeRepr(item, out, budget);
      });
      out.appendOwn(close);
    };
    if (value === null) return out.appendOwn("None");
    if (typeof value === "boolean") return out.appendOwn(value ? "True" : "False");
    if (typeof value === "number") return out.appendOwn(String(value));
    if (value instanceof Float) return out.appendOwn(floatText(value.value));
    if (value instanceof Text) return out.append(quoted(value));
    if (value instanceof Mapping) return writeMapping(value.entries, out, budget);
    if (value instanceof Namespace) {
      out.appendOwn("<Namespace ");
      writeMapping([...value.attributes].map(([name, item]) => [Text.own(name), item]), out, budget);
      return out.appendOwn(">");
    }
    if (value instanceof Undefined) return out.appendOwn("Undefined");
    if (value instanceof Callable) return out.appendOwn(`<function ${value.label}>`);
    switch (value.kind) {
      case "list":
        return list("[", value.items, "]");
      case "tuple":
        return list("(", value.items, value.items.length === 1 ? ",)" : ")");
      case "generator":
        return out.appendOwn("<generator object>");
      case "dict_items":
      case "dict_keys":
      case "dict_values":
        return list(`${value.kind}([`, value.items, "])");
      default:
        return value.kind satisfies never;
    }
  });
}

function writeMapping(
  entries: readonly (readonly [Value, Value])[],
  out: TextBuilder,
  budget: Budget,
): void {
  out.appendOwn("{");
  entries.forEach(([key, value], i) => {
    if (i > 0) out.appendOwn(", ");
    writeRepr(key, out, budget);
    out.appendOwn(": ");
    writeRepr(value, out, budget);
  });
  out.appendOwn("}");
}

/** A text in quotes, single ones unless it has those and no double ones. */
function quoted(text: Text): Text {
  const quote = text.value.includes("'") && !text.value.includes('"') ? '"' : "'";
  const inner = text.map((part) =>
    part.replace(
      /[\\'\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu,
      (c) => c === "'" ? (quote === "'" ? "\\'" : c) : escaped(c),
    )
  );
  return concatenated(null, [quote, inner, quote]);
}

function escaped(character: string): string {
  const short: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  const code = character.codePointAt(0)!;
  const hex = (digits: number) => code.toString(16).padStart(digits, "0");
  return short[character] ??
    (code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`);
}

/** A float as Python prints it: always with a point or an exponent. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  const [digits, exponentText] = value.toExponential().split("e") as [string, string];
  const exponent = Number(exponentText);
  if (value !== 0 && (exponent < -4 || exponent >= 16)) {
    const width = String(Math.abs(exponent)).padStart(2, "0");
    return `${digits}e${exponent < 0 ? "-" : "+"}${width}`;
  }
  const plain = exponent < 0
    ? value.toFixed(Math.max(0, digits.replace(/[-.]/g, "").length - 1 - exponent))
    : String(value);
  return plain.includes(".") ? plain : `${plain}.0`;
}

/** How JSON is laid out. */
export interface JsonLayout {
  /** What each level is indented by; null writes one line. */
  readonly indent: string | null;
  /** Between elements. */
  readonly itemSeparator: Text;
  /** Between key and value. */
  readonly keySeparator: Text;
  /** Escape everything but ASCII. */
  readonly ascii: boolean;
  /** Sort keys. */
  readonly sorted: boolean;
}

/** Python's json.dumps(). */
export function toJson(value: Value, layout: JsonLayout, budget: Budget): Text {
  const out = new TextBuilder(budget);
  writeJson(value, layout, "\n", out, budget);
  return out.build();
}

function writeJson(
  value: Value,
  layout: JsonLayout,
  newline: string,
  out: TextBuilder,
  budget: Budget,
): void {
  budget.nested(() => {
    if (value === null) return out.appendOwn("null");
    if (value instanceof Text) return out.append(jsonText(value, layout.ascii));
    if (value instanceof Float) {
      const text = floatText(value.value);
      return out.appendOwn(
        { nan: "NaN", inf: "Infinity", "-inf": "-Infinity" }[text] ?? text,
      );
    }
    if (typeof value === "boolean" || typeof value === "number") return out.appendOwn(String(value));
    const inner = layout.indent === null ? "" : newline + layout.indent;
    const container = <T>(open: string, items: readonly T[], write: (item: T) => void, close: string) => {
      out.appendOwn(open);
      items.forEach((item, i) => {
        if (i > 0) out.append(layout.itemSeparator);
        out.appendOwn(inner);
        write(item);
      });
      out.appendOwn(layout.indent !== null && items.length > 0 ? newline + close : close);
    };
    if (value instanceof Sequence && value.isIndexed) {
      return container("[", value.items, (item) => writeJson(item, layout, inner, out, budget), "]");
    }
    if (value instanceof Mapping) {
      const keyed = value.entries.map(([key, item]) => [jsonKey(key), item] as const);
      if (layout.sorted) keyed.sort(([a], [b]) => byCodePoint(a.value, b.value));
      return container("{", keyed, ([key, item]) => {
        out.append(jsonText(key, layout.ascii));
        out.append(layout.keySeparator);
        writeJson(item, layout, inner, out, budget);
      }, "}");
    }
    throw new TemplateError(
      value instanceof Undefined
        ? value.reason
        : `Object of type ${typeName(value)} is not JSON serializable`,
    );
  });
}

function jsonText(text: Text, ascii: boolean): Text {
  const inner = text.map((part) => {
    const plain = JSON.stringify(part).slice(1, -1);
    return ascii
      // deno-lint-ignore no-control-regex
      ? plain.replace(/[^\x00-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)
      : plain;
  });
  return concatenated(null, ['"', inner, '"']);
}

function jsonKey(key: Value): Text {
  if (key instanceof Text) return key;
  if (key === null) return Text.own("null");
  if (typeof key === "boolean") return Text.own(String(key));
  const number = numberOf(key);
  if (number === undefined) throw new TemplateError(`keys must be str, int, float, bool or None`);
  return Text.own(key instanceof Float ? floatText(number) : String(number));
}

/** Orders texts as Python does, by code points. */
export function byCodePoint(a: string, b: string): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x !== y) {
      // Surrogates stand for code points above all others.
      const rank = (unit: number) => unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
      return rank(x) - rank(y);
    }
  }
  return a.length - b.length;
}

/** The layout that the arguments of `tojson` ask for. */
export function jsonLayout(given: Readonly<Record<string, Value | undefined>>, budget: Budget): JsonLayout {
  const { indent, separators } = given;
  let width: string | null = null;
  if (indent instanceof Text) width = indent.value;
  else if (indent !== undefined && indent !== null) {
    const count = numberOf(indent);
    if (count === undefined) throw new TemplateError("tojson: indent must be a number or a text");
    budget.indent(count);
    width = " ".repeat(Math.max(0, count));
  }
  if (width !== null) budget.indent(width.length);
  let [item, key] = [Text.own(width === null ? ", " : ","), Text.own(": ")];
  if (separators instanceof Sequence) {
    const [first, second] = separators.items;
    if (!(first instanceof Text && second instanceof Text)) {
      throw new TemplateError("tojson: separators must be two texts");
    }
    [item, key] = [first, second];
  }
  return {
    indent: width,
    itemSeparator: item,
    keySeparator: key,
    ascii: isTrue(given["ensure_ascii"] ?? false),
    sorted: isTrue(given["sort_keys"] ?? false),
  };
}

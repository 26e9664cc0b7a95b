// Python's two ways of filling values into a text: `"{}".format(…)` and `"%s" % …`. Widths, signs and precisions of
// the simple types are understood; attributes of Python's objects are not there to be reached.

import { type Budget, TemplateError } from "./budget.ts";
import { concatenated, Text, TextBuilder } from "./text.ts";
import { type Arguments, Float, Mapping, numberOf, Sequence, typeName, type Value } from "./value.ts";
import { floatText, toRepr, toText } from "./write.ts";

/** Reads an element or attribute of a value. */
export type Reader = (value: Value, name: Value) => Value;

/** `template.format(…)`. */
export function formatBraces(template: Text, args: Arguments, read: Reader, budget: Budget): Text {
  const out = new TextBuilder(budget);
  let next = 0;
  let at = 0;
  for (const match of template.value.matchAll(/\{\{|\}\}|\{([^{}]*)\}|[{}]/g)) {
    out.append(template.slice(at, match.index));
    at = match.index + match[0].length;
    if (match[0] === "{{" || match[0] === "}}") {
      out.append(template.slice(match.index, match.index + 1));
      continue;
    }
    const field = /^([^!:]*)(?:!([rs]))?(?::(.*))?$/s.exec(match[1] ?? "!");
    if (!field) throw new TemplateError("format: a brace has no partner, or its field cannot be read");
    const [, path = "", conversion, specification = ""] = field;
    const [, first = "", rest = ""] = /^([^.[]*)(.*)$/s.exec(path)!;
    let value = /^\d*$/.test(first)
      ? args.positional[first === "" ? next++ : Number(first)]
      : args.named.get(first);
    if (value === undefined) throw new TemplateError(`format: there is no argument for {${path}}`);
    for (const [, name, key] of rest.matchAll(/\.([^.[]+)|\[([^\]]*)\]/g)) {
      const step = name ?? key!;
      value = read(value, /^\d+$/.test(step) ? Number(step) : Text.own(step));
    }
    if (conversion !== undefined) {
      value = conversion === "r" ? toRepr(value, budget) : toText(value, budget);
    }
    out.append(formatted(value, specification, budget));
  }
  out.append(template.slice(at));
  return out.build();
}

/** One value after a format specification such as `>8` or `.2f`. */
function formatted(value: Value, specification: string, budget: Budget): Text {
  if (specification === "") return toText(value, budget);
  const match = /^(?:(.)?([<>^=]))?([+ -])?(0)?(\d{1,9})?(,)?(?:\.(\d{1,3}))?([a-zA-Z%])?$/su.exec(
    specification,
  );
  if (!match) throw new TemplateError(`format: cannot read "${specification.slice(0, 20)}"`);
  const [, fill, align, sign, zero, width, comma, precision, type] = match;
  const number = numberOf(value);
  let text: Text;
  if (number === undefined || (type === "s")) {
    text = toText(value, budget);
    if (precision !== undefined) text = text.slice(0, Number(precision));
  } else {
    const digits = numberText(value, number, type, precision);
    const grouped = comma ? digits.replace(/\B(?<!\.\d*)(?=(\d{3})+(?!\d))/g, ",") : digits;
    text = Text.own((sign === "+" || sign === " ") && number >= 0 ? sign + grouped : grouped);
  }
  return padded(
    text,
    Number(width ?? 0),
    fill ?? (zero ? "0" : " "),
    align ?? (number === undefined ? "<" : zero ? "=" : ">"),
    budget,
  );
}

function numberText(
  value: Value,
  number: number,
  type: string | undefined,
  precision: string | undefined,
): string {
  switch (type) {
    case "f":
    case "F":
      return number.toFixed(Number(precision ?? 6));
    case "%":
      return `${(number * 100).toFixed(Number(precision ?? 6))}%`;
    case "x":
      return number.toString(16);
    case "X":
      return number.toString(16).toUpperCase();
    case "b":
      return number.toString(2);
    case "o":
      return number.toString(8);
    case "d":
    case "i":
      return String(Math.trunc(number));
    case undefined:
    case "g":
      if (precision !== undefined) return String(Number(number.toPrecision(Math.max(1, Number(precision)))));
      return value instanceof Float ? floatText(number) : String(number);
    default:
      throw new TemplateError(`format: the type "${type}" is not known`);
  }
}

/** A text filled up to a width, in code points. */
export function padded(text: Text, width: number, fill: string, align: string, budget: Budget): Text {
  const missing = width - text.characters;
  if (missing <= 0) return text;
  budget.text(text.length + missing);
  const left = align === "<" ? 0 : align === "^" ? Math.floor(missing / 2) : missing;
  const sign = align === "=" && /^[+-]/.test(text.value) ? 1 : 0;
  const parts = [text.slice(0, sign), fill.repeat(left), text.slice(sign), fill.repeat(missing - left)];
  return concatenated(null, parts);
}

/** `template % values`. */
export function formatPercent(template: Text, values: Value, budget: Budget): Text {
  const list = values instanceof Sequence && values.kind === "tuple" ? values.items : [values];
  const out = new TextBuilder(budget);
  let next = 0;
  let at = 0;
  for (
    const match of template.value.matchAll(
      /%(?:\(([^)]*)\))?([-+ 0#]*)(\d{1,9})?(?:\.(\d{1,3}))?([a-zA-Z%])|%/g,
    )
  ) {
    out.append(template.slice(at, match.index));
    at = match.index + match[0].length;
    const [, name, flags = "", width, precision, type] = match;
    if (type === undefined) throw new TemplateError("format: a % sign has no type after it");
    if (type === "%") {
      out.appendOwn("%");
      continue;
    }
    const value = name === undefined
      ? list[next++]
      : values instanceof Mapping
      ? values.getText(name)
      : undefined;
    if (value === undefined) throw new TemplateError("not enough arguments for format string");
    const number = numberOf(value);
    if (!"sra".includes(type) && number === undefined) {
      throw new TemplateError(`%${type} format: a number is required, not ${typeName(value)}`);
    }
    let text = type === "s"
      ? toText(value, budget)
      : "ra".includes(type)
      ? toRepr(value, budget)
      : Text.own(numberText(value, number!, type, precision));
    if ("sra".includes(type) && precision !== undefined) text = text.slice(0, Number(precision));
    if (flags.includes("+") && number !== undefined && number >= 0) {
      text = padded(text, text.characters + 1, "+", ">", budget);
    }
    const zero = flags.includes("0") && number !== undefined;
    out.append(
      padded(
        text,
        Number(width ?? 0),
        zero ? "0" : " ",
        flags.includes("-") ? "<" : zero ? "=" : ">",
        budget,
      ),
    );
  }
  out.append(template.slice(at));
  return out.build();
}

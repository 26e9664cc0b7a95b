// SVG and HTML as strings, escaped, and the scales of axes.

/** Text that may stand anywhere in markup. */
export function escape(text: string): string {
  const entities: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return text.replace(/[&<>"']/g, (character) => entities[character]!);
}

/** An element; `children` are markup already, attributes are escaped here. */
export function element(
  name: string,
  attributes: Readonly<Record<string, string | number>>,
  ...children: readonly string[]
): string {
  const list = Object.entries(attributes).map(([key, value]) =>
    ` ${key}="${escape(typeof value === "number" ? String(Math.round(value * 100) / 100) : value)}"`
  );
  return `<${name}${list.join("")}>${children.join("")}</${name}>`;
}

/** A label. */
export function label(
  x: number,
  y: number,
  text: string,
  attributes: Readonly<Record<string, string | number>> = {},
): string {
  return element("text", { x, y, ...attributes }, escape(text));
}

/** What a pointer shows. */
export function tooltip(text: string): string {
  return element("title", {}, escape(text));
}

/** A drawing that shrinks with the page; `title` is read out instead of it. */
export function drawing(
  width: number,
  height: number,
  title: string,
  ...children: readonly string[]
): string {
  return element(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title, style: `max-width: ${width}px` },
    ...children,
  );
}

/** Maps values to pixels. */
export interface Scale {
  (value: number): number;
  readonly ticks: readonly number[];
}

/** From 0 to at least `largest`, with about five round ticks. */
export function linearScale(largest: number, from: number, to: number): Scale {
  const rough = Math.max(largest, Number.MIN_VALUE) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough)! * power;
  const count = Math.ceil(largest / step - 1e-9) || 1;
  const scale = (value: number) => from + (to - from) * value / (count * step);
  return Object.assign(scale, { ticks: Array.from({ length: count + 1 }, (_, i) => i * step) });
}

/** Whole decades around the values (all positive), with a tick each. */
export function logScale(values: readonly number[], from: number, to: number): Scale {
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values)) - 1e-9));
  const scale = (value: number) => from + (to - from) * (Math.log10(value) - low) / (high - low);
  return Object.assign(scale, { ticks: Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)) });
}

// A line over time, with its last value in words: the plot is for the eye, the words are for everybody.

import { mostSamples } from "./engine_state.ts";

const width = 240;
const height = 56;

/** `values` are a second apart, the newest last; null is a gap. */
export function Plot(
  { name, values, unit, most }: {
    readonly name: string;
    readonly values: readonly (number | null)[];
    readonly unit: string;
    /** The upper end; the largest value if missing. */
    readonly most?: number;
  },
) {
  const top = most ?? Math.max(1e-9, ...values.map((value) => value ?? 0));
  const last = values.findLast((value) => value !== null) ?? null;
  const x = (i: number) => width * (mostSamples - values.length + i) / (mostSamples - 1);
  const y = (value: number) => height - 2 - (height - 4) * Math.min(1, value / top);
  let drawing = false;
  const line = values.map((value, i) => {
    if (value === null) return "";
    const command = drawing ? "L" : "M";
    drawing = true;
    return `${command}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
  }).join("");
  return (
    <figure class="plot">
      <figcaption>
        <span>{name}</span>
        <strong>{last === null ? "–" : format(last, unit)}</strong>
      </figcaption>
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
        <path d={line} />
      </svg>
      <small>most {format(top === 1e-9 ? 0 : top, unit)}</small>
    </figure>
  );
}

function format(value: number, unit: string): string {
  if (unit === "%") return `${(value * 100).toFixed(0)} %`;
  const digits = value >= 100 || Number.isInteger(value) ? 0 : 1;
  return `${value.toLocaleString("en", { maximumFractionDigits: digits })} ${unit}`.trim();
}

// The three kinds of plots of the report: lines against a size that doubles, ranges of percentiles, and shares in a
// grid. Colours are the classes of the page's style sheet (`page.ts`), so that light and dark both work.

import { figure } from "../common/table.ts";
import { drawing, element, label, linearScale, logScale, tooltip } from "./svg.ts";

const width = 760;

/** One line of a plot. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Lines over x on a logarithmic axis to the base 2, y from 0; each line is named at its end. */
export function linePlot(
  { title, xLabel, yLabel, series }: {
    title: string;
    xLabel: string;
    yLabel: string;
    series: readonly Series[];
  },
): string {
  const height = 380, left = 70, right = 190, top = 34, bottom = 48;
  const points = series.flatMap((line) => line.points);
  const sizes = [...new Set(points.map(([x]) => x))].sort((a, b) => a - b);
  const lowest = Math.log2(sizes[0]!), span = Math.max(1, Math.log2(sizes.at(-1)!) - lowest);
  const x = (size: number) => left + (width - left - right) * (Math.log2(size) - lowest) / span;
  const y = linearScale(Math.max(...points.map(([, value]) => value)), height - bottom, top);
  const ends = spread(series.map(({ points }) => y(points.at(-1)![1])), 18);
  return drawing(
    width,
    height,
    title,
    label(left, 16, yLabel, { class: "axis" }),
    ...y.ticks.flatMap((tick) => [
      element("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }),
      label(left - 8, y(tick) + 4, figure(tick), { class: "axis", "text-anchor": "end" }),
    ]),
    ...sizes.map((size) =>
      label(x(size), height - bottom + 20, figure(size), { class: "axis", "text-anchor": "middle" })
    ),
    label((left + width - right) / 2, height - 6, xLabel, { class: "axis", "text-anchor": "middle" }),
    ...series.flatMap(({ name, points }, i) => {
      const path = points.map(([size, value], j) =>
        `${j === 0 ? "M" : "L"}${x(size).toFixed(1)},${y(value).toFixed(1)}`
      );
      const [lastX] = points.at(-1)!;
      return [
        element("path", { class: `line c${i}`, d: path.join(" ") }),
        ...points.map(([size, value]) =>
          element(
            "circle",
            { class: `dot c${i}`, cx: x(size), cy: y(value), r: 4.5 },
            tooltip(`${name}, ${xLabel} ${figure(size)}: ${figure(value)} ${yLabel}`),
          )
        ),
        label(x(lastX) + 12, ends[i]! + 4, name, { class: "name" }),
      ];
    }),
  );
}

/** Moves values apart until neighbours are at least `gap` from one another; the order is kept. */
export function spread(values: readonly number[], gap: number): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const result = [...values];
  let above = -Infinity;
  for (const i of order) above = result[i] = Math.max(values[i]!, above + gap);
  return result;
}

/** Median to 99th percentile of one series in one group. */
export interface Range {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** A row per group, in it a line per series from the median to the 99th percentile, on a logarithmic axis. */
export function rangePlot(
  { title, unit, groups }: {
    title: string;
    unit: string;
    groups: readonly {
      readonly name: string;
      readonly ranges: readonly (Range & { readonly series: number; readonly name: string })[];
    }[];
  },
): string {
  const left = 190, right = 30, top = 30, row = 20, between = 14;
  const values = groups.flatMap(({ ranges }) => ranges.flatMap(({ p50, p90, p99 }) => [p50, p90, p99]));
  const x = logScale(values, left, width - right);
  const body: string[] = [];
  let at = top + 16;
  for (const { name, ranges } of groups) {
    body.push(
      label(left - 12, at + (ranges.length - 1) * row / 2 + 4, name, { class: "axis", "text-anchor": "end" }),
    );
    for (const range of ranges) {
      const { p50, p90, p99, series } = range;
      const text = `${name}, ${range.name}: median ${figure(p50)}, 90 % ${figure(p90)}, 99 % ${
        figure(p99)
      } ${unit}`;
      body.push(element(
        "g",
        {},
        tooltip(text),
        element("line", { class: `line c${series}`, x1: x(p50), x2: x(p99), y1: at, y2: at }),
        element("circle", { class: `dot c${series}`, cx: x(p50), cy: at, r: 5 }),
        element("line", { class: `line c${series}`, x1: x(p90), x2: x(p90), y1: at - 4, y2: at + 4 }),
        element("line", { class: `line c${series}`, x1: x(p99), x2: x(p99), y1: at - 6, y2: at + 6 }),
      ));
      at += row;
    }
    at += between;
  }
  return drawing(
    width,
    at + 24,
    title,
    ...x.ticks.flatMap((tick) => [
      element("line", { class: "grid", x1: x(tick), x2: x(tick), y1: top - 6, y2: at - 6 }),
      label(x(tick), at + 12, `${figure(tick)} ${unit}`, { class: "axis", "text-anchor": "middle" }),
    ]),
    ...body,
  );
}

/** A grid of shares (0 … 1): the fuller the colour, the larger; null where there is nothing. */
export function shareGrid(
  { title, columns, rows }: {
    title: string;
    columns: readonly string[];
    rows: readonly {
      readonly name: string;
      readonly cells: readonly ({ share: number; note: string } | null)[];
    }[];
  },
): string {
  const left = 250, top = 28, cellHeight = 26;
  const cellWidth = Math.min(72, (width - left) / columns.length);
  return drawing(
    width,
    top + rows.length * cellHeight + 8,
    title,
    ...columns.map((column, i) =>
      label(left + (i + 0.5) * cellWidth, 16, column, { class: "axis", "text-anchor": "middle" })
    ),
    ...rows.flatMap(({ name, cells }, j) => [
      label(left - 12, top + (j + 0.5) * cellHeight + 4, name, { class: "axis", "text-anchor": "end" }),
      ...cells.flatMap((cell, i) => {
        if (cell === null) return [];
        const x = left + i * cellWidth,
          y = top + j * cellHeight,
          share = Math.min(1, Math.max(0, cell.share));
        return [
          element(
            "rect",
            {
              class: "cell",
              x: x + 1,
              y: y + 1,
              width: cellWidth - 2,
              height: cellHeight - 2,
              rx: 3,
              "fill-opacity": share,
            },
            tooltip(`${name}, ${columns[i]}: ${cell.note}`),
          ),
          label(x + cellWidth / 2, y + cellHeight / 2 + 4, `${(cell.share * 100).toFixed(0)} %`, {
            class: share > 0.6 ? "in full" : "in",
            "text-anchor": "middle",
          }),
        ];
      }),
    ]),
  );
}

// The page around the plots: one file, no scripts, nothing from elsewhere.

import { escape } from "./svg.ts";

const style = `
:root { color-scheme: light dark; --paper: #fcfcfb; --ink: #1d1d1b; --soft: #6b6a66; --rule: #e3e2dd;
  --c0: #2a78d6; --c1: #d9730d; --c2: #14906a; --c3: #8a5cd1; --c4: #b3446c; }
@media (prefers-color-scheme: dark) { :root { --paper: #191918; --ink: #f0efec; --soft: #a3a29c; --rule: #383835;
  --c0: #5c9fea; --c1: #f0954a; --c2: #3dbb92; --c3: #ab87e6; --c4: #dc7a9f; } }
body { margin: 2rem auto; max-width: 860px; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; } h2 { margin-top: 2.6rem; font-size: 1.25rem; } h3 { margin: 1.6rem 0 .4rem; font-size: 1rem; }
p { color: var(--soft); } p b { color: var(--ink); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; } th { font-weight: 600; color: var(--soft); }
svg { display: block; width: 100%; margin: .6rem 0; font: 12.5px system-ui, sans-serif; fill: var(--ink); }
.axis { fill: var(--soft); } .grid { stroke: var(--rule); } .name { font-size: 13px; }
.line { fill: none; stroke-width: 2; } .dot { stroke: var(--paper); stroke-width: 1.5; }
${
  [0, 1, 2, 3, 4].map((i) =>
    `.line.c${i} { stroke: var(--c${i}); } .dot.c${i}, .key.c${i} { fill: var(--c${i}); background: var(--c${i}); }`
  ).join("\n")
}
.cell { fill: var(--c0); } .in { font-size: 11.5px; } .full { fill: var(--paper); }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin: 0 .3em 0 1em; }
.bad { color: var(--c1); }
`;

/** The whole document. `sections` are markup. */
export function page(title: string, sections: readonly string[]): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${style}</style>
<h1>${escape(title)}</h1>
${sections.join("\n")}
</html>
`;
}

/** A part with a heading. */
export function section(title: string, ...content: readonly string[]): string {
  return `<section>\n<h2>${escape(title)}</h2>\n${content.join("\n")}\n</section>`;
}

export function heading(text: string): string {
  return `<h3>${escape(text)}</h3>`;
}

export function paragraph(text: string): string {
  return `<p>${escape(text)}</p>`;
}

/** A text as it is, folded. */
export function verbatim(text: string): string {
  return `<details><summary>the whole file</summary><pre class="scroll">${escape(text)}</pre></details>`;
}

/** Which colour is which series. */
export function legend(names: readonly string[], note: string): string {
  const keys = names.map((name, i) => `<span class="key c${i}"></span>${escape(name)}`).join("");
  return `<p>${escape(note)}${keys}</p>`;
}

export function htmlTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (tag: string, cells: readonly string[]) =>
    `<tr>${cells.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join("")}</tr>`;
  return `<div class="scroll"><table>\n${
    [line("th", head), ...rows.map((row) => line("td", row))].join("\n")
  }\n</table></div>`;
}

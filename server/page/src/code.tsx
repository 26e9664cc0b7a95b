// A block of code: its language, a button that copies it, and colours once it is complete. While it grows, its lines
// stand in pieces of which only the last changes.

import type { RootContent } from "hast";
import { createLowlight } from "lowlight";
import { useMemo } from "preact/hooks";
import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import cpp from "highlight.js/lib/languages/cpp";
import csharp from "highlight.js/lib/languages/csharp";
import css from "highlight.js/lib/languages/css";
import diff from "highlight.js/lib/languages/diff";
import go from "highlight.js/lib/languages/go";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";
import ruby from "highlight.js/lib/languages/ruby";
import rust from "highlight.js/lib/languages/rust";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import { CopyButton } from "./copy_button.tsx";

const lowlight = createLowlight({
  bash,
  c,
  cpp,
  csharp,
  css,
  diff,
  go,
  java,
  javascript,
  json,
  python,
  ruby,
  rust,
  sql,
  typescript,
  xml,
  yaml,
});

/** Longer ones stay plain: colouring them would take longer than a frame. */
const longestColoured = 10_000;
const linesPerPiece = 50;

/** A block of code. */
export function CodeBlock(
  { language, text, open }: { readonly language: string; readonly text: string; readonly open: boolean },
) {
  const coloured = !open && text.length <= longestColoured && lowlight.registered(language);
  const content = useMemo(
    () => coloured ? lowlight.highlight(language, text).children.map(coloursOf) : piecesOf(text),
    [coloured, language, text],
  );
  return (
    <figure class="code" dir="ltr">
      <figcaption>
        <span>{language || "code"}</span>
        <CopyButton name="Copy code" text={text} />
      </figcaption>
      <pre tabIndex={0} aria-label={`${language || "Code"} block`}><code>{content}</code></pre>
    </figure>
  );
}

function piecesOf(text: string) {
  const pieces: string[] = [];
  for (let from = 0; from < text.length;) {
    let to = from;
    for (let line = 0; line < linesPerPiece && to < text.length; line++) {
      const end = text.indexOf("\n", to);
      to = end < 0 ? text.length : end + 1;
    }
    pieces.push(text.slice(from, to));
    from = to;
  }
  return pieces.map((piece, i) => <span key={i} class="piece">{piece}</span>);
}

function coloursOf(node: RootContent) {
  if (node.type === "text") return <>{node.value}</>;
  if (node.type !== "element") return null;
  const names = node.properties["className"];
  return (
    <span class={Array.isArray(names) ? names.join(" ") : undefined}>{node.children.map(coloursOf)}</span>
  );
}

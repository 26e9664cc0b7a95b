// A Markdown tree as elements. Only what stands here can appear: HTML in an answer is text, a link goes to http, https
// or mail and nowhere else, an image is a link to it (the page loads nothing from other hosts). No HTML is ever
// written as text into the page.

import type { ComponentChildren, VNode } from "preact";
import type { AlignType, Heading, Nodes, TableCell, TableRow } from "mdast";
import type { Block } from "./markdown.ts";
import { CodeBlock } from "./code.tsx";

/** The same block, and the same node of a finished one, gives the same element, which is then left alone. */
const rendered = new WeakMap<Block | Nodes, VNode>();

/** An answer's blocks. */
export function Blocks({ blocks }: { readonly blocks: readonly Block[] }) {
  /** Depths of the headings that the last one stands under, and its own: models leave levels out, pages should not. */
  const depths: number[] = [];
  return (
    <>
      {blocks.map((block) => {
        const { node, open } = block;
        if (typeof node !== "string" && node.type === "heading") {
          while ((depths.at(-1) ?? 0) >= node.depth) depths.pop();
          depths.push(node.depth);
        }
        const known = rendered.get(block);
        if (known) return known;
        const element = (
          <div class="block" dir="auto">
            {typeof node === "string"
              ? <p class="plain">{node}</p>
              : node.type === "heading"
              ? <Title node={node} level={2 + depths.length} />
              : <Node node={node} open={open} />}
          </div>
        );
        rendered.set(block, element);
        return element;
      })}
    </>
  );
}

function Title({ node, level }: { readonly node: Heading; readonly level: number }) {
  const Tag = `h${Math.min(6, level)}` as "h3";
  return (
    <Tag>
      <Children of={node.children} />
    </Tag>
  );
}

/** `open`: more may come behind the last. */
function Children({ of, open = false }: { readonly of: readonly Nodes[]; readonly open?: boolean }) {
  return <>{of.map((node, i) => elementOf(node, i, open && i === of.length - 1))}</>;
}

function elementOf(node: Nodes, i: number, open: boolean): VNode {
  const known = open ? undefined : rendered.get(node);
  if (known) return known;
  const element = <Node key={i} node={node} open={open} />;
  if (!open) rendered.set(node, element);
  return element;
}

const plainTags = {
  paragraph: "p",
  blockquote: "blockquote",
  emphasis: "em",
  strong: "strong",
  delete: "del",
} as const;

function Node({ node, open = false }: { readonly node: Nodes; readonly open?: boolean }): VNode | null {
  switch (node.type) {
    case "text":
      return <>{node.value}</>;
    case "paragraph":
    case "blockquote":
    case "emphasis":
    case "strong":
    case "delete": {
      const Tag = plainTags[node.type];
      return (
        <Tag>
          <Children of={node.children} open={open} />
        </Tag>
      );
    }
    case "heading": // within a list or a quotation
      return (
        <p>
          <strong>
            <Children of={node.children} />
          </strong>
        </p>
      );
    case "thematicBreak":
      return <hr />;
    case "list":
      return node.ordered
        ? (
          <ol start={node.start ?? 1}>
            <Children of={node.children} open={open} />
          </ol>
        )
        : (
          <ul>
            <Children of={node.children} open={open} />
          </ul>
        );
    case "listItem":
      return (
        <li class={typeof node.checked === "boolean" ? "task" : undefined}>
          {typeof node.checked === "boolean" && <span aria-hidden="true">{node.checked ? "☑ " : "☐ "}</span>}
          <Children of={node.children} open={open} />
        </li>
      );
    case "code":
      return <CodeBlock language={node.lang ?? ""} text={node.value} open={open} />;
    case "math":
      return <pre class="math" dir="ltr" tabIndex={0}>{node.value}</pre>;
    case "inlineMath":
      return <code class="math" dir="ltr">{node.value}</code>;
    case "inlineCode":
      return <code dir="ltr">{node.value}</code>;
    case "break":
      return <br />;
    case "link":
      return (
        <Link url={node.url}>
          <Children of={node.children} />
        </Link>
      );
    case "image":
      return <Link url={node.url}>{node.alt || node.url}</Link>;
    case "table":
      return (
        <div class="table" tabIndex={0} role="group" aria-label="Table">
          <table>
            <thead>
              {node.children.slice(0, 1).map((row, i) => (
                <Row key={i} cells={row.children} align={node.align} head />
              ))}
            </thead>
            <tbody>
              {node.children.slice(1).map((row, i) => rowOf(row, i, node.align))}
            </tbody>
          </table>
        </div>
      );
    case "html":
      return <span class="plain">{node.value}</span>;
    case "footnoteReference":
      return <sup>[{node.label ?? node.identifier}]</sup>;
    case "footnoteDefinition":
      return (
        <div class="footnote">
          <sup>[{node.label ?? node.identifier}]</sup> <Children of={node.children} />
        </div>
      );
    case "linkReference":
      return <Children of={node.children} />;
    case "imageReference":
      return <>{node.alt}</>;
    case "definition":
      return (
        <p>
          <Link url={node.url}>{node.title || node.url}</Link>
        </p>
      );
    case "root":
    case "tableRow":
    case "tableCell":
    case "yaml":
      return null;
    default:
      return node satisfies never;
  }
}

function rowOf(row: TableRow, i: number, align: AlignType[] | null | undefined): VNode {
  const known = rendered.get(row);
  if (known) return known;
  const element = <Row key={i} cells={row.children} align={align} />;
  rendered.set(row, element);
  return element;
}

function Row(
  { cells, align, head = false }: {
    readonly cells: readonly TableCell[];
    readonly align: AlignType[] | null | undefined;
    readonly head?: boolean;
  },
) {
  const Cell = head ? "th" : "td";
  return (
    <tr>
      {cells.map((cell, i) => (
        <Cell class={align?.[i] ?? undefined}>
          <Children of={cell.children} />
        </Cell>
      ))}
    </tr>
  );
}

function Link({ url, children }: { readonly url: string; readonly children: ComponentChildren }) {
  if (!/^(?:https?:\/\/|mailto:)/i.test(url)) return <span title={url}>{children}</span>;
  return <a href={url} target="_blank" rel="noopener noreferrer">{children}</a>;
}

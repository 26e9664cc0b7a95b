// Markdown for a terminal: bold, italics, colours and frames instead of signs. The text is parsed by marked; here its
// tokens become lines. Control characters of a model's text never reach the terminal.

import { lexer, type Token, type Tokens } from "marked";
import stringWidth from "string-width";
import wrapAnsi from "wrap-ansi";

const style = (on: number, off: number) => (text: string) => `\x1b[${on}m${text}\x1b[${off}m`;
const bold = style(1, 22), dim = style(2, 22), italic = style(3, 23), underline = style(4, 24);
const struck = style(9, 29), cyan = style(36, 39), magenta = style(35, 39);

/** The top-level blocks of a text. */
export function blocksOf(text: string): Token[] {
  return lexer(text).filter(({ type }) => type !== "space");
}

/** The blocks of a text in front of the last, and the text from the last on, which may still change. */
export function splitLast(text: string): { readonly done: readonly Token[]; readonly rest: string } {
  const tokens = lexer(text);
  const last = tokens.findLastIndex(({ type }) => type !== "space");
  const before = tokens.slice(0, Math.max(0, last));
  // By lengths: the parser may have put another blank into a token than the text has.
  const rest = text.slice(before.reduce((sum, { raw }) => sum + raw.length, 0));
  return { done: before.filter(({ type }) => type !== "space"), rest };
}

/** A text without what a terminal would obey: control characters but for tab and line end. */
export function harmless(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replaceAll(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, "");
}

/** Text in lines of at most `width` columns that end between words, where no word is longer. Blanks stay. */
export function wrapped(text: string, width: number): string {
  return wrapAnsi(text, width, { hard: true, trim: false });
}

/** A block as lines for a window of `width` columns (code and tables may be wider); no line end behind the last. */
export function renderBlock(token: Token, width: number): string {
  return block(token, width).join("\n");
}

function block(token: Token, width: number): string[] {
  switch (token.type) {
    case "heading":
      return words(bold(magenta(inline(token.tokens))), width);
    case "paragraph":
    case "text":
      return words(inline("tokens" in token ? token.tokens : undefined, token.text), width);
    case "code":
      return [
        dim(token.lang ? `── ${harmless(token.lang)}` : "──"),
        ...lines(token.text).map(cyan),
        dim("──"),
      ];
    case "blockquote":
      return blocks(token.tokens ?? [], width - 2).map((line) => `${dim("│")} ${line}`);
    case "list":
      return list(token as Tokens.List, width);
    case "table":
      return table(token as Tokens.Table);
    case "hr":
      return [dim("─".repeat(20))];
    default:
      return lines(token.raw.trimEnd());
  }
}

/** Blocks with an empty line between them. */
function blocks(tokens: readonly Token[], width: number): string[] {
  return tokens.filter(({ type }) => type !== "space").flatMap((each, i) =>
    i === 0 ? block(each, width) : ["", ...block(each, width)]
  );
}

function list({ items, ordered, start, loose }: Tokens.List, width: number): string[] {
  return items.flatMap((item, i) => {
    const mark = ordered ? `${Number(start || 1) + i}.` : item.task ? (item.checked ? "☑" : "☐") : "•";
    const indent = " ".repeat(mark.length + 1);
    const room = width - indent.length;
    const inside = loose ? blocks(item.tokens, room) : item.tokens.flatMap((each) => block(each, room));
    return inside.map((line, j) => (j === 0 ? `${dim(mark)} ` : line === "" ? "" : indent) + line);
  });
}

function table({ header, rows, align }: Tokens.Table): string[] {
  const cells = [header, ...rows].map((row) => row.map((cell) => inline(cell.tokens)));
  const widths = header.map((_, i) => Math.max(...cells.map((row) => stringWidth(row[i] ?? ""))));
  const padded = (text: string, i: number) => {
    const room = " ".repeat(Math.max(0, widths[i]! - stringWidth(text)));
    return align[i] === "right" ? room + text : text + room;
  };
  const [first, ...others] = cells.map((row) => row.map(padded));
  return [
    first!.map(bold).join(dim(" │ ")),
    dim(widths.map((width) => "─".repeat(width)).join("─┼─")),
    ...others.map((row) => row.join(dim(" │ "))),
  ];
}

function inline(tokens: readonly Token[] | undefined, text = ""): string {
  if (tokens === undefined) return harmless(text);
  return tokens.map((token) => {
    switch (token.type) {
      case "strong":
        return bold(inline(token.tokens));
      case "em":
        return italic(inline(token.tokens));
      case "del":
        return struck(inline(token.tokens));
      case "codespan":
        return cyan(harmless(token.text));
      case "br":
        return "\n";
      case "link": {
        const label = inline(token.tokens);
        return underline(label) + (harmless(token.href) === label ? "" : dim(` (${harmless(token.href)})`));
      }
      case "image":
        return `${harmless(token.text)}${dim(` (${harmless(token.href)})`)}`;
      case "text":
        return "tokens" in token ? inline(token.tokens) : harmless(token.text);
      default:
        return harmless("text" in token ? token.text : token.raw);
    }
  }).join("");
}

/** Lines of words; a nested block in a narrow window gets ten columns all the same. */
function words(text: string, width: number): string[] {
  return wrapAnsi(text, Math.max(10, width), { hard: true }).split("\n");
}

function lines(text: string): string[] {
  return harmless(text).split("\n");
}

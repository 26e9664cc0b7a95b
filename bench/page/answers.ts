// Answers that are hard for a page that renders markdown while it comes, each cut into what stands for tokens.

/** An answer as it streams. */
export interface Answer {
  readonly name: string;
  /** One per token. */
  readonly pieces: readonly string[];
}

const cut = (text: string, length: number) => text.match(new RegExp(`[^]{1,${length}}`, "gu"))!;

const words =
  "The scheduler decides in every step which prompts are computed and which sequences decode next.";
const code = [
  "export function mean(values: readonly number[]): number {",
  "  // Empty lists have no mean.",
  '  if (values.length === 0) throw new RangeError("no values");',
  "  return values.reduce((sum, value) => sum + value, 0) / values.length;",
  "}",
].join("\n");
const table = "| step | tokens | time |\n| - | -: | -: |\n" +
  "| prefill | 512 | 14 ms |\n| decode | 32 | 9 ms |\n".repeat(4);

/** What models write most: headings, paragraphs, lists, tables and code. */
function mixed(characters: number): string {
  let text = "";
  for (let i = 1; text.length < characters; i++) {
    text += `## Part ${i}\n\n${words} ${words} **Note** \`radix\`, [a link](https://example.com/).\n\n` +
      `1. ${words}\n2. ${words}\n   - nested, *too*\n\n${table}\n\`\`\`typescript\n${code}\n\`\`\`\n\n`;
  }
  return text.slice(0, characters);
}

const hostile = [
  "<script>document.title = 'owned'</script>",
  "<img src=x onerror=\"document.title = 'owned'\"> <div><table><b>never closed <!-- nor this",
  "[press](javascript:document.title='owned') [this](data:text/html,<script>1</script>) <a href='javascript:1'>x",
  "שלום עולם, זה טקסט מימין לשמאל עם `code` ו-**bold**. مرحبا بالعالم، هذا نص من اليمين إلى اليسار.",
  "\u202eoverride \u2066isolate\u2069 and back\u202c",
].join("\n\n");

/** All of them. The 100 kB come in long tokens, or they would take three minutes. */
export const answers: readonly Answer[] = [
  { name: "2,000 tokens of headings, lists, tables and code", pieces: cut(mixed(8000), 4) },
  {
    name: "100 kB in one code block",
    pieces: cut(
      `\`\`\`python\n${"x = '</script><b>'  # ".repeat(5000).replace(/(.{80})/g, "$1\n")}\n\`\`\`\n`,
      60,
    ),
  },
  {
    name: "scripts, javascript: links, broken HTML, right-to-left text",
    pieces: cut(`${hostile}\n\n`.repeat(6), 6),
  },
  {
    name: "15 kB in one list",
    pieces: cut(Array.from({ length: 130 }, (_, i) => `${i + 1}. **Item** ${words}\n`).join(""), 16),
  },
  {
    name: "15 kB in one list with code",
    pieces: cut(
      Array.from(
        { length: 30 },
        (_, i) => `${i + 1}. ${words}\n\n   \`\`\`typescript\n${code.replace(/^/gm, "   ")}\n   \`\`\`\n\n`,
      ).join(""),
      16,
    ),
  },
  { name: "20 kB in one paragraph", pieces: cut(`${words} `.repeat(210), 20) },
  {
    name: "15 kB in one table",
    pieces: cut(
      "| step | tokens | time |\n| - | -: | -: |\n" +
        "| prefill `x` | 512 tokens of **prompt** | 14 ms |\n".repeat(300),
      16,
    ),
  },
];

/** A conversation as the page exports it: `count` messages, one half of them answers of `characters`. */
export function longConversation(count: number, characters: number): string {
  const messages = Array.from({ length: count }, (_, i) => ({
    id: `m${i}`,
    parent: i === 0 ? null : `m${i - 1}`,
    role: i % 2 === 0 ? "user" : "assistant",
    content: i % 2 === 0 ? `Question ${i / 2 + 1}: what does a scheduler do?` : mixed(characters),
  }));
  return JSON.stringify({
    conversations: [{ id: "long", title: "A long conversation", updated: 1, messages, chosen: {} }],
  });
}

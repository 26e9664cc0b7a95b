// What all forms of tool calls have in common: a parser that turns text into pieces while it streams, and how a
// call that is demanded begins.

import type { StreamParser } from "./streaming.ts";

/** A tool that may be called. */
export interface ToolSpec {
  /** As the model writes it. */
  readonly name: string;
  /** JSON schema of its arguments. */
  readonly parameters: unknown;
}

/** A run of text of one kind. */
export interface TextPiece {
  /** Which kind. */
  readonly type: "content" | "reasoning";
  /** Never empty. */
  readonly text: string;
}

/** Text, thoughts (of forms that tell them), or something about a call. */
export type ToolPiece =
  | TextPiece
  | { readonly type: "call"; readonly index: number; readonly name: string }
  /** JSON text of the arguments, or a piece of it. */
  | { readonly type: "arguments"; readonly index: number; readonly text: string }
  /** The call is complete. */
  | { readonly type: "called"; readonly index: number };

/** Values of `--tool-parser`. */
export const toolParserNames = [
  "auto",
  "none",
  "hermes",
  "llama",
  "mistral",
  "qwen3-coder",
  "deepseek",
  "harmony",
] as const;

/** A form's name, "auto" for the chat template's, or "none". */
export type ToolParserName = (typeof toolParserNames)[number];

/** One way in which models write calls. */
export interface ToolFormat {
  /** For `--tool-parser`. */
  readonly name: Exclude<ToolParserName, "auto" | "none">;
  /** Whether a chat template shows the model this form. */
  matches(template: string): boolean;
  /** Its tags are special tokens, which therefore have to stay in the text. */
  readonly specialTags: boolean;
  /** Of forms in which the whole answer is written, thoughts too: how an answer without thoughts begins. */
  readonly answerStart?: string;
  /** How a demanded call begins, up to the arguments or the name. Ends where a token naturally ends. */
  start(name: string | null, template: string): string;
  /** Takes calls of these tools out of a text. */
  parser(tools: readonly ToolSpec[]): StreamParser<ToolPiece>;
}

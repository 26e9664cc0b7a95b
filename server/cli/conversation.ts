// A conversation in the terminal, without the terminal: lines in, text out. Lines that begin with a slash are
// commands; the rest are messages. Ctrl-C (the `interrupt` signal of a turn) ends the answer, not the conversation.

import type { FinishReason, SamplingParams } from "../../engine/params.ts";
import type { ServedEngine } from "../http/engine_api.ts";
import { AnswerParser } from "../http/answer_parser.ts";
import type { ToolFormat } from "../http/parsers/tool_format.ts";
import { answerFormat } from "../http/parsers/tool_formats.ts";
import { changeSetting, describeSettings } from "./chat_settings.ts";
import { wrapped } from "./markdown.ts";
import { MarkdownPrinter } from "./markdown_printer.ts";
import type { WindowSize } from "./terminal.ts";
import type { ChatMessage } from "../../engine/messages.ts";
import { type ShowReading, withReading } from "./reading.ts";

/** How a conversation is held. */
export interface ConversationOptions {
  /** For every answer. */
  readonly params: SamplingParams;
  /** The system message, if any. */
  readonly system: string | null;
  /** Shows tokens, speed and cached prompt tokens after each answer. */
  readonly stats: boolean;
  /** Escape sequences for dimmed text. */
  readonly color: boolean;
  /** Reasoning is shown, dimmed, before the answer. */
  readonly showReasoning: boolean;
}

/** Where the conversation speaks to. */
export interface ConversationOutput {
  /** The answer. */
  write(text: string): void;
  /** Everything around it. */
  note(text: string): void;
  /** How much of a long question has been read; null takes it away. */
  reading: ShowReading;
  /** The window that answers are shown in, for markdown; null where they are not shown in one. */
  readonly window: (() => WindowSize) | null;
  /** Ends the engine and starts one with another model; rejects if none runs then. */
  load(model: string): Promise<{ readonly engine: ServedEngine; readonly params: SamplingParams }>;
  /** Writes a file; rejects when it cannot. */
  save(path: string, text: string): Promise<void>;
}

/** Commands, what they take, and what they do. */
const commands: readonly (readonly [name: string, takes: string, help: string])[] = [
  ["/reset", "", "forget the conversation (the system message stays)"],
  ["/system", "[TEXT]", "set the system message and reset; without text remove it"],
  ["/regenerate", "", "answer the last message again"],
  ["/edit", "[TEXT]", "change the last message and answer that"],
  ["/set", "[NAME VALUE]", "set the sampling (/set temperature 0.3); alone shows it"],
  ["/model", "[MODEL]", "what answers; with a name load that model"],
  ["/save", "PATH", "write the conversation to a JSON file"],
  ["/stats", "", "show or hide speed and token counts"],
  ["/help", "", "this list"],
  ["/exit", "", "leave (also Ctrl-D); Ctrl-C ends an answer"],
];

/** For completion. */
export const commandNames: readonly string[] = commands.map(([name]) => name);

/** What can be typed, for a window: what each does stands beside it, or below it where that is narrow. */
function help(columns: number): string {
  const beside = 22;
  const indent = " ".repeat(columns < 60 ? 2 : beside);
  const all = [
    ...commands,
    ['"""', "", "around a message of several lines; a paste is one message"] as const,
  ];
  return all.map(([name, takes, what]) => {
    const typed = `${name} ${takes}`;
    const text = wrapped(what, columns - indent.length).replaceAll(/ *\n/g, `\n${indent}`);
    return (columns < 60 ? `${typed}\n${indent}` : typed.padEnd(beside)) + text;
  }).join("\n");
}

/** Messages so far, and what the next line does to them. */
export class Conversation {
  #engine: ServedEngine;
  readonly #options: ConversationOptions;
  readonly #output: ConversationOutput;
  #system: string | null;
  #params: SamplingParams;
  #stats: boolean;
  #draft = "";
  #messages: ChatMessage[] = [];
  #saidThatItForgets = false;

  /** Nothing is sent before the first line. */
  constructor(engine: ServedEngine, options: ConversationOptions, output: ConversationOutput) {
    this.#engine = engine;
    this.#options = options;
    this.#output = output;
    this.#system = options.system;
    this.#params = options.params;
    this.#stats = options.stats;
  }

  /** What the template gets. */
  get messages(): readonly ChatMessage[] {
    const system = this.#system === null ? [] : [{ role: "system", content: this.#system }];
    return [...system, ...this.#messages];
  }

  /** What should stand in the next line already, told once: a message that is to be edited. */
  takeDraft(): string {
    const draft = this.#draft;
    this.#draft = "";
    return draft;
  }

  /** Takes a message or command; false when it was the last. */
  async take(line: string, interrupt: AbortSignal): Promise<boolean> {
    const text = line.trim();
    if (text === "") return true;
    if (text.startsWith("/")) return await this.#command(text, interrupt);
    await this.#answer(text, interrupt);
    return true;
  }

  async #command(text: string, interrupt: AbortSignal): Promise<boolean> {
    const [, name, argument = ""] = /^(\/\S*)\s*([^]*)$/.exec(text)!;
    const { note, window } = this.#output;
    switch (name) {
      case "/exit":
      case "/quit":
        return false;
      case "/reset":
        this.#messages = [];
        note("forgotten");
        return true;
      case "/system":
        this.#system = argument === "" ? null : argument;
        this.#messages = [];
        note(argument === "" ? "no system message; forgotten" : "system message set; forgotten");
        return true;
      case "/stats":
        this.#stats = !this.#stats;
        note(this.#stats ? "stats on" : "stats off");
        return true;
      case "/save":
        await this.#save(argument);
        return true;
      case "/regenerate":
        await this.#again(null, interrupt);
        return true;
      case "/edit":
        await this.#again(argument, interrupt);
        return true;
      case "/set":
        this.#set(argument);
        return true;
      case "/model":
        await this.#model(argument);
        return true;
      case "/help":
        note(help(window?.().columns ?? 80));
        return true;
      default:
        note(`there is no ${name}\n${help(window?.().columns ?? 80)}`);
        return true;
    }
  }

  /** Takes back the last message and its answer; asks `text` instead, or the same (null), or lets it be edited (""). */
  async #again(text: string | null, interrupt: AbortSignal): Promise<void> {
    const last = this.#messages.findLastIndex(({ role }) => role === "user");
    if (last < 0) return this.#output.note("there is no message yet");
    const [question] = this.#messages.splice(last);
    if (text === "") this.#draft = question!.content ?? "";
    else await this.#answer(text ?? question!.content ?? "", interrupt);
  }

  #set(argument: string): void {
    const changed = argument === "" ? describeSettings(this.#params) : changeSetting(this.#params, argument);
    if (typeof changed === "string") return this.#output.note(changed);
    this.#params = changed;
    this.#output.note(`set: ${argument}`);
  }

  async #model(name: string): Promise<void> {
    if (name !== "") ({ engine: this.#engine, params: this.#params } = await this.#output.load(name));
    const { id, device, contextLength, weightFormats } = this.#engine.model;
    this.#output.note(
      `${id} in ${weightFormats.join(", ")} on ${device.description}, context ${contextLength} tokens`,
    );
  }

  async #save(path: string): Promise<void> {
    if (path === "") return this.#output.note("say where: /save PATH");
    try {
      await this.#output.save(path, JSON.stringify({ messages: this.messages }, null, 2) + "\n");
      this.#output.note(`saved to ${path}`);
    } catch (error) {
      this.#output.note(`cannot write ${path}: ${error instanceof Error ? error.message : error}`);
    }
  }

  /**
   * Forgets the oldest turns until an answer has room; a quarter of the context is enough, and leaves room for a few
   * more turns, whose prompts then begin as this one and are cached. Gives the most tokens the answer may have.
   */
  async #makeRoom(): Promise<number | null> {
    const { contextLength, numPages, pageSize } = this.#engine.model;
    const { maxTokens } = this.#params;
    const longest = Math.min(contextLength, numPages * pageSize);
    const wanted = Math.min(maxTokens ?? Infinity, Math.floor(longest / 4));
    while (true) {
      // What cannot be rendered is explained when it is submitted.
      const length = await this.#engine.encode({ type: "chat", messages: this.messages })
        .then(({ ids }) => ids.length, () => 0);
      const room = longest - length;
      const next = this.#messages.findIndex(({ role }, i) => i > 0 && role === "user");
      if (room >= wanted || next < 0) {
        return maxTokens === null ? null : Math.min(maxTokens, Math.max(1, room));
      }
      this.#messages.splice(0, next);
      if (!this.#saidThatItForgets) {
        this.#output.note("(the context is full: the oldest messages are forgotten)");
      }
      this.#saidThatItForgets = true;
    }
  }

  async #answer(question: string, interrupt: AbortSignal): Promise<void> {
    const { write, note } = this.#output;
    this.#messages.push({ role: "user", content: question });
    const begun = performance.now();
    const maxTokens = await this.#makeRoom();
    const format = answerFormat(this.#engine.model.chatTemplate ?? "");
    const tags = format?.specialTags === true ? { skipSpecialTokens: false } : {};
    const generation = this.#engine.submit({
      input: { type: "chat", messages: this.messages },
      params: { ...this.#params, maxTokens, ...tags },
      signal: interrupt,
    });
    const printer = new AnswerPrinter(this.#options, write, this.#output.window, format);
    let ended = "";
    let tokens = 0, cached = 0, firstAt: number | null = null;
    for await (const delta of withReading(this.#engine, generation, this.#output.reading)) {
      if (delta.tokens.length > 0) firstAt ??= performance.now();
      tokens += delta.tokens.length;
      cached = delta.cachedTokens;
      printer.push(delta.text, delta.finish);
      if (delta.finish?.type === "error") {
        this.#messages.pop();
        printer.close();
        return note(delta.finish.message);
      }
      if (delta.finish?.type === "abort") ended = "(stopped)";
      if (delta.finish?.type === "length") ended = "(cut: the context or --max-tokens is full)";
    }
    printer.close();
    if (ended !== "") note(ended);
    this.#messages.push({ role: "assistant", content: printer.content });
    if (!this.#stats || firstAt === null) return;
    const seconds = (performance.now() - firstAt) / 1000;
    const rate = tokens > 1 && seconds > 0 ? `${((tokens - 1) / seconds).toFixed(1)} tokens/s, ` : "";
    const prompt = (await generation.promptIds).length;
    note(
      `${tokens} tokens, ${rate}first after ${
        Math.round(firstAt - begun)
      } ms; prompt ${prompt}, cached ${cached}`,
    );
  }
}

/** Prints an answer as it comes, its reasoning dimmed. */
class AnswerPrinter {
  readonly #options: ConversationOptions;
  readonly #write: (text: string) => void;
  readonly #parser: AnswerParser;
  readonly #markdown: MarkdownPrinter | null;
  #reasoning = false;
  #last = "";
  content = "";

  /** `format` is that of whole answers, if the template has one. */
  constructor(
    options: ConversationOptions,
    write: (text: string) => void,
    window: ConversationOutput["window"],
    format: ToolFormat | null,
  ) {
    this.#options = options;
    this.#write = write;
    this.#markdown = window && options.color ? new MarkdownPrinter(write, window) : null;
    const tools = format && { format, specs: [] };
    this.#parser = new AnswerParser({
      reasoning: { open: false },
      tools,
      start: "",
      parallelToolCalls: true,
    });
  }

  push(text: string, finish: FinishReason | null): void {
    for (const piece of this.#parser.push(text, finish)) {
      if (!("text" in piece)) continue;
      if (piece.type === "reasoning") {
        if (!this.#options.showReasoning) continue;
        if (!this.#reasoning && this.#options.color) this.#write("\x1b[2m");
        this.#reasoning = true;
      } else {
        this.#endReasoning("\n\n");
        this.content += piece.text;
        this.#markdown?.push(piece.text);
        if (this.#markdown) continue;
      }
      this.#write(piece.text);
      this.#last = piece.text;
    }
  }

  /** Ends the line and the dimming, whatever happened. */
  close(): void {
    this.#endReasoning("");
    if (this.#markdown && this.content !== "") return this.#markdown.end();
    if (!this.#last.endsWith("\n")) this.#write("\n");
  }

  #endReasoning(separator: string): void {
    if (!this.#reasoning) return;
    this.#reasoning = false;
    this.#write((this.#options.color ? "\x1b[22m" : "") + separator);
  }
}

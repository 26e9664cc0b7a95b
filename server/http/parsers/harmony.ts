// gpt-oss's form of answers, "harmony" (its published format): messages in channels. What the model thinks is in
// "analysis", what it answers in "final", what it says on the way in "commentary"; a message to "functions.NAME" is a
// call.
//
//   <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…<|return|>
//   <|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>
//
// The recipient may also stand in front of the channel. A text that does not begin like this is content, all of it.

import { type Pieces, restAsContent } from "./call_pieces.ts";
import { certainLength, type Incoming, StreamParser, takeUntil } from "./streaming.ts";
import type { ToolFormat, ToolPiece } from "./tool_format.ts";

const channelTag = "<|channel|>", bodyTag = "<|message|>", startTag = "<|start|>";
/** What follows a message; the next one's start where the model forgot to end it. */
const endTags = ["<|end|>", "<|return|>", "<|call|>", startTag];

function* messages(text: Incoming, names: ReadonlySet<string>): Pieces {
  for (let calls = 0;;) {
    while ((text.held = text.held.trimStart()).length < 2 && !text.over) yield null;
    if (!text.held.startsWith("<|")) return yield* restAsContent(text);
    const [header, tag] = yield* takeUntil(text, bodyTag);
    if (tag === "") return;
    const name = /\bto=(?:functions\.)?([^\s<]+)/.exec(header)?.[1] ?? "", index = calls;
    if (names.has(name)) {
      yield { type: "call", index, name };
      yield* body(text, (text) => ({ type: "arguments", index, text }));
      yield { type: "called", index };
      calls++;
    } else {
      const thought = header.split(channelTag)[1]?.trim().startsWith("analysis") === true;
      yield* body(text, (text) => ({ type: thought ? "reasoning" : "content", text }));
    }
  }
}

/** A message up to its end, as it comes. */
function* body(text: Incoming, piece: (text: string) => ToolPiece): Pieces {
  for (;; yield null) {
    const ends = endTags.map((tag) => ({ tag, at: text.held.indexOf(tag) })).filter(({ at }) => at >= 0);
    const [first] = ends.sort((a, b) => a.at - b.at);
    const said = text.take(first?.at ?? (text.over ? undefined : certainLength(text.held, endTags)));
    if (said !== "") yield piece(said);
    if (first !== undefined && first.tag !== startTag) text.take(first.tag.length);
    if (first !== undefined || text.over) return;
  }
}

/** gpt-oss. */
export const harmony: ToolFormat = {
  name: "harmony",
  matches: (template) => template.includes(channelTag),
  specialTags: true,
  answerStart: `${channelTag}final${bodyTag}`,
  start: (name) =>
    `${channelTag}commentary to=functions.` + (name === null ? "" : `${name} <|constrain|>json${bodyTag}`),
  parser(tools) {
    const names = new Set(tools.map(({ name }) => name));
    return new StreamParser((text) => messages(text, names));
  },
};

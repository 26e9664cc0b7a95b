/** A grammar of answers, for a model that thinks aloud before it answers: free text in `<think>…</think>`, then it. */
import type { GrammarSource } from "../source.ts";

/** The end of a block, and what follows it. */
function rest(source: GrammarSource): GrammarSource {
  const end = "</think>";
  const content: GrammarSource = {
    kind: "sequence",
    parts: [{ kind: "regex", pattern: "\\n{0,2}" }, source],
  };
  return {
    kind: "tags",
    triggers: [end],
    tags: [{ begin: end, content, end: "" }],
    atLeastOne: true,
    stopAfterFirst: true,
  };
}

/** `open`: the prompt has begun a block already, which has to end; otherwise there may be one. */
export function reasoned(source: GrammarSource, open: boolean): GrammarSource {
  if (open) return rest(source);
  const block: GrammarSource = {
    kind: "sequence",
    parts: [{ kind: "choice", choices: ["<think>"] }, rest(source)],
  };
  return { kind: "any_of", parts: [source, block] };
}

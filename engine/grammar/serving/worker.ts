/**
 * The grammar worker: compiles grammars and makes masks, away from the scheduler's loop. The vocabulary is read when
 * the first grammar comes. Drawn tokens come before new grammars: compiling keeps none waiting that runs already for
 * longer than one compilation.
 */
import "../../workers/death.ts";
import "../../workers/fault.ts";
import { Vocabulary } from "../../tokenizer/vocabulary.ts";
import { readTokenizerFiles } from "../../weights/tokenizer_files.ts";
import { makeVocabulary } from "../vocabulary/vocabulary.ts";
import type { ToGrammar } from "./messages.ts";
import { GrammarService } from "./service.ts";

/** What the worker is started with. */
export interface GrammarSetup {
  /** Tells it from a message of the scheduler. */
  readonly type: "init";
  /** Folder or GGUF file of the model. */
  readonly modelDir: string;
  /** Rows of the model's embedding table. */
  readonly vocabSize: number;
  /** Tokens that end a text. */
  readonly eosIds: readonly number[];
}

async function load({ modelDir, vocabSize, eosIds }: GrammarSetup): Promise<GrammarService> {
  const { json, path } = await readTokenizerFiles(modelDir);
  const vocabulary = new Vocabulary(json, path);
  const tokens = Array.from(
    { length: vocabSize },
    (_, id) => vocabulary.isSpecial(id) ? undefined : vocabulary.bytes(id),
  );
  return new GrammarService(makeVocabulary(tokens, eosIds), (ids) => vocabulary.decode(ids, false));
}

const urgent: ToGrammar[] = [];
const grammars: ToGrammar[] = [];
const later = new MessageChannel();
let service: GrammarService | null = null;

// One message of its own at a time: what arrives in between is sorted in before the next.
later.port2.onmessage = () => {
  if (service === null) return; // `init` sends another one
  const message = urgent.shift() ?? grammars.shift();
  if (message === undefined) return;
  const answer = service.handle(message);
  if (answer !== null) self.postMessage(answer, answer.type === "mask" ? [answer.mask.buffer] : []);
  later.port1.postMessage(null);
};

self.onmessage = async ({ data }: MessageEvent<GrammarSetup | ToGrammar>) => {
  if (data.type === "init") {
    service = await load(data);
  } else if (data.type === "open") {
    grammars.push(data);
  } else if (data.type === "close") {
    const at = grammars.findIndex(({ key }) => key === data.key);
    if (at >= 0) grammars.splice(at, 1);
    else urgent.push(data);
  } else {
    urgent.push(data);
  }
  later.port1.postMessage(null);
};

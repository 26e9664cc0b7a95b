/**
 * The grammar worker: compiles grammars and makes masks, away from the scheduler's loop. The vocabulary is read when
 * the first grammar comes. Drawn tokens come before new grammars: compiling keeps none waiting that runs already for
 * longer than one compilation.
 */
import "../../workers/death.ts";
import "../../workers/fault.ts";
import { newUtf8Decoder, Vocabulary } from "../../tokenizer/vocabulary.ts";
import { readTokenizerFiles } from "../../weights/tokenizer_files.ts";
import { modelVocabulary, type Vocabulary as GrammarVocabulary } from "../vocabulary/vocabulary.ts";
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
  const tokenizer = new Vocabulary(json, path);
  // The tokenizer's own tables go: a large heap makes its collections noticed.
  const special = new Map<number, Uint8Array>();
  for (let id = 0; id < tokenizer.size; id++) {
    if (tokenizer.isSpecial(id)) special.set(id, tokenizer.bytes(id));
  }
  const vocabulary = modelVocabulary(tokenizer, vocabSize, eosIds);
  return serve(vocabulary, special);
}

function serve(vocabulary: GrammarVocabulary, special: ReadonlyMap<number, Uint8Array>): GrammarService {
  return new GrammarService(vocabulary, (ids) => {
    const decoder = newUtf8Decoder();
    const pieces = Array.from(ids, (id) => special.get(id) ?? vocabulary.bytes(id));
    return pieces.map((bytes) => decoder.decode(bytes, { stream: true })).join("") + decoder.decode();
  });
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

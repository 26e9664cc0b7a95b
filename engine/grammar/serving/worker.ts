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
import type { FromGrammar, Said, ToGrammar } from "./messages.ts";
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

/** Milliseconds after which answers are sent although more are to come: a slow mask keeps no other one waiting. */
const together = 2;

const grammars: (ToGrammar & { readonly type: "open" })[] = [];
const later = new MessageChannel();
let service: GrammarService | null = null;

function handle(service: GrammarService, messages: readonly ToGrammar[]): void {
  let answers: FromGrammar[] = [];
  let since = performance.now();
  const send = () => {
    if (answers.length > 0) {
      self.postMessage({ type: "said", messages: answers } satisfies Said<FromGrammar>);
    }
    answers = [];
    since = performance.now();
  };
  for (const message of messages) {
    const answer = service.handle(message);
    if (answer !== null) answers.push(answer);
    if (performance.now() - since > together) send();
  }
  send();
}

// One grammar at a time: tokens that are drawn in between come before the next.
later.port2.onmessage = () => {
  if (service === null) return; // `init` sends another one
  handle(service, grammars.splice(0, 1));
  if (grammars.length > 0) later.port1.postMessage(null);
};

self.onmessage = async ({ data }: MessageEvent<GrammarSetup | Said<ToGrammar>>) => {
  if (data.type === "init") {
    service = await load(data);
    return later.port1.postMessage(null);
  }
  const urgent: ToGrammar[] = [];
  for (const message of data.messages) {
    if (message.type === "open") {
      if (grammars.push(message) === 1) later.port1.postMessage(null);
      continue;
    }
    const at = message.type === "close" ? grammars.findIndex(({ key }) => key === message.key) : -1;
    if (at >= 0) grammars.splice(at, 1);
    else urgent.push(message);
  }
  // Tokens are drawn under masks that the service has made, so it is there.
  if (service !== null) handle(service, urgent);
};

// What the grammar tests share: texts through a grammar, vocabularies, random texts under masks.
import type { State } from "../../../engine/grammar/automaton/automaton.ts";
import { compileGrammar, type Grammar, type GrammarOptions } from "../../../engine/grammar/grammar.ts";
import { Matcher } from "../../../engine/grammar/matcher.ts";
import type { Json } from "../../../engine/grammar/schema/document.ts";
import { MaskMaker } from "../../../engine/grammar/vocabulary/masks.ts";
import {
  makeVocabulary,
  modelVocabulary,
  type Vocabulary,
} from "../../../engine/grammar/vocabulary/vocabulary.ts";
import { Vocabulary as Tokenizer } from "../../../engine/tokenizer/vocabulary.ts";
import type { Random } from "../../random.ts";

const encoder = new TextEncoder();
const root = new URL("../../../", import.meta.url).pathname;

/** Whether a grammar accepts a text, byte by byte. */
export function accepts(grammar: Grammar, text: string): boolean {
  grammar.begin();
  let state: State | null = grammar.start;
  for (const byte of encoder.encode(text)) {
    state = grammar.automaton.step(state, byte);
    if (state === null) return false;
  }
  return state.canEnd;
}

/** A schema's grammar. */
export function schemaGrammar(schema: unknown, options: GrammarOptions = {}): Grammar {
  return compileGrammar({ kind: "json_schema", schema: schema as Json }, options);
}

/** Ids by their bytes as one character each; the last id is the end of text. */
export function vocabularyOf(tokens: readonly string[]): Vocabulary {
  const bytes = tokens.map((text) => encoder.encode(text));
  return makeVocabulary([...bytes, undefined], [tokens.length]);
}

/** The embedded model's vocabulary. */
export async function pocketVocabulary(): Promise<Vocabulary> {
  const folder = `${root}models/pocket/`;
  const { eos_token_id } = JSON.parse(await Deno.readTextFile(`${folder}generation_config.json`));
  const { vocab_size } = JSON.parse(await Deno.readTextFile(`${folder}config.json`));
  const file = JSON.parse(await Deno.readTextFile(`${folder}tokenizer.json`));
  return modelVocabulary(new Tokenizer(file, folder), vocab_size, [eos_token_id].flat());
}

/** Qwen3's vocabulary from $RADISH_QWEN3_TOKENIZER or ../shared, if it is there. */
export async function qwenVocabulary(): Promise<Vocabulary | undefined> {
  for (const folder of [Deno.env.get("RADISH_QWEN3_TOKENIZER"), `${root}../shared/tokenizers/qwen3`]) {
    if (folder === undefined) continue;
    try {
      const file = JSON.parse(await Deno.readTextFile(`${folder}/tokenizer.json`));
      return modelVocabulary(new Tokenizer(file, folder), 151_936, [151_643, 151_645]);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}

/** The folder of the official JSON Schema test suite from $RADISH_JSON_SCHEMA_SUITE or ../shared, if it is there. */
export function suiteFolder(): string | undefined {
  const places = [Deno.env.get("RADISH_JSON_SCHEMA_SUITE"), `${root}../shared/data/json-schema-test-suite`];
  return places.find((place) => {
    try {
      return place !== undefined && Deno.statSync(`${place}/tests`).isDirectory;
    } catch {
      return false;
    }
  });
}

/** Ids of the tokens that a state allows, each tried by itself. */
export function bruteForce(grammar: Grammar, state: State, vocabulary: Vocabulary): number[] {
  const ids: number[] = [];
  for (let id = 0; id < vocabulary.size; id++) {
    const bytes = vocabulary.bytes(id);
    if (vocabulary.endIds.includes(id)) {
      if (state.canEnd) ids.push(id);
      continue;
    }
    if (bytes.length === 0) continue;
    let at: State | null = state;
    for (let i = 0; i < bytes.length && at !== null; i++) at = grammar.automaton.step(at, bytes[i]!);
    if (at !== null) ids.push(id);
  }
  return ids;
}

/** The ids that a mask allows. */
export function allowed(bits: Uint32Array): number[] {
  const ids: number[] = [];
  bits.forEach((word, i) => {
    for (let bit = 0; bit < 32; bit++) if ((word >>> bit & 1) === 1) ids.push(i * 32 + bit);
  });
  return ids;
}

/**
 * A random text under the masks: any allowed token, after `calm` tokens one that closes something where there is one.
 * Undefined where the text was not finished within `most` tokens.
 */
export function sample(
  grammar: Grammar,
  masks: MaskMaker,
  random: Random,
  { calm = 12, most = 400 } = {},
): string | undefined {
  const matcher = new Matcher(grammar, masks);
  const bits = new Uint32Array(masks.vocabulary.words);
  let text = "";
  for (let step = 0; step < most; step++) {
    if (!matcher.fillMask(bits)) throw new Error(`nothing is allowed after ${JSON.stringify(text)}`);
    let ids = allowed(bits);
    const ends = ids.filter((id) => masks.vocabulary.endIds.includes(id));
    if (ends.length > 0 && (step > calm || random.next() < 0.4)) ids = ends;
    else if (step > calm) {
      const closing = ids.filter((id) => /["}\]]/.test(bytesOf(masks, id)));
      if (closing.length > 0 && random.next() < 0.9) ids = closing;
      const closed = closing.filter((id) => /^["}\]]+$/.test(bytesOf(masks, id)));
      if (closed.length > 0 && random.next() < 0.7) ids = closed;
    }
    const id = random.pick(ids);
    if (!matcher.accept(id)) {
      throw new Error(
        `token ${id} is allowed after ${JSON.stringify(text)} and not accepted: ${
          JSON.stringify(grammar.source)
        }`,
      );
    }
    if (matcher.ended) return decode(text);
    text += bytesOf(masks, id);
  }
  return undefined;
}

function bytesOf(masks: MaskMaker, id: number): string {
  return String.fromCharCode(...masks.vocabulary.bytes(id));
}

function decode(bytes: string): string {
  return new TextDecoder("utf-8", { fatal: true }).decode(
    Uint8Array.from(bytes, (char) => char.charCodeAt(0)),
  );
}

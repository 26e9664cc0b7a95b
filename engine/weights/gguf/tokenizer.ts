// The tokenizer in a GGUF file's metadata, as the `tokenizer.json` and `tokenizer_config.json` that it was made from,
// so that one encoder serves both.
//
// "gpt2" is byte-level BPE whose pre-tokenizer is only named (`tokenizer.ggml.pre`): `pre_tokenizers.ts`. "llama" is
// sentencepiece's BPE, which has scores instead of merges: a merge is tried the earlier, the higher the score of what
// it makes (as Hugging Face transformers converts sentencepiece models).

import { Metadata } from "./metadata.ts";
import type { GgufHeader } from "./header.ts";
import { knownPreTokenizers, preTokenizers } from "./pre_tokenizers.ts";

/** Kinds of tokens in `tokenizer.ggml.token_type`. */
const TokenType = { Normal: 1, Unknown: 2, Control: 3, UserDefined: 4, Unused: 5, Byte: 6 } as const;

/** What a model's folder would have in files. */
export interface TokenizerFiles {
  /** As in `tokenizer.json`. */
  readonly tokenizer: Readonly<Record<string, unknown>>;
  /** As in `tokenizer_config.json`, with the chat template. */
  readonly config: Readonly<Record<string, unknown>>;
}

/**
 * The tokenizer's files.
 * @throws ModelError naming file and key, or a kind of tokenizer that is not known
 */
export function tokenizerFiles(header: GgufHeader, path: string): TokenizerFiles {
  const metadata = new Metadata(header, path);
  const tokens = metadata.required("tokenizer.ggml.tokens", metadata.strings);
  const types = metadata.numbers("tokenizer.ggml.token_type") ?? [];
  const kind = metadata.required("tokenizer.ggml.model", metadata.string);
  const added = tokens.flatMap((content, id) => {
    const special = types[id] === TokenType.Control || types[id] === TokenType.Unknown;
    if (!special && types[id] !== TokenType.UserDefined) return [];
    return [{ id, content, special, single_word: false, lstrip: false, rstrip: false, normalized: false }];
  });
  const parts = kind === "gpt2"
    ? byteLevel(metadata, tokens)
    : kind === "llama"
    ? sentencepiece(metadata, tokens)
    : undefined;
  if (parts === undefined) throw metadata.error("tokenizer.ggml.model", '"gpt2" or "llama"');
  const named = (key: string) => {
    const id = metadata.number(`tokenizer.ggml.${key}_token_id`);
    return id === undefined ? undefined : tokens[id];
  };
  const bos = named("bos"), addsBos = metadata.boolean("tokenizer.ggml.add_bos_token") ?? parts.addsBos;
  const config = {
    bos_token: bos,
    eos_token: named("eos"),
    unk_token: named("unknown"),
    pad_token: named("padding"),
    add_bos_token: addsBos,
    chat_template: chatTemplates(metadata),
  };
  return {
    tokenizer: {
      version: "1.0",
      added_tokens: added,
      post_processor: addsBos && bos !== undefined ? startingWith(bos, tokens.indexOf(bos)) : null,
      ...parts.json,
    },
    config: Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined)),
  };
}

/** The template; with named ones beside it, a list of them all. */
function chatTemplates(metadata: Metadata): string | { name: string; template: string }[] | undefined {
  const plain = metadata.string("tokenizer.chat_template");
  const named = (metadata.strings("tokenizer.chat_templates") ?? []).flatMap((name) => {
    const template = metadata.string(`tokenizer.chat_template.${name}`);
    return template === undefined ? [] : [{ name, template }];
  });
  return plain === undefined || named.length === 0 ? plain : [{ name: "default", template: plain }, ...named];
}

/** The parts that depend on the kind of tokenizer. */
interface Parts {
  readonly json: Readonly<Record<string, unknown>>;
  readonly addsBos: boolean;
}

function byteLevel(metadata: Metadata, tokens: readonly string[]): Parts {
  const name = metadata.string("tokenizer.ggml.pre") ?? "default";
  const pre = preTokenizers.get(name);
  if (pre === undefined) {
    throw metadata.error("tokenizer.ggml.pre", `a known pre-tokenizer (${knownPreTokenizers.join(", ")})`);
  }
  return {
    addsBos: pre.addsBos ?? false,
    json: {
      normalizer: pre.normalizer ?? null,
      pre_tokenizer: pre.preTokenizer,
      decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: pre.ignoreMerges ?? false,
        vocab: vocabularyOf(tokens),
        merges: metadata.required("tokenizer.ggml.merges", metadata.strings),
      },
    },
  };
}

function sentencepiece(metadata: Metadata, tokens: readonly string[]): Parts {
  const scores = metadata.required("tokenizer.ggml.scores", metadata.numbers);
  const unknown = metadata.number("tokenizer.ggml.unknown_token_id") ?? 0;
  const prefixed = metadata.boolean("tokenizer.ggml.add_space_prefix") ?? true;
  const spaces = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const strip = { type: "Strip", content: " ", start: 1, stop: 0 };
  return {
    addsBos: true,
    json: {
      normalizer: {
        type: "Sequence",
        normalizers: [...(prefixed ? [{ type: "Prepend", prepend: "▁" }] : []), spaces],
      },
      pre_tokenizer: null,
      decoder: {
        type: "Sequence",
        decoders: [
          { type: "Replace", pattern: { String: "▁" }, content: " " },
          { type: "ByteFallback" },
          { type: "Fuse" },
          ...(prefixed ? [strip] : []),
        ],
      },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: tokens[unknown] ?? null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: true,
        byte_fallback: true,
        ignore_merges: false,
        vocab: vocabularyOf(tokens),
        merges: mergesOf(tokens, scores),
      },
    },
  };
}

/** Ids by text; of equal texts the first counts, as when a file lists them. */
function vocabularyOf(tokens: readonly string[]): Record<string, number> {
  const vocabulary: Record<string, number> = Object.create(null);
  tokens.forEach((token, id) => vocabulary[token] ??= id);
  return vocabulary;
}

/** Merges in the order in which they are tried. */
function mergesOf(tokens: readonly string[], scores: ArrayLike<number>): [string, string][] {
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const merges: {
    readonly left: string;
    readonly right: string;
    readonly score: number;
    readonly order: number;
  }[] = [];
  tokens.forEach((token, id) => {
    const characters = [...token];
    const local: { left: string; right: string; ids: readonly [number, number] }[] = [];
    for (let i = 1; i < characters.length; i++) {
      const left = characters.slice(0, i).join(""), right = characters.slice(i).join("");
      const [a, b] = [ids.get(left), ids.get(right)];
      if (a !== undefined && b !== undefined) local.push({ left, right, ids: [a, b] });
    }
    local.sort((x, y) => x.ids[0] - y.ids[0] || x.ids[1] - y.ids[1]);
    for (const { left, right } of local) {
      merges.push({ left, right, score: scores[id] ?? 0, order: merges.length });
    }
  });
  merges.sort((x, y) => y.score - x.score || x.order - y.order);
  return merges.map(({ left, right }) => [left, right]);
}

/** A post-processor that puts the beginning of text in front. */
function startingWith(bos: string, id: number): Readonly<Record<string, unknown>> {
  const token = { SpecialToken: { id: bos, type_id: 0 } };
  return {
    type: "TemplateProcessing",
    single: [token, { Sequence: { id: "A", type_id: 0 } }],
    pair: [token, { Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
    special_tokens: { [bos]: { id: bos, ids: [id], tokens: [bos] } },
  };
}

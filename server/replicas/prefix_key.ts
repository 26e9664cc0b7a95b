// What a request is routed by: a number for each block of its prompt. Prompts that begin alike have keys that begin
// alike, whether they come as token ids, as text or as a conversation, and nothing is tokenized or rendered for it.
//
// A block is about what a page of the cache holds, so a block that is not whole could not be shared anyway. Two blocks
// with one number send a request to the wrong replica; that costs time, never a wrong answer. The first element stands
// for the salt: prompts of different salts share no pages.

import type { PromptInput } from "../../engine/messages.ts";

/** Token ids of a block. */
export const blockTokens = 16;
/** Characters of a block, fewer than most tokenizers need for {@link blockTokens}. */
export const blockCharacters = 32;
/** Longer prompts are told apart by their beginning. */
export const mostBlocks = 1 << 16;

/** The key of a prompt; element 0 stands for the salt. */
export function prefixKey(input: PromptInput, salt = ""): Uint32Array {
  if (input.type === "ids") {
    const { ids } = input;
    return blocks(salt, ids.length, blockTokens, (at) => ids[at]!);
  }
  const text = input.type === "text" ? input.text : conversation(input);
  return blocks(salt, text.length, blockCharacters, (at) => text.charCodeAt(at));
}

/** Tools come first, as in the templates that know any; each message is whole before the next begins. */
function conversation({ tools, messages }: PromptInput & { type: "chat" }): string {
  let text = tools === undefined ? "" : JSON.stringify(tools);
  for (const message of messages) {
    if (text.length >= mostBlocks * blockCharacters) break;
    text += JSON.stringify(message);
  }
  return text;
}

function blocks(salt: string, length: number, size: number, at: (index: number) => number): Uint32Array {
  const count = Math.min(mostBlocks, Math.floor(length / size));
  const key = new Uint32Array(count + 1);
  let hash = offset;
  for (let i = 0; i < salt.length; i++) hash = mixed(hash, salt.charCodeAt(i));
  key[0] = hash;
  for (let block = 0; block < count; block++) {
    hash = offset;
    for (let i = block * size; i < (block + 1) * size; i++) hash = mixed(hash, at(i));
    key[block + 1] = hash;
  }
  return key;
}

/** FNV-1a's beginning and factor, on 32-bit elements; the shift lets high bits reach low ones. */
const offset = 0x811c9dc5;

function mixed(hash: number, element: number): number {
  const product = Math.imul(hash ^ element, 0x01000193);
  return product ^ (product >>> 15);
}

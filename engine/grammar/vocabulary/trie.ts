/**
 * The bytes of many tokens as a tree in flat arrays, nodes in the order of a walk that goes down first. A walk is a
 * loop over the arrays; a subtree is a range of nodes, and a range of tokens.
 */

/** A token's id and bytes. */
export interface TokenBytes {
  /** The id. */
  readonly id: number;
  /** One character for each byte. */
  readonly bytes: string;
}

/** The tree. Node 0 is not the root but the first byte of the first token: the root has no byte. */
export interface Trie {
  /** Nodes. */
  readonly size: number;
  /** The byte of each node. */
  readonly byte: Uint8Array;
  /** Bytes before this one. */
  readonly depth: Uint16Array;
  /** The node after the subtree. */
  readonly end: Uint32Array;
  /** Tokens that end before this node: those that end in it are `ids[first[node]]` up to `ids[own[node]]`. */
  readonly first: Uint32Array;
  /** See `first`. */
  readonly own: Uint32Array;
  /** Token ids by their bytes. */
  readonly ids: Uint32Array;
  /** Characters below this node at most. */
  readonly reach: Uint16Array;
  /** Classes of the bytes below this node, a bit for each. */
  readonly classes: Uint32Array;
}

/** Ordinary ASCII characters by class: what a place takes is found for whole classes. The last one is rare. */
const ASCII = [
  "abcdefghijklmnopqrstuvwxyz",
  "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
  "0123456789",
  ..." _-./:,;'()!?@#$%&*+=<>[]",
  "^`{|}~\x7f",
];
/** Bytes of each class: those of characters beyond ASCII are the last one. */
export const CLASSES: readonly (readonly number[])[] = [
  ...ASCII.map((chars) => [...chars].map((char) => char.charCodeAt(0))),
  Array.from({ length: 0x80 }, (_, i) => 0x80 + i),
];
/** Of each byte, a bit for its class; no ordinary character has the others. */
export const CLASS_OF: Uint32Array = new Uint32Array(256).fill(1 << 31);
CLASSES.forEach((bytes, i) => bytes.forEach((byte) => CLASS_OF[byte] = 1 << i));

/** Longest token that is taken into a tree. */
const MAX_TOKEN_BYTES = 65_535;

/** Makes the tree of some tokens; empty ones and absurdly long ones are left out. */
export function makeTrie(tokens: readonly TokenBytes[]): Trie {
  const sorted = tokens.filter(({ bytes }) => bytes.length > 0 && bytes.length <= MAX_TOKEN_BYTES)
    .sort((a, b) => a.bytes < b.bytes ? -1 : a.bytes > b.bytes ? 1 : a.id - b.id);
  let size = 0;
  let before = "";
  for (const { bytes } of sorted) {
    size += bytes.length - shared(before, bytes);
    before = bytes;
  }
  const trie = {
    size,
    byte: new Uint8Array(size),
    depth: new Uint16Array(size),
    end: new Uint32Array(size),
    first: new Uint32Array(size + 1),
    own: new Uint32Array(size),
    ids: Uint32Array.from(sorted, ({ id }) => id),
    reach: new Uint16Array(size),
    classes: new Uint32Array(size),
  };
  const path: number[] = []; // the nodes of the token before
  let node = 0;
  before = "";
  sorted.forEach(({ bytes }, index) => {
    const common = shared(before, bytes);
    while (path.length > common) trie.end[path.pop()!] = node;
    for (let depth = common; depth < bytes.length; depth++) {
      trie.byte[node] = bytes.charCodeAt(depth);
      trie.depth[node] = depth;
      trie.first[node] = index;
      trie.own[node] = index;
      path.push(node++);
    }
    trie.own[path.at(-1)!] = index + 1;
    before = bytes;
  });
  while (path.length > 0) trie.end[path.pop()!] = node;
  // From the last node to the first, each adds itself to its parent, the last node before it that is less deep.
  const parents: number[] = [];
  const parent = new Int32Array(size);
  for (let i = 0; i < size; i++) {
    parents.length = trie.depth[i]!;
    parent[i] = parents.at(-1) ?? -1;
    parents.push(i);
  }
  for (let i = size - 1; i >= 0; i--) {
    const above = parent[i]!;
    if (above < 0) continue;
    const character = (trie.byte[i]! & 0xc0) === 0x80 ? 0 : 1;
    trie.reach[above] = Math.max(trie.reach[above]!, trie.reach[i]! + character);
    trie.classes[above]! |= trie.classes[i]! | CLASS_OF[trie.byte[i]!]!;
  }
  trie.first[size] = sorted.length;
  return trie;
}

function shared(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a.charCodeAt(length) === b.charCodeAt(length)) length++;
  return length;
}

/**
 * The bytes of many tokens as a tree in flat arrays, nodes in the order of a walk that goes down first. A walk is a
 * loop over the arrays; a subtree is a range of nodes, and a range of tokens.
 */

/** A token's id and bytes. */
export interface TokenBytes {
  readonly id: number;
  /** One character for each byte. */
  readonly bytes: string;
}

/** The tree. Node 0 is not the root but the first byte of the first token: the root has no byte. */
export interface Trie {
  readonly size: number;
  readonly byte: Uint8Array;
  /** Bytes before this one. */
  readonly depth: Uint16Array;
  /** The node after the subtree. */
  readonly end: Uint32Array;
  /** Tokens that end before this node: those that end in it are `ids[first[node]]` up to `ids[own[node]]`. */
  readonly first: Uint32Array;
  readonly own: Uint32Array;
  /** Token ids by their bytes. */
  readonly ids: Uint32Array;
  readonly maxDepth: number;
}

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
    maxDepth: sorted.reduce((most, { bytes }) => Math.max(most, bytes.length), 0),
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
  trie.first[size] = sorted.length;
  return trie;
}

function shared(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a.charCodeAt(length) === b.charCodeAt(length)) length++;
  return length;
}

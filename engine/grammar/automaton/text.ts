/**
 * Positions inside a text of a regular language, byte by byte: plain text (rules of a grammar, numbers, literals), and
 * the content of a JSON string, where a character may also be written as an escape. Bytes of an unfinished character
 * narrow a range of code points; a byte is taken only if some character of the range leads on.
 */
import type { CharSet } from "../regex/char_set.ts";
import { clampLoops } from "../regex/clamp.ts";
import type { RegexNode } from "../regex/node.ts";
import { DEAD, Position, type Row, step, THROUGH } from "./position.ts";
import type { PositionTable } from "./table.ts";

const SHORT_ESCAPES: ReadonlyMap<number, number> = new Map(
  [['"', '"'], ["\\", "\\"], ["/", "/"], ["b", "\b"], ["f", "\f"], ["n", "\n"], ["r", "\r"], ["t", "\t"]]
    .map(([letter, char]) => [letter!.charCodeAt(0), char!.charCodeAt(0)]),
);

// Positions of one node, found without making their key.
class NodePositions {
  plain: Position | undefined;
  string: Position | undefined;
  /** By the bytes to come: see `AnyRestPosition`. Those of plain text come after those of strings. */
  rests: (Position | undefined)[] | undefined;
}

/** Kinds of positions of one node; there are six of the last. */
const Kind = { Plain: 1, String: 2, Escape: 3, AnyRest: 4 } as const;

function positionsOf(node: RegexNode): NodePositions {
  return (node.positions ??= new NodePositions()) as NodePositions;
}

/** The start of a text of a language. Undefined where only the empty text belongs to it: then there is no position. */
export function plainText(table: PositionTable, node: RegexNode): Position | undefined {
  if (node.kind === "epsilon") return undefined;
  return positionsOf(node).plain ??= table.add(
    new TextPosition(table, node, false),
    Kind.Plain,
    node.id,
  );
}

/** The content of a JSON string, after its first quote, up to and with its last. */
export function stringContent(table: PositionTable, node: RegexNode): Position {
  return positionsOf(node).string ??= table.add(
    new TextPosition(table, node, true),
    Kind.String,
    node.id,
  );
}

// Inside a text of the language of `node`, which is the content of a JSON string where `json` says so.
abstract class InText extends Position {
  constructor(
    protected readonly table: PositionTable,
    protected readonly node: RegexNode,
    protected readonly json: boolean,
  ) {
    super();
  }

  override get insideString(): boolean {
    return this.json;
  }

  override get anyString(): boolean {
    return this.json && this.node === this.table.regex.all;
  }

  override clamped(length: number): Position {
    if (!this.json) return this;
    const node = clampLoops(this.table.regex, this.node, length);
    return node === this.node ? this : this.at(node);
  }

  /** This very place inside a string of another language. */
  protected abstract at(node: RegexNode): Position;
}

// Between two characters.
class TextPosition extends InText {
  get nullable(): boolean {
    return !this.json && this.node.nullable;
  }

  override get free(): number {
    return this.json ? this.table.derivatives.free(this.node) : 0;
  }

  override takes(set: CharSet): boolean {
    return this.table.derivatives.takes(this.node, set);
  }

  override takesAll(set: CharSet, length: number): boolean {
    return this.table.derivatives.takesAll(this.node, set, length);
  }

  protected at(node: RegexNode): Position {
    return stringContent(this.table, node);
  }

  compute(byte: number): readonly Row[] {
    const { derivatives } = this.table;
    if (byte >= 0x80) return this.#lead(byte);
    if (this.json) {
      if (byte === 0x22) return this.node.nullable ? THROUGH : DEAD;
      if (byte === 0x5c) {
        if (!derivatives.leadsOn(this.node)) return DEAD;
        const { table, node } = this;
        return table.add(step((byte) => afterBackslash(table, node, byte)), Kind.Escape, node.id).alone;
      }
      if (byte < 0x20) return DEAD;
    }
    return after(this.table, this.node, byte, this.json);
  }

  #lead(byte: number): readonly Row[] {
    const length = byte < 0xc2 || byte > 0xf4 ? 0 : byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    if (length === 0) return DEAD;
    const low = (byte & (0x3f >> length)) << (6 * length);
    return continued(this.table, this.node, low, length, this.json);
  }
}

// In the middle of a character's UTF-8: code points from `low`, `left` bytes to come.
class CharPosition extends InText {
  readonly nullable = false;
  readonly #low: number;
  readonly #left: number;

  constructor(table: PositionTable, node: RegexNode, low: number, left: number, json: boolean) {
    super(table, node, json);
    this.#low = low;
    this.#left = left;
  }

  protected at(node: RegexNode): Position {
    return continued(this.table, node, this.#low, this.#left, true)[0]?.[0] ?? this;
  }

  compute(byte: number): readonly Row[] {
    if ((byte & 0xc0) !== 0x80) return DEAD;
    const low = this.#low + ((byte & 0x3f) << (6 * (this.#left - 1)));
    if (this.#left === 1) return after(this.table, this.node, low, this.json);
    // Overlong forms, surrogates and what lies beyond Unicode.
    if (this.#left === 2 && this.#low < 0x10000 && (low < 0x800 || (low >= 0xd800 && low < 0xe000))) {
      return DEAD;
    }
    if (this.#left === 3 && (low < 0x10000 || low > 0x10ffff)) return DEAD;
    return continued(this.table, this.node, low, this.#left - 1, this.json);
  }
}

function continued(
  table: PositionTable,
  node: RegexNode,
  low: number,
  left: number,
  json: boolean,
): readonly Row[] {
  const least = left === 2 && low === 0 ? 0x800 : left === 3 && low === 0 ? 0x10000 : low;
  const high = Math.min(0x10ffff, low + 2 ** (6 * left) - 1);
  const only = least === low && high - low === 2 ** (6 * left) - 1 && (left !== 2 || low !== 0xd000)
    ? table.derivatives.onlyWithin(node, low, high)
    : undefined;
  if (only !== undefined) return anyRest(table, only, left, json).alone;
  if (!table.derivatives.anyWithin(node, least, high)) return DEAD;
  // One number is less to keep than a text.
  const key = node.id < 2 ** 26
    ? ((node.id * 2 ** 21 + low) * 4 + left) * 2 + (json ? 1 : 0)
    : `${json ? "u" : "v"}${node.id},${low},${left}`;
  return table.get(key, () => new CharPosition(table, node, low, left, json)).alone;
}

// In the middle of a character that leads to `next` whatever the `left` bytes to come are. Most characters do, and one
// position for all of them keeps a walk over the vocabulary from making one for every two bytes.
class AnyRestPosition extends InText {
  readonly nullable = false;
  readonly #left: number;

  constructor(table: PositionTable, next: RegexNode, left: number, json: boolean) {
    super(table, next, json);
    this.#left = left;
  }

  protected at(next: RegexNode): Position {
    return anyRest(this.table, next, this.#left, true);
  }

  compute(byte: number): readonly Row[] {
    if ((byte & 0xc0) !== 0x80) return DEAD;
    return this.#left === 1
      ? rowsOf(this.table, this.node, this.json)
      : anyRest(this.table, this.node, this.#left - 1, this.json).alone;
  }
}

function anyRest(table: PositionTable, next: RegexNode, left: number, json: boolean): Position {
  const rests = positionsOf(next).rests ??= [undefined, undefined, undefined];
  const which = json ? left - 1 : left + 2;
  return rests[which] ??= table.add(
    new AnyRestPosition(table, next, left, json),
    Kind.AnyRest + which,
    next.id,
  );
}

// After a whole character.
function after(table: PositionTable, node: RegexNode, codePoint: number, json: boolean): readonly Row[] {
  const next = table.derivatives.next(node, codePoint);
  return next === undefined ? DEAD : rowsOf(table, next, json);
}

function rowsOf(table: PositionTable, next: RegexNode, json: boolean): readonly Row[] {
  if (json) return stringContent(table, next).alone;
  return plainText(table, next)?.alone ?? THROUGH;
}

function afterBackslash(table: PositionTable, node: RegexNode, byte: number): readonly Row[] {
  const char = SHORT_ESCAPES.get(byte);
  if (char !== undefined) return after(table, node, char, true);
  return byte === 0x75 ? hexDigits(table, node, 0, 4, 0) : DEAD;
}

// In the digits of \uXXXX: units from `low`, `left` digits to come; `base` is where an earlier high surrogate leads.
function afterDigit(
  table: PositionTable,
  node: RegexNode,
  low: number,
  left: number,
  base: number,
  byte: number,
): readonly Row[] {
  const digit = hexValue(byte);
  if (digit < 0) return DEAD;
  const unit = low + digit * 16 ** (left - 1);
  if (left > 1) return hexDigits(table, node, unit, left - 1, base);
  if (base > 0) return isLow(unit) ? after(table, node, base + unit - 0xdc00, true) : DEAD;
  if (isLow(unit)) return DEAD;
  if (unit < 0xd800 || unit > 0xdbff) return after(table, node, unit, true);
  const start = 0x10000 + ((unit - 0xd800) << 10);
  return table.derivatives.anyWithin(node, start, start + 0x3ff)
    ? betweenPair(table, node, start, 0x5c).alone
    : DEAD;
}

function hexDigits(
  table: PositionTable,
  node: RegexNode,
  low: number,
  left: number,
  base: number,
): readonly Row[] {
  const high = low + 16 ** left - 1;
  const { derivatives } = table;
  let viable: boolean;
  if (base > 0) {
    const [from, to] = [Math.max(low, 0xdc00), Math.min(high, 0xdfff)];
    viable = from <= to && derivatives.anyWithin(node, base + from - 0xdc00, base + to - 0xdc00);
  } else {
    const [from, to] = [Math.max(low, 0xd800), Math.min(high, 0xdbff)];
    viable = derivatives.anyWithin(node, low, high) || (from <= to &&
      derivatives.anyWithin(
        node,
        0x10000 + ((from - 0xd800) << 10),
        0x10000 + ((to - 0xd800) << 10) + 0x3ff,
      ));
  }
  if (!viable) return DEAD;
  return table.get(
    `h${node.id},${low},${left},${base}`,
    () => step((byte) => afterDigit(table, node, low, left, base, byte)),
  ).alone;
}

// Between the two escapes of a surrogate pair: the backslash, then the u.
function betweenPair(table: PositionTable, node: RegexNode, base: number, wanted: number): Position {
  return table.get(`p${node.id},${base},${wanted}`, () =>
    step((byte) => {
      if (byte !== wanted) return DEAD;
      return byte === 0x5c ? betweenPair(table, node, base, 0x75).alone : hexDigits(table, node, 0, 4, base);
    }));
}

function isLow(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}

function hexValue(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/**
 * Numbers as languages of their decimal texts. Comparison with a bound and divisibility are small machines over the
 * digits, so `minimum`, `maximum` and `multipleOf` are enforced exactly, digit by digit. A machine is dead as soon as no
 * digits can lead to a number of its set ("101" where 100 is the most): to find that out by looking through what may
 * follow takes thousands of derivatives.
 *
 * What is written: a number without constraints may have an exponent of up to two digits; a constrained one is a plain
 * decimal. An integer has neither fraction nor exponent. Where a reader's 64-bit floating point could round a text
 * onto the wrong side of a constraint (exclusive bounds of non-integers, `multipleOf`, negations), at most 15 digits
 * are written: those are told apart by every reader.
 */
import type { RegexBuilder } from "../regex/builder.ts";
import { charSet, oneChar } from "../regex/char_set.ts";
import type { CharMachine, RegexNode } from "../regex/node.ts";

/** Digits before and after the point of any number. */
const MAX_DIGITS = 40;
/** Digits that a 64-bit floating point number always tells apart. */
const EXACT_DIGITS = 15;
/** Remainders of `multipleOf` that are told apart. */
const MAX_REMAINDERS = 10_000;

/** A set of numbers: `text` is what may be written, `closed` every decimal text of the same values. */
export interface NumberSet {
  /** All numbers, exponents included: then the languages are not looked at. */
  readonly all: boolean;
  /** What may be written. */
  readonly text: RegexNode;
  /** Every decimal text of the same values. */
  readonly closed: RegexNode;
  /** All other numbers, where that is known. */
  readonly others?: () => NumberSet;
}

/** Operations on sets of numbers. */
export class Numbers {
  readonly #regex: RegexBuilder;
  readonly #decimal: RegexNode;
  readonly #free: RegexNode;
  readonly #integer: RegexNode;
  readonly #integerClosed: RegexNode;
  readonly #short: RegexNode;
  /** Every number. */
  readonly every: NumberSet;
  /** No number. */
  readonly nothing: NumberSet;
  /** Whole numbers. */
  readonly integers: NumberSet;

  /** Builds with this builder. */
  constructor(regex: RegexBuilder) {
    this.#regex = regex;
    const digit = regex.chars(charSet([[0x30, 0x39]]));
    const [minus, point, zero] = [regex.literal("-"), regex.literal("."), regex.literal("0")];
    const natural = regex.alt([
      zero,
      regex.concat(regex.chars(charSet([[0x31, 0x39]])), regex.loop(digit, 0, MAX_DIGITS - 1)),
    ]);
    const fraction = regex.concat(point, regex.loop(digit, 1, MAX_DIGITS));
    const exponent = regex.concat(
      regex.chars(charSet([[0x45, 0x45], [0x65, 0x65]])),
      regex.optional(regex.chars(charSet([[0x2b, 0x2b], [0x2d, 0x2d]]))),
      regex.loop(digit, 1, 2),
    );
    this.#integer = regex.concat(regex.optional(minus), natural);
    this.#decimal = regex.concat(this.#integer, regex.optional(fraction));
    this.#free = regex.concat(this.#decimal, regex.optional(exponent));
    const zeros = regex.concat(point, regex.loop(zero, 1, MAX_DIGITS));
    this.#integerClosed = regex.concat(this.#integer, regex.optional(zeros));
    // "0." and leading zeros of a fraction count too: a bound on the safe side.
    const other = regex.chars([0x2d, 0x2e]);
    this.#short = regex.concat(regex.loop(other, 0, 1), regex.machine(digitCount(EXACT_DIGITS)));
    this.every = { all: true, text: this.#free, closed: this.#decimal };
    this.nothing = { all: false, text: regex.none, closed: regex.none };
    this.integers = { all: false, text: this.#integer, closed: this.#integerClosed };
  }

  /** Both at once. */
  meet(a: NumberSet, b: NumberSet): NumberSet {
    if (a.all) return b;
    if (b.all || a === b) return a;
    return {
      all: false,
      text: this.#regex.and([a.text, b.text]),
      closed: this.#regex.and([a.closed, b.closed]),
    };
  }

  /** Either. */
  join(a: NumberSet, b: NumberSet): NumberSet {
    if (a.all || b.all) return this.every;
    return {
      all: false,
      text: this.#regex.alt([a.text, b.text]),
      closed: this.#regex.alt([a.closed, b.closed]),
    };
  }

  /** Every number that is not in it. */
  complement(a: NumberSet): NumberSet {
    if (a.all) return this.nothing;
    if (a.closed === this.#regex.none) return this.every;
    if (a.others) return a.others();
    const closed = this.#regex.and([this.#decimal, this.#regex.not(a.closed)]);
    return { all: false, text: this.#regex.and([closed, this.#short]), closed };
  }

  /** One value, written in the shortest way. */
  constant(value: number): NumberSet {
    const regex = this.#regex;
    const text = decimalText(value);
    if (text.length > MAX_DIGITS) {
      const literal = regex.literal(JSON.stringify(value));
      return { all: false, text: literal, closed: literal };
    }
    const zeros = regex.loop(regex.literal("0"), 0, MAX_DIGITS);
    const some = regex.loop(regex.literal("0"), 1, MAX_DIGITS);
    const literal = regex.literal(text);
    const closed = text.includes(".")
      ? regex.concat(literal, zeros)
      : regex.concat(literal, regex.optional(regex.concat(regex.literal("."), some)));
    const signed = value === 0 ? regex.concat(regex.optional(regex.literal("-")), closed) : closed;
    return { all: false, text: literal, closed: signed };
  }

  /** Numbers at least, or more than, a bound. */
  atLeast(bound: number, exclusive: boolean): NumberSet {
    return this.#compare(bound, exclusive ? "gt" : "ge", exclusive);
  }

  /** Numbers at most, or less than, a bound. */
  atMost(bound: number, exclusive: boolean): NumberSet {
    return this.#compare(bound, exclusive ? "lt" : "le", exclusive);
  }

  #compare(bound: number, how: Comparison, exclusive: boolean): NumberSet {
    const closed = this.#regex.and([this.#decimal, this.#regex.machine(mortal(comparison(bound, how)))]);
    const others = () => this.#compare(bound, OPPOSITE[how], !exclusive);
    if (!exclusive) return { all: false, text: closed, closed, others };
    const safe = Math.abs(bound) < 2 ** 53 ? this.#regex.alt([this.#short, this.#integer]) : this.#short;
    return { all: false, text: this.#regex.and([closed, safe]), closed, others };
  }

  /** Multiples of a positive number; undefined where the remainders are too many. */
  multipleOf(divisor: number): NumberSet | undefined {
    const text = decimalText(divisor);
    const [whole = "0", fraction = ""] = text.split(".");
    const scaled = Number(whole + fraction);
    if (!Number.isSafeInteger(scaled) || scaled > MAX_REMAINDERS || fraction.length > EXACT_DIGITS) {
      return undefined;
    }
    const closed = this.#regex.and([this.#decimal, this.#regex.machine(remainder(scaled, fraction.length))]);
    return { all: false, text: this.#regex.and([closed, this.#short]), closed };
  }
}

/** A number without exponent: 1e-7 → "0.0000001". */
export function decimalText(value: number): string {
  const [, sign = "", whole = "0", fraction = "", power = "0"] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value)) ?? [];
  const shift = Number(power);
  if (shift === 0) return String(value === 0 ? 0 : value);
  const digits = whole + fraction;
  const at = whole.length + shift;
  if (at <= 0) return `${sign}0.${"0".repeat(-at)}${digits}`;
  return at >= digits.length
    ? sign + digits.padEnd(at, "0")
    : `${sign}${digits.slice(0, at)}.${digits.slice(at)}`;
}

type Comparison = "lt" | "le" | "gt" | "ge";
const OPPOSITE = { lt: "ge", le: "gt", gt: "le", ge: "lt" } as const satisfies Record<Comparison, Comparison>;

/** A machine of few states that dies where it would else never accept again. */
function mortal(machine: CharMachine): CharMachine {
  const points = [...machine.alphabet].map((char) => char.charCodeAt(0));
  const known = new Map<number, boolean>();
  const isLive = (from: number): boolean => {
    const reached = new Set([from]);
    for (const state of reached) {
      if (known.get(state) ?? machine.accepts(state)) {
        known.set(from, true);
        return true;
      }
      if (known.has(state)) continue;
      for (const point of points) {
        const next = machine.next(state, point);
        if (next >= 0) reached.add(next);
      }
    }
    for (const state of reached) known.set(state, false);
    return false;
  };
  return {
    ...machine,
    next(state, point) {
      const next = machine.next(state, point);
      return next >= 0 && (known.get(next) ?? isLive(next)) ? next : -1;
    },
  };
}

// Compares a decimal's text with a bound. While the digits before the point are read, their count decides first, then
// the digits in order; state = phase and how the digits so far compare (0 equal, 1 less, 2 greater).
function comparison(bound: number, how: Comparison): CharMachine {
  const text = decimalText(Math.abs(bound));
  const [whole = "0", fraction = ""] = text.split(".");
  const negativeBound = bound < 0;
  const zero = bound === 0;
  const [W, F] = [whole.length, fraction.replace(/0+$/, "").length];
  // States: 0 start; then for each sign: digits read (0…W + 1) × 3, then fraction digits read (0…F) × 3.
  const perSign = (W + 2) * 3 + (F + 1) * 3;
  const number = (minus: boolean, inFraction: boolean, count: number, order: number): number =>
    1 + (minus ? perSign : 0) + (inFraction ? (W + 2) * 3 : 0) + count * 3 + order;
  const parse = (state: number): { minus: boolean; inFraction: boolean; count: number; order: number } => {
    let rest = state - 1;
    const minus = rest >= perSign;
    if (minus) rest -= perSign;
    const inFraction = rest >= (W + 2) * 3;
    if (inFraction) rest -= (W + 2) * 3;
    return { minus, inFraction, count: Math.floor(rest / 3), order: rest % 3 };
  };
  const order = (digit: string, against: string): number => digit === against ? 0 : digit < against ? 1 : 2;
  const wholeOrder = (count: number, soFar: number): number => count < W ? 1 : count > W ? 2 : soFar;
  return {
    name: `${how}${bound}`,
    alphabet: "-.0123456789",
    next(state, point) {
      const char = String.fromCharCode(point);
      if (state === 0 && char === "-") return number(true, false, 0, 0);
      const { minus, inFraction, count, order: soFar } = state === 0
        ? { minus: false, inFraction: false, count: 0, order: 0 }
        : parse(state);
      if (char === "-") return -1;
      if (char === ".") return inFraction ? -1 : number(minus, true, 0, wholeOrder(count, soFar));
      const decided = soFar !== 0;
      if (inFraction) {
        const now = decided ? soFar : order(char, fraction[count] ?? "0");
        return number(minus, true, now !== 0 ? F : Math.min(F, count + 1), now);
      }
      const now = decided || count >= W ? soFar : order(char, whole[count]!);
      return number(minus, false, Math.min(W + 1, count + 1), now);
    },
    accepts(state) {
      if (state === 0) return false;
      const { minus, inFraction, count, order: soFar } = parse(state);
      const size = inFraction
        ? soFar === 0 && count < F ? 1 : soFar
        : wholeOrder(count, soFar) === 0 && F > 0
        ? 1
        : wholeOrder(count, soFar);
      // `size` compares the absolute values; now the signs.
      let sign: number;
      if (minus && !negativeBound) sign = zero && size === 0 ? 0 : 1;
      else if (!minus && negativeBound) sign = 2;
      else sign = minus ? [0, 2, 1][size]! : size;
      if (how === "lt") return sign === 1;
      if (how === "le") return sign !== 2;
      return how === "gt" ? sign === 2 : sign !== 1;
    },
  };
}

// The remainder of the digits so far, the point left out; after `places` digits behind the point only zeros may follow.
function remainder(divisor: number, places: number): CharMachine {
  // States: 0 start, then remainder × (places + 2) + digits after the point + 1 (0: no point yet), plus 1.
  const width = places + 2;
  // `more` further digits write 10ᵐᵒʳᵉ numbers from here on: is there a multiple among them?
  const isLive = (rest: number, more: number): boolean => {
    const numbers = 10 ** more;
    return (divisor - rest * (numbers % divisor) % divisor) % divisor < numbers;
  };
  return {
    name: `%${divisor},${places}`,
    alphabet: "-.0123456789",
    next(state, point) {
      const char = String.fromCharCode(point);
      if (char === "-") return state === 0 ? 0 : -1;
      const phase = state === 0 ? 0 : (state - 1) % width;
      const rest = state === 0 ? 0 : Math.floor((state - 1) / width);
      if (char === ".") return phase === 0 && state !== 0 && isLive(rest, places) ? 1 + rest * width + 1 : -1;
      if (phase === width - 1) return char === "0" ? state : -1;
      const now = (rest * 10 + Number(char)) % divisor;
      if (phase === 0) return 1 + now * width;
      return isLive(now, places - phase) ? 1 + now * width + phase + 1 : -1;
    },
    accepts(state) {
      if (state === 0) return false;
      const phase = (state - 1) % width;
      let rest = Math.floor((state - 1) / width);
      for (let i = phase === 0 ? 0 : phase - 1; i < places; i++) rest = (rest * 10) % divisor;
      return rest === 0;
    },
  };
}

// At most so many digits, with points in between.
function digitCount(most: number): CharMachine {
  return {
    name: `#${most}`,
    alphabet: ".0123456789",
    next: (state, point) => point === oneChar(0x2e)[0] ? state : state + 1 > most ? -1 : state + 1,
    accepts: () => true,
  };
}

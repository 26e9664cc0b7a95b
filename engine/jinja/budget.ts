// What rendering a template may cost. Templates come with models and nobody has vetted them: every step, every text
// and every list that a template makes is counted here, before it is made where it could be large.

/** A template asked for too much, went wrong, or raised an exception of its own; the message is for the user. */
export class TemplateError extends Error {
  /** The error's name. */
  override readonly name = "TemplateError";
}

/** What a rendering may cost. */
export interface TemplateLimits {
  /** Evaluated nodes of the syntax tree, compared values and the like. */
  readonly steps: number;
  /** UTF-16 units of any text, the output among them. */
  readonly stringLength: number;
  /** Elements of all lists and mappings ever made. */
  readonly elements: number;
  /** Time it may take. */
  readonly milliseconds: number;
}

/** Nested evaluations: of expressions in blocks in macros, of lists in lists. */
const mostDepth = 400;
/** Bounds on widths of indentation and padding; no real template comes near. */
const mostIndent = 64;
/** All texts together may be this many times as long as the longest allowed one. */
const mostTextsPerLength = 64;

/** Counts what one rendering costs and stops it with a `TemplateError`. */
export class Budget {
  readonly #limits: TemplateLimits;
  readonly #deadline: number;
  #steps = 0;
  #depth = 0;
  #elements = 0;
  #characters = 0;

  /** For one rendering that begins now. */
  constructor(limits: TemplateLimits) {
    this.#limits = limits;
    this.#deadline = performance.now() + limits.milliseconds;
  }

  /** One more step. */
  step(): void {
    if (++this.#steps > this.#limits.steps) throw new TemplateError("takes too many steps");
    if (this.#steps % 64 === 0) this.#checkTime();
  }

  /** Runs something one level deeper. */
  nested<T>(run: () => T): T {
    this.step();
    if (++this.#depth > mostDepth) throw new TemplateError("nests too deeply");
    try {
      return run();
    } finally {
      this.#depth--;
    }
  }

  /** A text is about to become `length` units long, by `added` more. */
  text(length: number, added = length): void {
    this.#characters += added;
    if (added > 4096) this.#checkTime();
    if (!(length <= this.#limits.stringLength)) throw new TemplateError("makes too long a text");
    if (this.#characters > mostTextsPerLength * this.#limits.stringLength) {
      throw new TemplateError("makes too many long texts");
    }
  }

  #checkTime(): void {
    if (performance.now() > this.#deadline) throw new TemplateError("takes too long");
  }

  /** A list or mapping of `count` elements is about to be made. */
  list(count: number): void {
    this.#elements += count;
    if (!(this.#elements <= this.#limits.elements)) throw new TemplateError("makes too large a list");
  }

  /** Something is to be indented or padded by `width`. */
  indent(width: number): void {
    if (!(width <= mostIndent)) throw new TemplateError("indents too far");
  }
}

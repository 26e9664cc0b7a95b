/**
 * Why a grammar was refused. Everything in a grammar is either enforced exactly or refused with one of these: the
 * caller turns it into a 400 that names the keyword and its path, and nothing is ignored in silence.
 */

/**
 * - `unsupported`: valid input, but a construct that is not enforced;
 * - `invalid`: the schema, expression or grammar itself is malformed;
 * - `limit`: it needs more time, memory, depth or states than allowed;
 * - `empty`: nothing satisfies it.
 */
export type GrammarErrorKind = "unsupported" | "invalid" | "limit" | "empty";

/** A refused grammar. `path` is a JSON pointer into a schema, or a line and column in a grammar's text. */
export class GrammarError extends Error {
  /** The class. */
  override readonly name = "GrammarError";
  /** Why it was refused. */
  readonly kind: GrammarErrorKind;
  /** What was refused. */
  readonly keyword: string;
  /** Where. */
  readonly path: string;

  /** Puts keyword, place and reason into one line. */
  constructor(kind: GrammarErrorKind, keyword: string, path: string, message: string) {
    super(`${keyword}${path === "" ? "" : ` at ${path}`}: ${message}`);
    this.kind = kind;
    this.keyword = keyword;
    this.path = path;
  }
}

/**
 * White space between JSON's tokens, as models write it: after `{`, `[`, `,` and `:` and before `}` and `]`, either up
 * to two blanks, or a line's end and an indentation. None before `,` and `:`, none around the whole value. It is
 * bounded, because a small model that is not allowed anything else it likes writes blanks for ever.
 */

/** Blanks of one indentation at most. Where a model wants more it gets fewer, which is JSON all the same. */
export const MAX_INDENT = 16;
const MAX_BLANKS = 2;
const AFTER_RETURN = MAX_BLANKS + 1;
const NEW_LINE = MAX_BLANKS + 2;

/** The state after one more byte of white space, from state 0; −1 where the byte is none or too much. */
export function moreSpace(state: number, byte: number): number {
  if (state === AFTER_RETURN) return byte === 0x0a ? NEW_LINE : -1;
  if (byte === 0x20 || byte === 0x09) {
    if (state < MAX_BLANKS) return state + 1;
    return state >= NEW_LINE && state < NEW_LINE + MAX_INDENT ? state + 1 : -1;
  }
  if (state >= NEW_LINE) return -1;
  if (byte === 0x0a) return NEW_LINE;
  return byte === 0x0d ? AFTER_RETURN : -1;
}

/** Whether something else may follow: not between the two bytes of a line's end. */
export function spaceMayEnd(state: number): boolean {
  return state !== AFTER_RETURN;
}

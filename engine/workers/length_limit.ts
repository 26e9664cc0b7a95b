// Refuses a text that is too long before the time is spent that encoding all of it would take.
//
// Two bounds, both below the true number of tokens. By length alone: no token stands for more characters than the
// longest one of the vocabulary. By a part: a text much longer than usual for the context is encoded piece by piece
// from its beginning, each piece as long as all before it, until it is over or has clearly too many tokens. A cut
// may split a word and so make a few tokens more; "clearly" leaves a quarter of the context for that.

/** Characters per token that hardly any ordinary text exceeds. */
const usualCharacters = 4;

/** A text with more tokens than there is room for. */
export class PromptTooLong extends Error {
  /** The error's name. */
  override readonly name = "PromptTooLong";
}

/** "too long", with both numbers; OpenAI's words, by which clients recognise the case. */
export function tooLongMessage(tokens: string, contextLength: number): string {
  return `This model's maximum context length is ${contextLength} tokens, but the prompt has ${tokens}`;
}

/** Fewest tokens that a text of `length` UTF-16 units can have. */
export function fewestTokens(length: number, longestToken: number): number {
  return longestToken > 0 ? Math.ceil(length / longestToken) : 0;
}

/** Tokens that may be counted, whatever the context. */
const mostCounted = 65_536;

/** What the checks need of a tokenizer. */
interface Counter {
  readonly vocabulary: { readonly longestToken: number };
  encode(text: string, addSpecialTokens: boolean): Uint32Array;
}

/**
 * Checks of a text before it is encoded, for prompts and for texts whose tokens are only counted: those may be longer
 * than the context, but not without end. Both throw `PromptTooLong`.
 */
export function lengthChecks(
  tokenizer: Counter | null,
  contextLength: number,
): { readonly prompt: (text: string) => void; readonly counted: (text: string) => void } {
  const longestToken = tokenizer?.vocabulary.longestToken ?? 0;
  const count = (text: string) => tokenizer?.encode(text, false).length ?? 0;
  const most = Math.max(mostCounted, 8 * contextLength);
  return {
    prompt: (text) =>
      refuseLongText(
        text,
        longestToken,
        contextLength,
        count,
        (tokens, characters) => tooLongMessage(`${tokens} (${characters} characters)`, contextLength),
      ),
    counted: (text) =>
      refuseLongText(
        text,
        longestToken,
        most,
        count,
        (tokens, characters) =>
          `at most ${most} tokens are counted here, but the text has ${tokens} (${characters} characters)`,
      ),
  };
}

/**
 * Throws if the text has more than `mostTokens` tokens, as far as that can be told for a fraction of the cost.
 * @param count Number of tokens of a text on its own.
 * @param message Of the number of tokens, in words, and of characters.
 */
export function refuseLongText(
  text: string,
  longestToken: number,
  mostTokens: number,
  count: (text: string) => number,
  message: (tokens: string, characters: number) => string,
): void {
  const fewest = fewestTokens(text.length, longestToken);
  if (fewest > mostTokens) throw new PromptTooLong(message(`at least ${fewest}`, text.length));
  const usual = Math.max(4096, usualCharacters * mostTokens);
  if (text.length <= 2 * usual) return;
  const clearly = Math.ceil(mostTokens * 1.25) + 64;
  let tokens = 0;
  for (let begin = 0, end = usual; begin < text.length; begin = end, end *= 2) {
    tokens += count(text.slice(begin, end));
    if (tokens > clearly) throw new PromptTooLong(message(`more than ${mostTokens}`, text.length));
  }
}

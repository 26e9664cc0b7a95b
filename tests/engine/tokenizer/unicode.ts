// Random texts of what tokenizers get wrong: numerals of all kinds, white space of all kinds, marks, scripts, emoji.
// Young characters are left out: libraries differ in how many of them they know.

import { Random } from "../../random.ts";

const pools = [
  "abcXYZ",
  "0123456789",
  "½²³①⑳Ⅷⅷ٣५𝟘𝟙〇㊿",
  " \t\n\r\u00a0\u2003\u3000\u0085\ufeff\u200b\u200d\u000b\f\u001c\u2028",
  ".,!?;:'\"-_()[]{}$+<=>^`|~@#%&*/\\",
  "éèüñçßÄÖ",
  "e\u0301a\u0308\u0327\u0345",
  "дЖ語世界한글กษमनस",
  "😀👍🏽👨\u200d👩\u200d👧🇩🇪",
  "ﬁﬂİıſẞΣςσ",
  "▁ĠĊ„“«»¿¡…–—‚€£",
].map((pool) => [...pool]);

/** Ranges that have been settled for long. */
const ranges = [
  [0x20, 0x52f],
  [0x905, 0x939],
  [0x1e00, 0x20b5],
  [0x2100, 0x23cf],
  [0x2500, 0x27bf],
  [0x3000, 0x30ff],
  [0x4e00, 0x9fa5],
  [0xac00, 0xd7a3],
  [0xff00, 0xffef],
  [0x1d400, 0x1d7ff],
  [0x1f300, 0x1f5ff],
] as const;

/** Seeded random texts of up to a few dozen characters. */
export function randomTexts(count: number, seed: number): string[] {
  const random = new Random(seed);
  const anyCharacter = () => {
    const [low, high] = random.pick(ranges);
    const character = String.fromCodePoint(random.int(low, high));
    return /\p{Cn}/u.test(character) ? "A" : character;
  };
  return Array.from({ length: count }, () =>
    Array.from({ length: random.int(1, 12) }, () => {
      if (random.int(1, 8) === 1) return anyCharacter();
      const pool = random.pick(pools);
      return Array.from({ length: random.int(1, 3) }, () => random.pick(pool)).join("");
    }).join(""));
}

/**
 * The formats of JSON Schema as regular languages, written as regular expressions from the grammars of their RFCs.
 * Each is a subset of what the RFC allows wherever the RFC says more than validators check (leap seconds, comments in
 * mail addresses): what is written always validates.
 */
import { GrammarError } from "../errors.ts";
import type { RegexBuilder } from "../regex/builder.ts";
import { ecmaRegex } from "../regex/ecma.ts";
import type { RegexNode } from "../regex/node.ts";

const YEAR = "\\d{4}";
// Days by month; 29 February only in leap years.
const LEAP = "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)";
const DATE =
  `(?:${YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|` +
  `02-(?:0[1-9]|1\\d|2[0-8]))|${LEAP}-02-29)`;
const CLOCK = "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?";
const ZONE = "(?:[Zz]|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)";
const OCTET = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const IPV4 = `${OCTET}(?:\\.${OCTET}){3}`;
const LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
// Without two hyphens in the third and fourth place, where only encoded names have them.
const PLAIN_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,2}[A-Za-z0-9]|" +
  "[A-Za-z0-9-](?:[A-Za-z0-9][A-Za-z0-9-]|-[A-Za-z0-9])[A-Za-z0-9-]{0,58}[A-Za-z0-9])?";
const ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
const PCT = "%[0-9A-Fa-f]{2}";
const UNRESERVED = "A-Za-z0-9._~\\-";
const SUB = "!$&'()*+,;=";
const PCHAR = `(?:[${UNRESERVED}${SUB}:@]|${PCT})`;
const IPV6 = ipv6();
const REG_NAME = `(?:[${UNRESERVED}${SUB}]|${PCT})*`;
const AUTHORITY = `(?:(?:[${UNRESERVED}${SUB}:]|${PCT})*@)?(?:\\[${IPV6}\\]|${REG_NAME})(?::\\d{0,5})?`;
const QUERY = `(?:\\?(?:${PCHAR}|[/?])*)?(?:#(?:${PCHAR}|[/?])*)?`;
const ABSOLUTE = `//${AUTHORITY}(?:/${PCHAR}*)*|/(?:${PCHAR}+(?:/${PCHAR}*)*)?`;
const URI = `[A-Za-z][A-Za-z0-9+.-]*:(?:${ABSOLUTE}|${PCHAR}+(?:/${PCHAR}*)*)${QUERY}`;
const SEGMENT_NO_COLON = `(?:[${UNRESERVED}${SUB}@]|${PCT})+`;
const RELATIVE = `(?:${ABSOLUTE}|${SEGMENT_NO_COLON}(?:/${PCHAR}*)*)?${QUERY}`;
const TIME_PART = "T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S)";
const DURATION =
  `P(?:(?:\\d+Y(?:\\d+M(?:\\d+D)?)?|\\d+M(?:\\d+D)?|\\d+D)(?:${TIME_PART})?|${TIME_PART}|\\d+W)`;

const PATTERNS: ReadonlyMap<string, string> = new Map([
  ["date", DATE],
  ["time", `${CLOCK}${ZONE}`],
  ["date-time", `${DATE}[Tt]${CLOCK}${ZONE}`],
  ["duration", DURATION],
  ["ipv4", IPV4],
  ["ipv6", IPV6],
  ["uri", URI],
  ["uri-reference", `(?:${URI}|${RELATIVE})`],
  ["uuid", "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"],
  ["json-pointer", "(?:/(?:[^~/]|~[01])*)*"],
  ["relative-json-pointer", "(?:0|[1-9]\\d*)(?:#|(?:/(?:[^~/]|~[01])*)*)"],
  ["byte", "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"],
]);

/**
 * Formats of parts of at most so many characters: what is not a lookahead over the whole text, and simple by itself, has
 * masks that are soon made.
 */
const PARTS: ReadonlyMap<string, readonly (readonly [pattern: string, most: number])[]> = new Map([
  ["email", [[`${ATOM}(?:\\.${ATOM})*`, 64], ["@", 1], [`(?:${LABEL}\\.)+${LABEL}`, 189]]],
  ["hostname", [[`${PLAIN_LABEL}(?:\\.${PLAIN_LABEL})*`, 253]]],
]);

/** Formats that say something about the meaning of a text or number and nothing about its form. */
const WITHOUT_FORM: ReadonlySet<string> = new Set(["password", "binary", "float", "double"]);

/** Ranges of OpenAPI's number formats. */
export const INTEGER_FORMATS: ReadonlyMap<string, readonly [number, number]> = new Map([
  ["int32", [-(2 ** 31), 2 ** 31 - 1]],
  ["uint32", [0, 2 ** 32 - 1]],
  ["int64", [-(2 ** 63), 2 ** 63 - 1024]],
  ["uint64", [0, 2 ** 64 - 2048]],
]);

/**
 * The texts of a format, or undefined where a format restricts no text.
 * @throws GrammarError for a format that is not known
 */
export function formatTexts(regex: RegexBuilder, format: string, path: string): RegexNode | undefined {
  const texts = (pattern: string) => ecmaRegex(regex, pattern, { anchored: true, path, maxDepth: 100 });
  const pattern = PATTERNS.get(format);
  if (pattern !== undefined) return texts(pattern);
  const parts = PARTS.get(format)?.map(([part, most]) =>
    regex.and([texts(part), regex.loop(regex.anyChar, 0, most)])
  );
  if (parts !== undefined) return regex.concat(...parts);
  if (WITHOUT_FORM.has(format) || INTEGER_FORMATS.has(format)) return undefined;
  throw new GrammarError(
    "unsupported",
    "format",
    path,
    `${JSON.stringify(format)} is not enforced; known are ${
      [...PATTERNS.keys(), ...PARTS.keys()].join(", ")
    }`,
  );
}

function ipv6(): string {
  const group = "[0-9A-Fa-f]{1,4}";
  const last = `(?:${group}:${group}|${IPV4})`;
  const forms = [`(?:${group}:){6}${last}`, `::(?:${group}:){5}${last}`];
  for (let after = 4; after >= 0; after--) {
    forms.push(`(?:(?:${group}:){0,${4 - after}}${group})?::(?:${group}:){${after}}${last}`);
  }
  forms.push(`(?:(?:${group}:){0,5}${group})?::${group}`, `(?:(?:${group}:){0,6}${group})?::`);
  return `(?:${forms.join("|")})`;
}

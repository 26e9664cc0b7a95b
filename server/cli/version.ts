// The version, and what it runs on.

/** Of the program; releases set it. */
export const version = "0.1.0";

/** One line for `--version`. */
export function versionText(): string {
  return `radish ${version} (Deno ${Deno.version.deno}, ${Deno.build.target})`;
}

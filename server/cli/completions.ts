// `radish completions bash|zsh|fish`: completion scripts, made from the same tables of options that parse the command
// line and print the help, so that they cannot fall behind.

import { type Command, type OptionSpec, type OptionValues, UsageError } from "./command.ts";

/** Makes the script of one shell. */
type Writer = (commands: readonly Command[]) => string;

const writers: Readonly<Record<string, Writer>> = {
  bash: bashCompletions,
  zsh: zshCompletions,
  fish: fishCompletions,
};

/** The subcommand; `loadAll` gives all commands there are. */
export function completions(loadAll: () => Promise<readonly Command[]>): Command {
  return {
    name: "completions",
    summary: "a completion script for your shell",
    positionals: Object.keys(writers).join("|"),
    maxPositionals: 1,
    options: [{ name: "help", short: "h", kind: "flag", help: "this text" }],
    example: "radish completions bash > ~/.local/share/bash-completion/completions/radish",
    async run(_values: OptionValues, [shell = ""]: readonly string[]): Promise<number> {
      const write = Object.hasOwn(writers, shell) ? writers[shell] : undefined;
      if (!write) throw new UsageError(`name a shell: ${Object.keys(writers).join(", ")}`);
      console.log(write(await loadAll()));
      return 0;
    },
  };
}

/** Words that a command's argument may be; empty when it is free text. */
function argumentChoices({ positionals }: Command): readonly string[] {
  return /^[a-z]+(\|[a-z]+)+$/.test(positionals) ? positionals.split("|") : [];
}

function takesFile({ value = "" }: OptionSpec): boolean {
  return /DIR|FILE|PATH|JSONL/.test(value);
}

/** As typed: "--model", "-m". */
function spellings({ name, short }: OptionSpec): string[] {
  return [...(short ? [`-${short}`] : []), `--${name}`];
}

/** A word for any shell, in single quotes. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** `complete -o default` falls back to file names wherever nothing is proposed. */
function bashCompletions(commands: readonly Command[]): string {
  const propose = (words: readonly string[]) =>
    `COMPREPLY=($(compgen -W ${quote(words.join(" "))} -- "$current"))`;
  const cases = commands.map((command) => [
    `    ${command.name})`,
    `      case $previous in`,
    ...command.options.filter((option) => option.kind !== "flag").map((option) =>
      `        ${spellings(option).join("|")}) ${
        option.choices ? `${propose(option.choices)}; ` : ""
      }return ;;`
    ),
    `      esac`,
    `      ${propose([...command.options.map(({ name }) => `--${name}`), ...argumentChoices(command)])} ;;`,
  ]);
  return [
    "# Completions of radish for bash: source this file.",
    "_radish() {",
    "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}",
    "  # bash takes `--device=cpu` for three words.",
    '  if [[ $current == = ]]; then current=""; elif [[ $previous == = ]]; then previous=${COMP_WORDS[COMP_CWORD - 2]}; fi',
    "  COMPREPLY=()",
    "  if ((COMP_CWORD == 1)); then",
    `    ${propose([...commands.map(({ name }) => name), "--help", "--version"])}`,
    "    return",
    "  fi",
    "  case ${COMP_WORDS[1]} in",
    ...cases.flat(),
    "  esac",
    "}",
    "complete -o default -F _radish radish",
  ].join("\n");
}

function zshCompletions(commands: readonly Command[]): string {
  const escape = (text: string) => text.replaceAll(/[\\[\]:]/g, "\\$&");
  const argument = (option: OptionSpec) => {
    const action = option.choices ? `(${option.choices.join(" ")})` : takesFile(option) ? "_files" : " ";
    return option.kind === "flag" ? "" : `:${escape(option.value ?? option.name)}:${action}`;
  };
  const specs = (option: OptionSpec) => {
    const text = `[${escape(option.help)}]${argument(option)}`;
    const given = spellings(option);
    const once = option.kind === "list" ? "*" : given.length > 1 ? `(${given.join(" ")})` : "";
    return given.map((name) => {
      const joined = option.kind === "flag" ? "" : name.startsWith("--") ? "=" : "+";
      return quote(`${once}${name}${joined}${text}`);
    });
  };
  const cases = commands.map((command) => {
    const choices = argumentChoices(command);
    const rest = choices.length > 0 ? `*:argument:(${choices.join(" ")})` : "*:argument: ";
    return [
      `    ${command.name})`,
      ...["_arguments -s", ...command.options.flatMap(specs), quote(rest)].map((line, i, all) =>
        `      ${i > 0 ? "  " : ""}${line}${i + 1 < all.length ? " \\" : " ;;"}`
      ),
    ];
  });
  return [
    "#compdef radish",
    "# Completions of radish for zsh: source this file, or put it into $fpath as _radish.",
    "_radish() {",
    "  local -a commands=(",
    ...commands.map(({ name, summary }) => `    ${quote(`${name}:${summary}`)}`),
    "  )",
    "  if ((CURRENT == 2)); then",
    "    _describe command commands",
    "    return",
    "  fi",
    "  local command=$words[2]",
    "  shift words",
    "  ((CURRENT--))",
    "  case $command in",
    ...cases.flat(),
    "  esac",
    "}",
    'if [[ $funcstack[1] == _radish ]]; then _radish "$@"; else compdef _radish radish; fi',
  ].join("\n");
}

function fishCompletions(commands: readonly Command[]): string {
  const line = (...parts: string[]) =>
    ["complete -c radish", ...parts.filter((part) => part !== "")].join(" ");
  const option = (command: Command, option: OptionSpec) =>
    line(
      `-n ${quote(`__fish_seen_subcommand_from ${command.name}`)}`,
      option.short ? `-s ${option.short}` : "",
      `-l ${option.name}`,
      option.kind === "flag" ? "" : takesFile(option) ? "-r -F" : "-x",
      option.choices ? `-a ${quote(option.choices.join(" "))}` : "",
      `-d ${quote(option.help)}`,
    );
  return [
    "# Completions of radish for fish: source this file.",
    line("-f"),
    ...commands.map(({ name, summary }) =>
      line("-n __fish_use_subcommand", `-a ${name}`, `-d ${quote(summary)}`)
    ),
    ...commands.flatMap((command) => {
      const choices = argumentChoices(command);
      const condition = `-n ${quote(`__fish_seen_subcommand_from ${command.name}`)}`;
      return [
        ...command.options.map((spec) => option(command, spec)),
        ...(choices.length > 0 ? [line(condition, `-a ${quote(choices.join(" "))}`)] : []),
      ];
    }),
  ].join("\n");
}

// `deno task build:page`: makes `index.html`, the one file that the server embeds, from `src/`. `--check` builds it
// again and fails if it differs from what is committed: Deno's bundler and every package are pinned, so the same bytes
// come out everywhere.

const at = (name: string) => new URL(name, import.meta.url);

/** The script, with every package in it. Throws with the bundler's words. */
async function bundle(entry: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "-q", "--config", "deno.json", "--platform", "browser", "--minify", entry],
    cwd: at("."),
    env: { NO_COLOR: "1" },
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  // Inside the page these would end the element or begin a comment; in scripts they stand in strings and patterns.
  return new TextDecoder().decode(stdout).trim().replaceAll(/<(?=\/script|!--|script)/gi, "\\x3C");
}

const [template, style, script] = await Promise.all([
  Deno.readTextFile(at("src/page.html")),
  Deno.readTextFile(at("src/style.css")),
  bundle("src/main.tsx"),
]);
const page = template.replace("/* style */", () => style.trim()).replace("/* script */", () => script);

if (!Deno.args.includes("--check")) {
  await Deno.writeTextFile(at("index.html"), page);
  console.log(`server/page/index.html: ${page.length} characters`);
} else if (await Deno.readTextFile(at("index.html")) !== page) {
  console.error("server/page/index.html is not what the sources give: run deno task build:page");
  Deno.exitCode = 1;
}

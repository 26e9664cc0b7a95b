// Loaded before every test file (`deno task test`): a test that never ends fails after four minutes, with its name, and
// the others still run. The slowest test takes a tenth of that. This is no timing that decides: what waits for something
// that cannot come would wait for ever.

const seconds = 240;
const register = Deno.test;

type Body = Deno.TestDefinition["fn"];

function limited(name: string, fn: Body): Body {
  return async (context) => {
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => reject(new Error(`"${name}" has not ended after ${seconds} s`)),
      seconds * 1000,
    );
    try {
      await Promise.race([fn(context), promise]);
    } finally {
      clearTimeout(timer);
    }
  };
}

/** The two forms in use here: a name and a function, and one object. */
function test(test: string | Deno.TestDefinition, fn?: Body): void {
  const definition = typeof test === "string" ? { name: test, fn: fn! } : test;
  register({ ...definition, fn: limited(definition.name, definition.fn) });
}

Object.defineProperty(Deno, "test", { value: Object.assign(test, register) });

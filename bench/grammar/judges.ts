// Who says whether an output is right: ajv, strict and with formats, and Python's jsonschema with its format checker,
// which also knows the drafts and the numbers that JavaScript does not.

import { Ajv, type AnySchema, type Options, type ValidateFunction } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

/** One output of a schema. */
export interface Output {
  readonly schema: string;
  readonly text: string;
}

/** What the judges say of one output; null where one cannot tell. */
export interface Verdict {
  readonly ajv: boolean | null;
  /** Whether ajv took the schema in its strict mode. */
  readonly strict: boolean;
  readonly python: boolean | null;
  /** The first complaint. */
  readonly why: string;
}

const STRICT: Options = { strict: true, strictTypes: false, strictTuples: false, strictRequired: false };
const LOOSE: Options = { strict: false, logger: false };

function compile(schema: unknown, options: Options): ValidateFunction {
  const draft = typeof schema === "object" && schema !== null && "$schema" in schema ? schema.$schema : "";
  // A draft that ajv does not know is read as draft 7.
  const modern = /2019-09|2020-12/.test(String(draft));
  const ajv = modern ? new Ajv2020(options) : new Ajv(options);
  (addFormats as unknown as (ajv: unknown) => void)(ajv);
  const known = modern || String(draft).includes("draft-07");
  const { $schema: _, ...rest } = known || typeof schema !== "object"
    ? { $schema: 0 }
    : schema as { $schema?: 0 };
  return ajv.compile((known || typeof schema !== "object" ? schema : rest) as AnySchema);
}

/** ajv's verdict. */
export function ajvVerdict(schema: unknown, text: string): Pick<Verdict, "ajv" | "strict" | "why"> {
  for (const strict of [true, false]) {
    let validate: ValidateFunction;
    try {
      validate = compile(schema, { ...(strict ? STRICT : LOOSE), validateFormats: true });
    } catch {
      continue; // it does not like the schema
    }
    const ajv = validate(JSON.parse(text)) === true;
    const [first] = validate.errors ?? [];
    return { ajv, strict, why: first === undefined ? "" : `${first.instancePath} ${first.message}` };
  }
  return { ajv: null, strict: false, why: "" };
}

/** Python's verdicts: true, false, or null where it does not like the schema. */
export async function pythonVerdicts(
  python: string,
  outputs: readonly Output[],
): Promise<readonly (boolean | null)[]> {
  const script = new URL("../peers/jsonschema_judge.py", import.meta.url).pathname;
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, JSON.stringify(outputs));
  const { success, stdout, stderr } = await new Deno.Command(python, { args: [script, file] }).output();
  await Deno.remove(file);
  if (!success) throw new Error(new TextDecoder().decode(stderr).slice(-1000));
  return JSON.parse(new TextDecoder().decode(stdout));
}

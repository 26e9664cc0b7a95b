// Settings of the shown conversation: system message, sampling, what an answer has to look like, tools. A number that
// is not set is the model's own, and says so.

import type { AnswerFormat, Sampling } from "./conversation.ts";
import { changed, current, messageOf, revision, server } from "./state.ts";

/** One number of the sampling. */
interface Field {
  readonly key: keyof Sampling;
  readonly name: string;
  readonly hint: string;
  readonly min: number;
  readonly max?: number;
  readonly step: number;
  /** What happens where nothing is set and the model says nothing. */
  readonly otherwise?: string;
}

const fields: readonly Field[] = [
  {
    key: "temperature",
    name: "Temperature",
    hint: "0 always takes the likeliest token",
    min: 0,
    max: 2,
    step: 0.05,
  },
  {
    key: "top_p",
    name: "Top-p",
    hint: "likeliest tokens up to this probability",
    min: 0.05,
    max: 1,
    step: 0.05,
  },
  { key: "top_k", name: "Top-k", hint: "from so many of the likeliest tokens; 0 takes all", min: 0, step: 1 },
  {
    key: "min_p",
    name: "Min-p",
    hint: "least share of the likeliest token's probability",
    min: 0,
    max: 1,
    step: 0.05,
  },
  {
    key: "max_tokens",
    name: "Most tokens",
    hint: "of an answer",
    min: 1,
    step: 1,
    otherwise: "what fits",
  },
  {
    key: "seed",
    name: "Seed",
    hint: "the same seed gives the same answer",
    min: 0,
    step: 1,
    otherwise: "random",
  },
];

/** The form; every change counts at once. */
export function Settings() {
  revision.value;
  const conversation = current.value;
  const change = (apply: () => void) => {
    apply();
    void changed(conversation);
  };
  return (
    <form onSubmit={(event) => event.preventDefault()}>
      <label>
        System message
        <textarea
          rows={3}
          value={conversation.system}
          onInput={({ currentTarget: { value } }) => change(() => conversation.system = value)}
        />
      </label>
      <fieldset>
        <legend>Sampling</legend>
        {fields.map((field) => (
          <NumberField
            key={field.key}
            field={field}
            value={conversation.sampling[field.key]}
            set={(value) =>
              change(() => {
                if (value === undefined) delete conversation.sampling[field.key];
                else conversation.sampling[field.key] = value;
              })}
          />
        ))}
      </fieldset>
      <Format format={conversation.format} set={(format) => change(() => conversation.format = format)} />
      <label>
        Tools
        <small>
          OpenAI's <code>tools</code>, as a JSON list; the model's calls are shown, and you give the results
        </small>
        <textarea
          rows={3}
          class="code-text"
          spellcheck={false}
          value={conversation.tools}
          onInput={({ currentTarget: { value } }) => change(() => conversation.tools = value)}
        />
        <Fault text={conversation.tools} />
      </label>
    </form>
  );
}

function NumberField(
  { field, value, set }: {
    readonly field: Field;
    readonly value: number | undefined;
    readonly set: (value: number | undefined) => void;
  },
) {
  const { key, name, hint, min, max, step, otherwise } = field;
  const facts = server.value;
  const models = facts !== null && typeof facts === "object" ? facts.defaults[key] : undefined;
  const standing = otherwise ?? (models === undefined ? "default" : `default: ${+models.toFixed(3)}`);
  return (
    <div class="number">
      <label for={key}>{name}</label>
      <input
        id={key}
        type="number"
        min={min}
        max={max}
        step={step}
        placeholder={standing}
        aria-describedby={`${key}-hint`}
        value={value ?? ""}
        onInput={({ currentTarget }) => {
          const { value, valueAsNumber } = currentTarget;
          set(value === "" || Number.isNaN(valueAsNumber) ? undefined : valueAsNumber);
        }}
      />
      <button
        type="button"
        class="quiet"
        aria-label={`${name}: model's default`}
        aria-pressed={value === undefined}
        onClick={() => set(undefined)}
      >
        default
      </button>
      <small id={`${key}-hint`}>{hint}</small>
    </div>
  );
}

function Format(
  { format, set }: { readonly format: AnswerFormat; readonly set: (format: AnswerFormat) => void },
) {
  const kinds = { text: "free text", json: "a JSON object", schema: "JSON that fits a schema" } as const;
  return (
    <fieldset>
      <legend>Answers are</legend>
      {Object.entries(kinds).map(([kind, name]) => (
        <label class="choice">
          <input
            type="radio"
            name="format"
            checked={format.kind === kind}
            onChange={() => set({ ...format, kind: kind as AnswerFormat["kind"] })}
          />
          {name}
        </label>
      ))}
      {format.kind === "schema" && (
        <label>
          JSON Schema
          <textarea
            rows={6}
            class="code-text"
            spellcheck={false}
            value={format.schema}
            onInput={({ currentTarget: { value } }) => set({ ...format, schema: value })}
          />
          <Fault text={format.schema} />
        </label>
      )}
    </fieldset>
  );
}

/** Says what is wrong with a JSON text. */
function Fault({ text }: { readonly text: string }) {
  const fault = faultOf(text);
  return fault === null ? null : <span class="error" aria-live="polite">{fault}</span>;
}

function faultOf(text: string): string | null {
  try {
    if (text.trim() !== "") JSON.parse(text);
    return null;
  } catch (error) {
    return messageOf(error);
  }
}

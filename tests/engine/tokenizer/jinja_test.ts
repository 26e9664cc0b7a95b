// The template interpreter against Jinja, rule by rule, and whose words its texts say they are.

import assert from "node:assert/strict";
import { ChatTemplate, TemplateError } from "../../../engine/tokenizer/chat_template.ts";
import type { Text } from "../../../engine/jinja/text.ts";
import { jinjaCases, jinjaVariables } from "./jinja_cases.ts";

function render(source: string, variables: Readonly<Record<string, unknown>>): Text {
  return new ChatTemplate(source, source, {}).render([], { templateArgs: variables });
}

Deno.test("templates render as Jinja renders them, and are refused where Jinja refuses", () => {
  for (const [source, expected] of jinjaCases) {
    if (expected === null) assert.throws(() => render(source, jinjaVariables), TemplateError, source);
    else assert.equal(render(source, jinjaVariables).value, expected, source);
  }
});

Deno.test("every operation keeps which words are the client's", () => {
  // The client writes capitals only, the templates none.
  const said = { u: "AB CD\n'E'", list: ["F", "GH"], map: { K: "L", M: ["N"] } };
  const expressions = [
    "x{{ u }}y",
    "{{ 'x' + u + 'y' }}",
    "{{ 'x' ~ u ~ list ~ map ~ 1 }}",
    "{{ u[1:] }}{{ u[::-1] }}{{ u[0] }}{{ u[-1] }}",
    "{{ u.split() | join('-') }}{{ u.split('B') }}{{ u.rsplit(none, 1) }}{{ u.splitlines() }}",
    "{{ u.partition('C') }}{{ u.strip('A') }}{{ u.replace('C', 'x') }}{{ 'x-y'.replace('-', u) }}",
    "{{ u | indent }}{{ u | trim }}{{ u | replace('', '.') }}{{ u | truncate(3, true, '', 0) }}",
    "{{ map | tojson }}{{ map | tojson(indent=2) }}{{ u | tojson }}{{ map | string }}{{ map | dictsort }}",
    "{{ 'x{}y{a}'.format(u, a=list) }}{{ 'x%sy%s' | format(u, list) }}{{ '%r' % u }}",
    "{% for c in u %}{{ c }}.{% endfor %}{% for k, v in map.items() %}{{ k }}:{{ v }}{% endfor %}",
    "{{ list | join(u) }}{{ u.join(list) }}{{ list | reverse | list }}{{ u | reverse }}",
    "{% macro m(a) %}x{{ a }}{% endmacro %}{{ m(u) }}{% set v %}y{{ u }}{% endset %}{{ v }}",
    "{{ u | safe + '<' }}{{ u | e }}{{ u | center(20) }}{{ u * 2 }}{{ [u] * 2 }}",
    "{{ list | map('replace', 'G', 'x') | join }}{{ list | sort | first }}{{ list | max }}",
  ];
  for (const source of expressions) {
    const text = render(source, said);
    for (let i = 0; i < text.length; i++) {
      const character = text.value[i]!;
      if (/[A-Z]/.test(character)) assert.ok(text.isForeign(i, i + 1), `${source}: ${i} of ${text.value}`);
      if (/[a-z]/.test(character.replace("n", ""))) {
        assert.ok(!text.isForeign(i, i + 1), `${source}: ${i} of ${text.value}`);
      }
    }
    assert.match(text.value, /[A-Z]/, source);
  }
});

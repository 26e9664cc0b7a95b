// Templates of a line or two with what Jinja, as transformers sets it up, makes of them: each shows one rule that published
// chat templates rely on. Null: Jinja refuses. published_templates_test.ts asks Python again where it can.

/** The variables of all of them. */
export const jinjaVariables = {
  rows: [{ role: "user", n: 3 }, { role: "assistant", n: 1, deep: { x: 9 } }, { role: "user", n: 2 }],
  mapping: { b: [1, null], a: "x" },
  nothing: null,
};

/** Template and text. */
export const jinjaCases: readonly (readonly [string, string | null])[] = [
  ['{{ rows | selectattr("role", "equalto", "user") | list | length }}', "2"],
  ['{{ rows | selectattr("role", "in", ["user", "tool"]) | map(attribute="n") | join(",") }}', "3,2"],
  ['{{ rows | rejectattr("role", "equalto", "user") | map(attribute="role") | list }}', "['assistant']"],
  ['{{ rows | selectattr("gone") | list }}', "[]"],
  ['{{ nothing | selectattr("role", "equalto", "user") | list }}', "[]"],
  [
    '{{ missing | trim }}|{{ missing | upper }}|{{ missing | length }}|{{ missing | join }}|{{ missing | default("d") }}',
    "||0||d",
  ],
  [
    "{{ nothing | string }}|{{ mapping | string }}|{{ [1, 2.5, true, none, \"a'b\", 'q\"'] | string }}",
    "None|{'b': [1, None], 'a': 'x'}|[1, 2.5, True, None, \"a'b\", 'q\"']",
  ],
  ["{{ nothing }}|{{ true }}|{{ 1.0 }}|{{ [] }}|{{ {} }}|{{ (1, 2) }}", "None|True|1.0|[]|{}|(1, 2)"],
  ['{{ "<{}|{name}>" ~ "{0!r:>6}{0}".format("x", name=3) }}', "<{}|{name}>   'x'x"],
  [
    '{{ "%s has %d (%5.2f) %%" | format("it", 3, 1.5) }}|{{ "%-4s|%04d" % ("a", 7) }}',
    "it has 3 ( 1.50) %|a   |0007",
  ],
  [
    '{% set names = {1: "one", 2: "two"} %}{{ names[2] }}{{ 1 in names }}{{ names }}',
    "twoTrue{1: 'one', 2: 'two'}",
  ],
  [
    '{% macro hello(a, b=2) %}({{ a }},{{ b }}){% endmacro %}{% set held = {"m": hello} %}{{ held.m(1) }}{{ held["m"](1, b=3) }}',
    "(1,2)(1,3)",
  ],
  ['{{ [3, 1, 2] | min }}{{ [3, 1, 2] | max }}{{ ["b", "A"] | min }}{{ [] | max }}', "13A"],
  [
    "{% set a, b = (1, 2) %}{{ a }}{{ b }}{% for k, v in mapping.items() %}{{ k }}={{ v }};{% endfor %}",
    "12b=[1, None];a=x;",
  ],
  ["{% for k, v in [(1, 2), (3, 4)] %}{{ k + v }} {% endfor %}", "3 7 "],
  ['{{ rows | map(attribute="role") | unique | list }}', "['user', 'assistant']"],
  ['{{ rows | map("length") | list }}|{{ ["a", "b"] | map("upper") | join }}', "[2, 3, 2]|AB"],
  [
    "{{ 7 is divisibleby(7) }}{{ 3 is in [1, 2] }}{{ 3 is not in [1, 2] }}{{ 4 is eq 4 }}{{ 5 is gt(4) and true }}",
    "TrueFalseTrueTrueTrue",
  ],
  [
    '{{ 1 == 1.0 }}{{ true == 1 }}{{ "1" == 1 }}{{ none == missing }}{{ [1, {"a": 2}] == [1, {"a": 2}] }}',
    "TrueTrueFalseFalseTrue",
  ],
  ['{{ "a" ~ none ~ 1 ~ true ~ missing }}', "aNone1True"],
  ["{{ -7 // 2 }}|{{ -7 % 3 }}|{{ 7 / 2 }}|{{ 2 ** 3 }}|{{ 1 / 4 }}|{{ 6 / 3 }}", "-4|2|3.5|8|0.25|2.0"],
  [
    "{{ 10000000000000000.0 }}|{{ 123456789012345.6 }}|{{ 0.0001 }}|{{ 0.00001 }}|{{ 10.0 ** 300 }}",
    "1e+16|123456789012345.6|0.0001|1e-05|1e+300",
  ],
  [
    '{{ "Hello"[1:3] }}|{{ "Hello"[::-1] }}|{{ [1, 2, 3, 4][-2:] }}|{{ [1, 2, 3][::2] }}|{{ "😀ab"[0] }}|{{ "😀ab" | length }}',
    "el|olleH|[3, 4]|[1, 3]|😀|3",
  ],
  [
    '{{ " a b  c ".split() }}|{{ " a b  c ".split(none, 1) }}|{{ " a b  c ".rsplit(none, 1) }}|{{ "a,b,,c".split(",", 2) }}|{{ "a,b,c".rsplit(",", 1) }}',
    "['a', 'b', 'c']|['a', 'b  c ']|[' a b', 'c']|['a', 'b', ',c']|['a,b', 'c']",
  ],
  [
    '{{ "xxabxx".strip("x") }}|{{ "abc".lstrip("ab") }}|{{ "\\x0b a \\x1c" | trim }}|{{ "aXbX".rstrip("X") }}',
    "ab|c|a|aXb",
  ],
  [
    '{{ "hello world-wide web" | title }}|{{ "hello woRLD\'s".title() }}|{{ "hELLO" | capitalize }}|{{ "hELLO".capitalize() }}',
    "Hello World-Wide Web|Hello World'S|Hello|Hello",
  ],
  [
    '{{ "a.b.c".partition(".") }}|{{ "a.b.c".rpartition(".") }}|{{ "a" * 3 }}|{{ [0] * 2 }}',
    "('a', '.', 'b.c')|('a.b', '.', 'c')|aaa|[0, 0]",
  ],
  [
    '{{ "aXbXc".replace("X", "-", 1) }}|{{ "abc" | replace("", "-") }}|{{ "aaa" | replace("a", "b", 2) }}',
    "a-bXc|-a-b-c-|bba",
  ],
  [
    '{{ "ab".startswith(("x", "a")) }}{{ "ab".endswith("b") }}{{ "ab".find("b") }}{{ "ab".count("a") }}{{ "a1".isalnum() }}{{ "12".isdigit() }}',
    "TrueTrue11TrueTrue",
  ],
  [
    '{{ mapping | tojson }}|{{ mapping | tojson(indent=2) }}|{{ {"é<>&\'": 1.0, "b": [], "c": {}} | tojson(ensure_ascii=true) }}',
    '{"b": [1, null], "a": "x"}|{\n  "b": [\n    1,\n    null\n  ],\n  "a": "x"\n}|{"\\u00e9<>&\'": 1.0, "b": [], "c": {}}',
  ],
  [
    '{{ {"b": 1, "a": [1, 2]} | tojson(separators=(",", ":"), sort_keys=true) }}|{{ [none, true, 2.50] | tojson }}|{{ "\\u2028\\x7f\\n" | tojson }}',
    '{"a":[1,2],"b":1}|[null, true, 2.5]|" \\n"',
  ],
  ["{{ missing | tojson }}", null],
  [
    "{{ mapping.items() | list }}|{{ mapping.keys() }}|{{ mapping | items | list }}|{{ mapping | dictsort }}",
    "[('b', [1, None]), ('a', 'x')]|dict_keys(['b', 'a'])|[('b', [1, None]), ('a', 'x')]|[('a', 'x'), ('b', [1, None])]",
  ],
  [
    '{{ mapping.get("b") }}{{ mapping.get("gone") }}{{ mapping.get("gone", 3) }}{{ mapping.gone is defined }}{{ mapping["a"] }}',
    "[1, None]None3Falsex",
  ],
  ["{{ missing.attribute }}", null],
  ["{{ mapping.gone.deeper }}", null],
  ["{{ nothing.attribute is defined }}", "False"],
  ['{{ missing + "a" }}', null],
  ['{{ "a" + 1 }}', null],
  ['{{ "a" + none }}', null],
  ["{{ missing() }}", null],
  ["{% for x in nothing %}{% endfor %}", null],
  ["{% for x in missing %}x{% else %}none{% endfor %}", "none"],
  [
    "{% for x in [1, 2, 3, 4] if x % 2 == 0 %}{{ loop.index }}:{{ x }}:{{ loop.last }}:{{ loop.previtem }} {% endfor %}",
    "1:2:False: 2:4:True:2 ",
  ],
  ["{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 5 %}{% endfor %}{{ x }}", "111"],
  [
    "{% set ns = namespace(a=1) %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b is defined }}{{ ns }}",
    "4False<Namespace {'a': 4}>",
  ],
  ["{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}", "1"],
  ["{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, z=3) }}", "1(2,){'z': 3}"],
  ["{% macro m(a) %}{{ a is defined }}{{ a }}{% endmacro %}{{ m() }}", "False"],
  ["{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", null],
  ["{% macro box() %}[{{ caller() }}]{% endmacro %}{% call box() %}in{% endcall %}", "[in]"],
  [
    "{% set x %}  block {{ 1 }}{% endset %}[{{ x }}]{% filter upper %}abc{{ 1 }}{% endfilter %}",
    "[  block 1]ABC1",
  ],
  [
    "{{ loop is defined }}{{ range(3) | list }}{{ range(1, 10, 4) | list }}{{ dict(a=1) }}",
    "False[0, 1, 2][1, 5, 9]{'a': 1}",
  ],
  ['{{ rows | selectattr("role", "equalto", "nobody") | length }}', null],
  [
    '{% if rows | selectattr("role", "equalto", "nobody") %}generators are true{% endif %}',
    "generators are true",
  ],
  ['{% set g = rows | map(attribute="n") %}{{ g | list }}{{ g | list }}', "[3, 1, 2][]"],
  [
    '{{ rows | sort(attribute="n", reverse=true) | map(attribute="n") | join(" ") }}|{{ ["b", "A", "a", "B"] | sort }}|{{ [3, 1] | sort(true) }}',
    "3 2 1|['A', 'a', 'b', 'B']|[3, 1]",
  ],
  [
    '{{ rows | groupby("role") | length }}|{{ [1, 2, 3] | batch(2) | list }}|{{ [1, 2.0] | sum }}|{{ rows | sum(attribute="n") }}',
    "2|[[1, 2], [3]]|3.0|6",
  ],
  [
    '{{ "a\\n\\nb" | indent }}|{{ "a\\n\\nb\\n" | indent(2, true, true) }}|{{ "a\\nb" | indent("> ") }}',
    "a\n\n    b|  a\n  \n  b\n  |a\n> b",
  ],
  [
    '{{ "12" | int + 1 }}|{{ "1.9" | int }}|{{ "x" | int(5) }}|{{ "0x1f" | int(0, 16) }}|{{ "1.5" | float }}|{{ 2.5 | round }}|{{ 3.14159 | round(2) }}|{{ -3 | abs }}',
    "13|1|5|31|1.5|2.0|3.14|3",
  ],
  ['{{ "it\'s" | safe + "<b>" }}|{{ "<a>" | e }}|{{ "<" | safe ~ "<" }}', "it's&lt;b&gt;|&lt;a&gt;|<<"],
  [
    '{{ [1, 2] | first }}{{ [1, 2] | last }}{{ [] | first }}|{{ "abc" | first }}|{{ "abc" | reverse }}|{{ [1, 2] | reverse | list }}',
    "12|a|cba|[2, 1]",
  ],
  [
    '{{ rows[0].role.upper() }}{{ rows[-1]["n"] }}{{ rows[9] is defined }}{{ rows.0.role }}',
    "USER2Falseuser",
  ],
  ["{{ [1].append(2) }}", null],
  ['{{ mapping.pop("a") }}', null],
  ["{{ mapping.items is defined }}{{ mapping.update is defined }}", "TrueFalse"],
  [
    '{{ "b" in mapping }}{{ "b" not in mapping }}{{ "b" in "abc" }}{{ 2 in [1, 2] }}{{ none in [none] }}{{ "x" in missing }}',
    "TrueFalseTrueTrueTrueFalse",
  ],
  ['{{ 1 in "abc" }}', null],
  ['{{ 1 < "a" }}', null],
  ['{{ "a" < "b" }}{{ [1, 2] < [1, 3] }}{{ 1 <= 1.0 }}{{ true > false }}', "TrueTrueTrueTrue"],
  [
    '{{ mapping is mapping }}{{ rows is sequence }}{{ rows is iterable }}{{ "a" is iterable }}{{ missing is iterable }}{{ 1 is number }}{{ true is number }}{{ true is integer }}{{ 1.0 is float }}{{ rows is string }}{{ none is none }}{{ (1,2) is sequence }}{{ rows is callable }}{{ range is callable }}',
    "TrueTrueTrueTrueTrueTrueTrueFalseTrueFalseTrueTrueFalseTrue",
  ],
  [
    '{{ "ABC" is upper }}{{ "abc" is lower }}{{ "aBc" is lower }}{{ 3 is odd }}{{ 4 is even }}{{ false is false }}{{ 0 is false }}{{ true is boolean }}',
    "TrueTrueFalseTrueTrueTrueFalseTrue",
  ],
  [
    '{{ rows | length > 2 and "yes" or "no" }}|{{ "a" if false }}|{{ "a" if true else "b" }}|{{ not missing }}',
    "yes||a|True",
  ],
  ['{{ "a" "b" }}|{{ \'it\'\'s\' }}|{{ "tab\\tnew\\nline" }}', "ab|its|tab\tnew\nline"],
  [
    '{% for c in "a😀" %}[{{ c }}]{% endfor %}{{ ["a", "b"] | join(", ") }}{{ [1, none, missing] | join("-") }}',
    "[a][😀]a, b1-None-",
  ],
  [
    '{{ ["x", ["y", \'it"s\']] }}|{{ {"k": none} }}|{{ "\\n\\t\\\\\\x7f\\u00a0é" | list }}',
    "['x', ['y', 'it\"s']]|{'k': None}|['\\n', '\\t', '\\\\', '\\x7f', '\\xa0', 'é']",
  ],
  [
    "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "02",
  ],
  [
    '{{ "a\\r\\nb\\x0bc".splitlines() }}|{{ "abc" | truncate(2, true, "", 0) }}|{{ "a b c" | wordcount }}|{{ "x" | center(5) }}|{{ "7".zfill(3) }}',
    "['a', 'b', 'c']|ab|3|  x  |007",
  ],
  [
    '{{ "straße".upper() }}|{{ "ǅ" | lower }}|{{ "éa".title() }}|{{ "İ" | lower | length }}',
    "STRASSE|ǆ|Éa|2",
  ],
  ['{{ mapping.a.b is defined }}{{ rows | map(attribute="deep.x", default="?") | join(",") }}', "False?,9,?"],
  ['{{ joiner is defined }}{% set j = joiner("|") %}{{ j() }}a{{ j() }}b', "Truea|b"],
  [
    '{% for r in rows %}{{ loop.cycle("odd", "even") }}{{ loop.changed(r.role) }} {% endfor %}',
    "oddTrue evenTrue oddTrue ",
  ],
  [
    "{{ rows | tojson | safe }}",
    '[{"role": "user", "n": 3}, {"role": "assistant", "n": 1, "deep": {"x": 9}}, {"role": "user", "n": 2}]',
  ],
  ['{{ raise_exception("stop " ~ 1) }}', null],
  ['{{ "abc" | nosuchfilter }}', null],
  ["{{ 1 is nosuchtest }}", null],
  ["{{ 1 / 0 }}", null],
  ['{{ [1,2][5] }}|{{ "abc"[9] }}|{{ mapping[5] }}|{{ mapping[none] }}', "|||"],
  [
    '  {%- if true %} left {% endif -%}  \n  {% if true %}\n    kept\n  {% endif %}\n{{ "lines\\n" }}',
    " left     kept\nlines\n",
  ],
  ["{#- comment -#} after {# other #}", "after "],
];

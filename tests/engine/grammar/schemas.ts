// Schemas for tests, and an independent validator.

import { Ajv, type AnySchema, type ValidateFunction } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const OPTIONS = {
  strict: true,
  strictTypes: false,
  strictRequired: false,
  strictTuples: false,
  multipleOfPrecision: 9,
  ownProperties: true,
};

/** Every keyword that is enforced, in schemas as people write them. */
export const SCHEMAS: readonly AnySchema[] = [
  { type: "object" },
  { type: "array", items: { type: "integer" } },
  { type: ["string", "null"], maxLength: 4 },
  { enum: ['a"b', "ü", 3, -1.5, null, true, { x: [1] }, ["y"]] },
  { const: { deep: [{ a: 1 }, null] } },
  { type: "integer", minimum: -3, maximum: 12 },
  { type: "integer", exclusiveMinimum: 99, exclusiveMaximum: 1001 },
  { type: "number", minimum: -0.5, exclusiveMaximum: 0.125 },
  { type: "number", exclusiveMinimum: 0 },
  { type: "number", multipleOf: 0.25, maximum: 100, minimum: -100 },
  { type: "integer", multipleOf: 7 },
  { type: "integer", not: { multipleOf: 2 }, minimum: 0 },
  { type: "number", not: { type: "integer" } },
  { type: "number", not: { enum: [1, 2.5] }, minimum: 0, maximum: 3 },
  { type: "string", minLength: 3, maxLength: 5 },
  { type: "string", pattern: "^[a-z]+(-[a-z]+)*$" },
  { type: "string", pattern: "b+c", maxLength: 8 },
  { type: "string", pattern: "^(?!foo|bar)[a-z]{3}$" },
  { type: "string", not: { pattern: "[aeiou]" }, maxLength: 20 },
  { type: "string", pattern: "^\\p{Lu}\\p{Ll}*$" },
  { type: "string", pattern: "^\\S+@\\S+$" },
  ...[
    "date",
    "time",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "uuid",
    "json-pointer",
    "relative-json-pointer",
    "byte",
  ]
    .map((format): AnySchema => ({ type: "string", format })),
  { type: "integer", format: "int32" },
  { type: "array", prefixItems: [{ type: "string" }, { type: "integer" }], items: false, minItems: 1 },
  { type: "array", items: { type: "boolean" }, minItems: 2, maxItems: 4 },
  { type: "array", contains: { type: "integer", minimum: 5 }, minContains: 2, maxContains: 3, maxItems: 6 },
  { type: "array", items: { type: "number" }, contains: { const: 7 } },
  { type: "array", not: { contains: { type: "string" } }, maxItems: 4 },
  {
    type: "object",
    properties: { a: { type: "integer" }, b: { type: "string" } },
    required: ["b"],
    additionalProperties: false,
  },
  {
    type: "object",
    properties: { a: { type: "integer" } },
    additionalProperties: { type: "boolean" },
    minProperties: 1,
  },
  {
    type: "object",
    patternProperties: { "^x-": { type: "string" }, "y$": { type: "integer" } },
    additionalProperties: false,
  },
  { type: "object", propertyNames: { pattern: "^[a-z]{1,3}$" }, maxProperties: 2 },
  {
    type: "object",
    properties: { a: {}, b: {}, c: {} },
    additionalProperties: false,
    minProperties: 2,
    maxProperties: 2,
  },
  { type: "object", propertyNames: { enum: ["k", "l"] }, additionalProperties: { type: "null" } },
  {
    type: "object",
    dependentRequired: { a: ["b"] },
    properties: { a: {}, b: {} },
    additionalProperties: false,
  },
  { type: "object", dependentSchemas: { a: { properties: { b: { type: "integer" } }, required: ["b"] } } },
  {
    anyOf: [{ type: "string", maxLength: 2 }, {
      type: "object",
      required: ["k"],
      properties: { k: { const: 1 } },
    }],
  },
  { oneOf: [{ type: "integer", multipleOf: 3 }, { type: "integer", multipleOf: 5 }], type: "integer" },
  {
    oneOf: [
      { type: "object", properties: { kind: { const: "a" }, n: { type: "integer" } }, required: ["kind"] },
      {
        type: "object",
        properties: { kind: { const: "b" }, s: { type: "string" } },
        required: ["kind", "s"],
      },
    ],
  },
  {
    type: "object",
    oneOf: [{ required: ["a"] }, { required: ["b"] }],
    properties: { a: { type: "null" }, b: { type: "null" } },
  },
  {
    allOf: [{ type: "object", properties: { a: { type: "integer" } } }, {
      properties: { a: { minimum: 3 }, b: { type: "string" } },
      required: ["a"],
    }],
  },
  {
    type: "object",
    properties: { country: { enum: ["US", "DE"] }, zip: { type: "string" } },
    required: ["country", "zip"],
    additionalProperties: false,
    if: { properties: { country: { const: "US" } } },
    then: { properties: { zip: { pattern: "^[0-9]{5}$" } } },
    else: { properties: { zip: { pattern: "^D-[0-9]{5}$" } } },
  },
  { not: { type: ["object", "array", "string"] } },
  { type: "object", not: { required: ["a"] }, properties: { a: {}, b: { type: "integer" } } },
  { type: "object", not: { properties: { a: { type: "string" } }, required: ["a"] }, maxProperties: 3 },
  {
    $defs: {
      node: {
        type: "object",
        properties: { v: { type: "integer" }, next: { $ref: "#/$defs/node" } },
        required: ["v"],
        additionalProperties: false,
      },
    },
    $ref: "#/$defs/node",
  },
  {
    $id: "https://example.com/tree",
    type: "object",
    properties: { children: { type: "array", items: { $ref: "#" }, maxItems: 2 }, name: { $ref: "#name" } },
    required: ["name"],
    additionalProperties: false,
    $defs: { n: { $anchor: "name", type: "string", maxLength: 3 } },
  },
  true,
];

/** Of ajv, strict, with formats. */
export function validator(schema: unknown): ValidateFunction {
  const legacy = typeof schema === "object" && schema !== null && JSON.stringify(schema).includes("draft-07");
  const ajv = legacy ? new Ajv(OPTIONS) : new Ajv2020(OPTIONS);
  ajv.addVocabulary(["$anchor"]); // followed by ajv, and unknown to its strict mode
  (addFormats as unknown as (ajv: unknown) => void)(ajv);
  return ajv.compile(schema as AnySchema);
}

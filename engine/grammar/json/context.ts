/**
 * What the rules of arrays and objects share: where positions are kept, what schemas allow, how JSON is written, and
 * where values begin (values.ts, which is made of these rules in turn).
 */
import type { Position, Row } from "../automaton/position.ts";
import type { PositionTable } from "../automaton/table.ts";
import type { SchemaCompiler } from "../schema/compiler.ts";
import type { Expression } from "../schema/shape.ts";

/** How JSON is written where the schema leaves it open. */
export interface JsonStyle {
  /** `declared`: properties in the schema's order, others last. `any`: in any order. */
  readonly order: "declared" | "any";
  /** `none`: compact. `bounded`: see whitespace.ts. */
  readonly whitespace: "none" | "bounded";
}

/** What the rules of arrays and objects share. */
export interface JsonContext {
  /** All positions. */
  readonly table: PositionTable;
  /** Finds what expressions allow. */
  readonly compiler: SchemaCompiler;
  /** How JSON is written. */
  readonly style: JsonStyle;
  /** Where values of an expression begin. */
  starts(expression: Expression): Starts;
}

/** Where values of one expression begin: what each first byte leads to. */
export interface Starts {
  /** What the first byte of a value leads to. */
  on(byte: number): readonly Row[];
}

/** Puts what continues afterwards below each row. */
export function beneath(position: Position, rows: readonly Row[]): readonly Row[] {
  return rows.map((row) => [position, ...row]);
}

// How unions are written whose members a tag tells apart.

/** One member: its tag, and what it brings. */
export type Tagged<Type extends string, Fields = unknown> = { readonly type: Type } & Readonly<Fields>;

// Commands as people type them: reading a line, completing it, and what the states of a run mean. No I/O.

import type { CommandKind } from "./api/types";
import type { Tone } from "./update";

/** A JSON Schema, as far as it is read here. */
interface Schema {
  $ref?: string;
  type?: string | string[];
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  description?: string;
}

export interface Typed {
  name: string;
  arguments: Record<string, unknown>;
}

export interface Suggestion {
  /** What the line is with it. */
  line: string;
  label: string;
  /** Said beside it, e.g. that the device does not allow it. */
  note: string;
  disabled: boolean;
}

/** Levels of references and alternatives that are followed. */
const MAX_DEPTH = 8;

/** Splits a line into words at its blanks, but for those within quotes and brackets. */
export function words(line: string): string[] {
  return line.match(/(?:"(?:[^"\\]|\\.)*"?|\[(?:"(?:[^"\\]|\\.)*"?|[^\]])*\]?|\{.*\}?|[^\s"[{]+)+/g) ?? [];
}

/** What a line means. Throws an error whose text says what is wrong with it. */
export function read(line: string, kinds: CommandKind[]): Typed {
  const [name = "", ...rest] = words(line.trim());
  if (!name) throw new Error("Type a command.");
  const kind = kinds.find((kind) => kind.name === name);
  if (!kind) throw new Error(`There is no command ${name}. There are: ${kinds.map(({ name }) => name).join(", ")}.`);
  const behind = line.trim().slice(name.length).trim();
  if (behind.startsWith("{")) return { name, arguments: object(behind) };
  const root = kind.arguments as Schema;
  const values: Record<string, unknown> = {};
  for (const word of rest) {
    const [key, text] = pair(word, root);
    const schema = Object.hasOwn(root.properties ?? {}, key) ? root.properties?.[key] : undefined;
    if (!schema) throw new Error(`${name} takes no argument ${key}. ${takes(root)}`);
    if (Object.hasOwn(values, key)) throw new Error(`${key} is given twice.`);
    const value = typed(root, schema, unquoted(text));
    if (value === undefined) throw new Error(`${text} is no value of ${key}.${oneOf(root, schema)}`);
    values[key] = value;
  }
  const missing = root.required?.find((key) => !Object.hasOwn(values, key));
  if (missing) throw new Error(`${name} needs ${missing}. ${takes(root)}`);
  return { name, arguments: values };
}

/** A word without `=` is the value of the only argument that a command needs. */
function pair(word: string, root: Schema): [string, string] {
  const at = word.indexOf("=");
  if (at > 0) return [word.slice(0, at), word.slice(at + 1)];
  const [only, ...more] = root.required ?? [];
  if (only && more.length === 0) return [only, word];
  throw new Error(`${word} is not name=value. ${takes(root)}`);
}

function takes(root: Schema): string {
  const names = fieldOrder(root).map((name) => (root.required?.includes(name) ? name : `[${name}]`));
  return names.length > 0 ? `It takes: ${names.join(" ")}.` : "It takes no arguments.";
}

function object(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`The arguments are no JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error("The arguments are no JSON object.");
  return value as Record<string, unknown>;
}

function unquoted(text: string): string {
  if (!text.startsWith('"')) return text;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "string" ? value : text;
  } catch {
    return text;
  }
}

/** The schema that a reference points to, or itself. */
function resolved(root: Schema, schema: Schema): Schema {
  let found = schema;
  for (let depth = 0; found.$ref?.startsWith("#/") && depth < MAX_DEPTH; depth += 1) {
    let target: unknown = root;
    for (const part of found.$ref.slice(2).split("/")) target = (target as Record<string, unknown> | undefined)?.[part];
    if (typeof target !== "object" || target === null) break;
    found = target as Schema;
  }
  return found;
}

/** Those of which a value may match any. */
function alternatives(root: Schema, schema: Schema, depth = MAX_DEPTH): Schema[] {
  const found = resolved(root, schema);
  const several = found.anyOf ?? found.oneOf;
  return several && depth > 0 ? several.flatMap((one) => alternatives(root, one, depth - 1)) : [found];
}

/** The values of an argument that takes only certain ones. */
function choices(root: Schema, schema: Schema): string[] {
  const found = alternatives(root, schema).flatMap((one) => {
    if (one.const !== undefined) return [one.const];
    if (one.enum) return one.enum;
    return [one.type].flat().includes("boolean") ? ["true", "false"] : [];
  });
  return found.filter((value): value is string => typeof value === "string");
}

function oneOf(root: Schema, schema: Schema): string {
  const values = choices(root, schema);
  return values.length > 0 ? ` It is one of ${values.join(", ")}.` : "";
}

/** The value that a text has by its schema; none if it has none. */
function typed(root: Schema, schema: Schema, text: string): unknown {
  for (const one of alternatives(root, schema)) {
    if (one.const !== undefined) {
      if (one.const === text) return text;
      continue;
    }
    if (one.enum) {
      if (one.enum.includes(text)) return text;
      continue;
    }
    for (const type of [one.type].flat()) {
      const value = ofType(root, one, type, text);
      if (value !== undefined) return value;
    }
  }
  return undefined;
}

function ofType(root: Schema, schema: Schema, type: string | undefined, text: string): unknown {
  switch (type) {
    case "string":
      return text;
    case "boolean":
      return text === "true" ? true : text === "false" ? false : undefined;
    case "integer":
      return /^-?\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : undefined;
    case "number":
      return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : undefined;
    case "array":
      return list(root, schema.items ?? {}, text);
    case "object":
      try {
        return object(text);
      } catch {
        return undefined;
      }
    default:
      return undefined;
  }
}

function list(root: Schema, items: Schema, text: string): unknown {
  if (text.startsWith("[")) {
    try {
      const value: unknown = JSON.parse(text);
      return Array.isArray(value) ? value : undefined;
    } catch {
      return undefined;
    }
  }
  const values = text
    .split(",")
    .filter(Boolean)
    .map((part) => typed(root, items, part));
  return values.includes(undefined) ? undefined : values;
}

/** What the last word of a line could become. */
export function complete(line: string, kinds: CommandKind[]): Suggestion[] {
  const before = line.trimStart();
  const [name = ""] = words(before);
  if (!/\s/.test(before)) {
    const told = kinds.some(({ policy }) => policy != null);
    return kinds
      .filter((kind) => kind.name.startsWith(name))
      .map((kind) => ({
        line: `${kind.name} `,
        label: kind.name,
        note: told && kind.policy == null ? "the device does not have it" : says(kind),
        disabled: kind.policy === "denied" || (told && kind.policy == null),
      }));
  }
  const kind = kinds.find((kind) => kind.name === name);
  if (!kind || before.slice(name.length).trim().startsWith("{")) return [];
  const root = kind.arguments as Schema;
  const last = /\S*$/.exec(line)?.[0] ?? "";
  const kept = line.slice(0, line.length - last.length);
  const at = last.indexOf("=");
  if (at > 0) {
    const schema = root.properties?.[last.slice(0, at)];
    const begun = last.slice(at + 1);
    return (schema ? choices(root, schema) : [])
      .filter((value) => value.startsWith(begun))
      .map((value) => ({ line: `${kept}${last.slice(0, at + 1)}${value} `, label: value, note: "", disabled: false }));
  }
  const given = new Set(words(kept).map((word) => word.split("=")[0]));
  return fieldOrder(root)
    .filter((key) => key.startsWith(last) && !given.has(key))
    .map((key) => ({
      line: `${kept}${key}=`,
      label: `${key}=`,
      note: root.required?.includes(key) ? "needed" : "",
      disabled: false,
    }));
}

/** What a device's policy says of a command. */
export function says(kind: CommandKind): string {
  if (kind.policy === "denied") return "the device does not allow it";
  return kind.policy === "depends" ? "depends on the arguments" : "";
}

/** A command as it is typed. */
export function spelled(name: string, values: Record<string, unknown>): string {
  const word = (value: unknown) =>
    typeof value === "string" && /^[^\s"[{]+$/.test(value) ? value : JSON.stringify(value);
  return [name, ...Object.entries(values).map(([key, value]) => `${key}=${word(value)}`)].join(" ");
}

/** Names of an object's fields in the order of their schema, which lists those that are always there first. */
export function fieldOrder(schema: Schema): string[] {
  return [...new Set([...(schema.required ?? []), ...Object.keys(schema.properties ?? {})])];
}

/** A result's fields, and the schema of each, in the order of the kind's schema. */
export function fields(
  result: Record<string, unknown>,
  kind: CommandKind | undefined,
): { name: string; value: unknown; columns: string[] }[] {
  const root = (kind?.result ?? {}) as Schema;
  const names = [...new Set([...fieldOrder(root), ...Object.keys(result)])].filter((name) => name in result);
  return names.map((name) => {
    const items = resolved(root, resolved(root, root.properties?.[name] ?? {}).items ?? {});
    return { name, value: result[name], columns: fieldOrder(items) };
  });
}

// --- states ---

const STATES: Record<string, [label: string, tone: Tone]> = {
  waiting: ["Waiting", "neutral"],
  sent: ["Sent", "neutral"],
  running: ["Running", "active"],
  succeeded: ["Succeeded", "good"],
  failed: ["Failed", "bad"],
  denied: ["Denied", "bad"],
  invalid: ["Invalid", "bad"],
  unknown_command: ["Unknown command", "bad"],
  unsupported: ["Unsupported", "bad"],
  expired: ["Expired", "warn"],
  cancelled: ["Cancelled", "neutral"],
  timed_out: ["Timed out", "bad"],
  interrupted: ["Interrupted", "bad"],
  unanswered: ["Unanswered", "warn"],
};

export function runState(state: string): { label: string; tone: Tone } {
  const [label, tone] = STATES[state] ?? ["Unknown", "neutral" as const];
  return { label, tone };
}

export function hasEnded(state: string): boolean {
  return !["waiting", "sent", "running"].includes(state);
}

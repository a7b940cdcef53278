import assert from "node:assert/strict";
import { test } from "node:test";
import type { CommandKind } from "../src/api/types";
import { complete, fields, read, spelled, words } from "../src/command";

const kind = (name: string, args: object, more: Partial<CommandKind> = {}): CommandKind => ({
  name,
  about: "",
  timeout_s: 30,
  arguments: args as Record<string, unknown>,
  result: {},
  ...more,
});

/** As the server makes them of the agent's types. */
const KINDS = [
  kind("ps", { type: "object", additionalProperties: false }),
  kind("ping", {
    properties: { count: { type: ["integer", "null"] }, host: { type: "string" } },
    required: ["host"],
  }),
  kind("run", {
    properties: { arguments: { type: "array", items: { type: "string" } }, program: { type: "string" } },
    required: ["program"],
  }),
  kind(
    "service",
    {
      properties: { action: { $ref: "#/$defs/Action" }, follow: { type: "boolean" }, unit: { type: "string" } },
      required: ["unit"],
      $defs: {
        Action: {
          oneOf: [
            { const: "start", type: "string" },
            { const: "stop", type: "string" },
          ],
        },
      },
    },
    { policy: "denied" },
  ),
];

test("a line is split at blanks, but for those within quotes and brackets", () => {
  assert.deepEqual(words('run program=x arguments=["a b", "c"] note="d \\" e"'), [
    "run",
    "program=x",
    'arguments=["a b", "c"]',
    'note="d \\" e"',
  ]);
});

test("words become what the schema says", () => {
  for (const [line, expected] of [
    [" ps ", {}],
    ["ping host=::1 count=5", { host: "::1", count: 5 }],
    ["ping 192.0.2.1", { host: "192.0.2.1" }],
    ['run program=selftest arguments=["a b","c"]', { program: "selftest", arguments: ["a b", "c"] }],
    ["run selftest arguments=a,b", { program: "selftest", arguments: ["a", "b"] }],
    ['service unit="my unit" action=stop follow=true', { unit: "my unit", action: "stop", follow: true }],
    ['ping {"host": "a", "count": 1}', { host: "a", count: 1 }],
  ] as const) {
    assert.deepEqual(read(line, KINDS).arguments, expected, line);
  }
});

test("what a command does not take is refused with what it takes", () => {
  for (const [line, message] of [
    ["", /Type a command/],
    ["fly", /no command fly.*ps, ping/],
    ["ps x", /takes no arguments/],
    ["ping a b", /given twice/],
    ["ping count=x host=a", /x is no value of count/],
    ["ping count=1", /ping needs host.*host \[count\]/],
    ["service unit=a action=fly", /one of start, stop/],
    ["service unit=a __proto__=1", /no argument __proto__/],
    ["ping [1]x=1", /no argument/],
    ["ping {", /no JSON/],
  ] as const) {
    assert.throws(() => read(line, KINDS), message, line);
  }
});

test("names, arguments and values are completed; what the device denies is shown and cannot be taken", () => {
  const of = (line: string) => complete(line, KINDS).map((one) => one.line);
  assert.deepEqual(of("p"), ["ps ", "ping "]);
  assert.deepEqual(of("ping "), ["ping host=", "ping count="]);
  assert.deepEqual(of("ping host=a c"), ["ping host=a count="]);
  assert.deepEqual(of("service unit=a action=st"), ["service unit=a action=start ", "service unit=a action=stop "]);
  assert.deepEqual(of("service follow="), ["service follow=true ", "service follow=false "]);
  assert.deepEqual(of("fly "), []);
  const [service] = complete("s", KINDS);
  assert.deepEqual([service?.disabled, service?.note], [true, "the device does not allow it"]);
  const [ps] = complete("ps", KINDS);
  assert.deepEqual([ps?.disabled, ps?.note], [true, "the device does not have it"]);
  // One that did not tell anything may have it.
  assert.equal(complete("ps", KINDS.slice(0, 1))[0]?.disabled, false);
});

test("a command is spelt so that it can be typed again", () => {
  const values = { program: "x", arguments: ["a b"], note: "c d" };
  assert.equal(spelled("run", values), 'run program=x arguments=["a b"] note="c d"');
  assert.deepEqual(read(spelled("ping", { host: "a", count: 2 }), KINDS).arguments, { host: "a", count: 2 });
});

test("a result's fields are in the order of the schema", () => {
  const ps = kind(
    "ps",
    {},
    {
      result: {
        properties: { left_out: {}, processes: { type: "array", items: { $ref: "#/$defs/Process" } } },
        required: ["processes", "left_out"],
        $defs: { Process: { properties: { name: {}, pid: {} }, required: ["pid", "name"] } },
      },
    },
  );
  const found = fields({ left_out: 0, newer: 1, processes: [] }, ps);
  assert.deepEqual(
    found.map(({ name }) => name),
    ["processes", "left_out", "newer"],
  );
  assert.deepEqual(found[0]?.columns, ["pid", "name"]);
});

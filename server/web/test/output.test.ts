import assert from "node:assert/strict";
import { test } from "node:test";
import type { CommandRun } from "../src/api/types";
import { follow, Lines, MAX_LINES, Output, type Part } from "../src/output";

const base64 = (text: string | Uint8Array) => Buffer.from(text).toString("base64");
const output = (at: number, text: string | Uint8Array, stream = "stdout"): Part => ({
  type: "output",
  at,
  stream,
  data: base64(text),
});
const run = (state: string, output_end: number, output_start = 0) =>
  ({ type: "run", run: { state, output_start, output_end } as CommandRun }) as const;
const json = (...parts: Part[]) => parts.map((part) => `${JSON.stringify(part)}\n`).join("");
const stream = (text: string) =>
  new ReadableStream<Uint8Array>({
    start: (controller) => {
      controller.enqueue(Buffer.from(text));
      controller.close();
    },
  });
const texts = (of: Output) => of.lines.map(({ text }) => text);

test("lines are read wherever their chunks end, signs of life between them", () => {
  const bytes = Buffer.from(`\n${json(output(0, "é"), output(2, "x"))}\n`);
  const lines = new Lines();
  const parts = [...bytes].flatMap((byte) => lines.take(Uint8Array.of(byte)));
  assert.deepEqual(parts, [output(0, "é"), output(2, "x")]);
});

test("a character that is split over parts is whole, in each stream of its own", () => {
  const of = new Output();
  const [first = 0, second = 0] = Buffer.from("é");
  of.take(output(0, Uint8Array.of(97, first)));
  of.take(output(2, "oops", "stderr"));
  of.take(output(6, Uint8Array.of(second, 10)));
  assert.deepEqual(texts(of), ["aé", "oops"]);
  assert.deepEqual(
    of.lines.map(({ stderr }) => stderr),
    [false, true],
  );
});

test("control characters are marks", () => {
  const of = new Output();
  of.take(output(0, "\u{1b}[2Ja\tb\r\n\u{202e}c"));
  assert.deepEqual(texts(of), ["\u{fffd}[2Ja\tb", "\u{fffd}c"]);
});

test("nobody waits for output that was forgotten", () => {
  const of = new Output();
  of.take(output(0, "ab"));
  of.take(run("succeeded", 6, 6));
  assert.deepEqual([of.complete, of.missing], [true, 4]);
});

test("what comes twice counts once, what is missing is counted, and a new beginning begins anew", () => {
  const of = new Output();
  of.take(output(0, "ab"));
  of.take(output(1, "bc"));
  of.take(output(5, "f"));
  assert.deepEqual([texts(of), of.missing, of.next], [["abcf"], 2, 6]);
  of.take(output(0, "new"));
  assert.deepEqual([texts(of), of.next], [["new"], 3]);
  assert.equal(of.take(run("running", 0)), false);
  assert.equal(of.next, 0);
});

test("only the newest lines are kept", () => {
  const of = new Output();
  of.take(output(0, "x\n".repeat(MAX_LINES + 3)));
  assert.deepEqual([of.lines.length, of.hidden], [MAX_LINES, 3]);
});

test("a stream that breaks goes on behind the last byte, and ends with the run", async () => {
  const of = new Output();
  const asked: number[] = [];
  const streams = [
    () => stream(json(run("running", 0), output(0, "one\n")) + json(output(4, "lost")).slice(0, 20)),
    () => {
      throw new TypeError("network");
    },
    () => stream(json(run("running", 8), output(4, "two\n"), run("succeeded", 8))),
  ];
  const open = async (from: number) => {
    asked.push(from);
    return (streams.shift() ?? (() => assert.fail("asked once more")))();
  };
  await follow(
    of,
    open,
    () => {},
    (error) => error instanceof TypeError,
    new AbortController().signal,
    async () => {},
  );
  assert.deepEqual(asked, [0, 4, 4]);
  assert.deepEqual(texts(of), ["one", "two"]);
  assert.equal(of.run?.state, "succeeded");
});

test("a refusal ends it", async () => {
  const open = async () => {
    throw new Error("forbidden");
  };
  await assert.rejects(
    follow(
      new Output(),
      open,
      () => {},
      () => false,
      new AbortController().signal,
    ),
    /forbidden/,
  );
});

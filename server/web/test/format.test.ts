import assert from "node:assert/strict";
import { test } from "node:test";
import { ago, bytes, count, countdown, duration, percent, rate } from "../src/format";

test("bytes have three digits at most and the next unit in time", () => {
  assert.equal(bytes(0), "0 B");
  assert.equal(bytes(999), "999 B");
  assert.equal(bytes(1000), "1.00 kB");
  assert.equal(bytes(12_345), "12.3 kB");
  assert.equal(bytes(999_499), "999 kB");
  assert.equal(bytes(999_500), "1.00 MB");
  assert.equal(bytes(184_320_512), "184 MB");
  assert.equal(bytes(5e15), "5000 TB");
  assert.equal(bytes(-3), "0 B");
  assert.equal(rate(1500), "1.50 kB/s");
});

test("small shares keep a decimal", () => {
  assert.equal(percent(0), "0 %");
  assert.equal(percent(0.042), "4.2 %");
  assert.equal(percent(0.5), "50 %");
  assert.equal(percent(1), "100 %");
});

test("durations have two units at most", () => {
  assert.equal(duration(0), "0 s");
  assert.equal(duration(-5), "0 s");
  assert.equal(duration(59_400), "59 s");
  assert.equal(duration(60_000), "1 min");
  assert.equal(duration(200_000), "3 min 20 s");
  assert.equal(duration(90_061_000), "1 d 1 h");
  assert.equal(duration(3_605_000), "1 h");
});

test("ago is coarse and never in the future", () => {
  const now = 1_800_000_000_000;
  assert.equal(ago(now + 5000, now), "just now");
  assert.equal(ago(now - 4000, now), "just now");
  assert.equal(ago(now - 14_000, now), "10 s ago");
  assert.equal(ago(now - 125_000, now), "2 min ago");
  assert.equal(ago(now - 3 * 3_600_000, now), "3 h ago");
  assert.equal(ago(now - 3 * 86_400_000, now), "3 d ago");
});

test("a countdown shows the last second and then zero", () => {
  assert.equal(countdown(3_552_000), "59:12");
  assert.equal(countdown(3_600_000), "1:00:00");
  assert.equal(countdown(1), "00:01");
  assert.equal(countdown(-1), "00:00");
  assert.equal(countdown(7 * 86_400_000), "7 d");
});

test("one is singular", () => {
  assert.equal(count(1, "device"), "1 device");
  assert.equal(count(0, "device"), "0 devices");
  assert.equal(count(1200, "device"), "1,200 devices");
});

// The output of a run as the API sends it: lines of JSON in chunks that end anywhere, in streams that may break.

import type { CommandRun } from "./api/types";
import { hasEnded } from "./command";
import { clean, parse } from "./text";

export type Part = { type: "run"; run: CommandRun } | { type: "output"; at: number; stream: string; data: string };

/** A line that a program wrote. */
export interface Line {
  id: number;
  stderr: boolean;
  text: string;
}

/** Lines that the page shows at most; the oldest go first. */
export const MAX_LINES = 5000;
/** Characters of a line that are shown. */
const MAX_LINE = 4000;

const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 10_000;

/** Cuts chunks into lines of JSON. */
export class Lines {
  readonly #decoder = new TextDecoder();
  #rest = "";

  take(chunk: Uint8Array): Part[] {
    const lines = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split("\n");
    this.#rest = lines.pop() ?? "";
    return lines.filter((line) => line.trim() !== "").map((line) => parse<Part>(line));
  }
}

/** What came of a run so far. */
export class Output {
  run: CommandRun | undefined;
  lines: Line[] = [];
  /** Place after the last byte that came. */
  next = 0;
  /** Bytes that the server no longer had. */
  missing = 0;
  /** Lines that are not shown any more. */
  hidden = 0;
  #id = 0;
  #decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  /** The line to which each stream adds. */
  #open: { stdout?: Line; stderr?: Line } = {};

  /** Whether the run has ended and all of its output has come. */
  get complete(): boolean {
    return !!this.run && hasEnded(this.run.state) && this.run.output_end <= this.next;
  }

  /** Takes a part. False if the command was begun anew, so that its output is to be asked for from its beginning. */
  take(part: Part): boolean {
    if (part.type === "run") {
      this.run = part.run;
      // What was forgotten does not come any more, so nobody waits for it.
      this.#skipTo(part.run.output_start);
      if (part.run.output_end >= this.next) return true;
      this.#reset();
      return false;
    }
    if (part.type !== "output") return true;
    if (part.at === 0 && this.next > 0) this.#reset();
    const bytes = Uint8Array.from(atob(part.data), (c) => c.charCodeAt(0));
    const known = Math.max(0, this.next - part.at);
    if (known >= bytes.length) return true;
    this.#skipTo(part.at);
    this.next = part.at + bytes.length;
    this.#write(part.stream === "stderr" ? "stderr" : "stdout", bytes.subarray(known));
    return true;
  }

  #write(stream: "stdout" | "stderr", bytes: Uint8Array): void {
    const pieces = this.#decoders[stream].decode(bytes, { stream: true }).split("\n");
    pieces.forEach((piece, index) => {
      const isLast = index === pieces.length - 1;
      if (isLast && piece === "") return;
      const open = this.#open[stream];
      const text = shown(piece);
      if (open) {
        const longer = { ...open, text: (open.text + text).slice(0, MAX_LINE) };
        const at = this.lines.lastIndexOf(open);
        if (at >= 0) this.lines[at] = longer;
        this.#open[stream] = longer;
      } else {
        const line = { id: this.#id++, stderr: stream === "stderr", text: text.slice(0, MAX_LINE) };
        this.lines.push(line);
        this.#open[stream] = line;
      }
      if (!isLast) delete this.#open[stream];
    });
    const over = this.lines.length - MAX_LINES;
    if (over > 0) {
      this.lines.splice(0, over);
      this.hidden += over;
    }
  }

  /** The server no longer has what comes before `at`. */
  #skipTo(at: number): void {
    this.missing += Math.max(0, at - this.next);
    this.next = Math.max(this.next, at);
  }

  #reset(): void {
    this.next = 0;
    this.lines = [];
    this.#open = {};
    this.#decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  }
}

/** Text as the page shows it: a control character is a mark, never obeyed. */
function shown(text: string): string {
  return text.replace(/\r$/, "").split("\t").map(clean).join("\t");
}

/** Reads a run's output until it has ended; what broke is taken up where it broke. `open` begins at a place; an error that `isPassing` says to
 * pass is tried again. */
export async function follow(
  output: Output,
  open: (from: number) => Promise<ReadableStream<Uint8Array>>,
  onChange: () => void,
  isPassing: (error: unknown) => boolean,
  signal: AbortSignal,
  pause: (ms: number) => Promise<void> = sleep,
): Promise<void> {
  let wait = RETRY_MIN_MS;
  while (!signal.aborted) {
    try {
      const reader = (await open(output.next)).getReader();
      const lines = new Lines();
      for (;;) {
        const { value, done } = await reader.read();
        if (done || signal.aborted) break;
        wait = RETRY_MIN_MS;
        const goesOn = lines.take(value).every((part) => output.take(part));
        onChange();
        if (output.complete || !goesOn) {
          await reader.cancel();
          break;
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!isPassing(error)) throw error;
    }
    if (output.complete || signal.aborted) return;
    await pause(wait);
    wait = Math.min(wait * 2, RETRY_MAX_MS);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

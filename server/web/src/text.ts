// Text that devices, bundles and people chose: what the server's rule calls hidden (homeport_api::text) never reaches the page.

const HIDDEN =
  /\u{34f}|[\p{Cc}\u{ad}\u{61c}\u{115f}\u{1160}\u{180e}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2060}-\u{206f}\u{2800}\u{3164}\u{feff}\u{ffa0}\u{fff9}-\u{fffb}\u{e0000}-\u{e007f}]/gu;
const REPLACEMENT = "\u{fffd}";

/** Joiners, which stay between two characters of a script that joins. */
const JOINER = /[\u{200c}\u{200d}]/u;
const JOINED_BEFORE = /[\u{600}-\u{10ffff}]$/u;
const JOINED_AFTER = /^[\u{600}-\u{10ffff}]/u;
const SPACE_OR_HIDDEN = new RegExp(`^(?:\\s|${HIDDEN.source})$`, "u");

/** Scripts that run from right to left: Hebrew, Arabic and their neighbours. */
const RIGHT_TO_LEFT = /[\u{590}-\u{8ff}\u{fb1d}-\u{fdff}\u{fe70}-\u{fefc}\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
const FIRST_STRONG_ISOLATE = "\u{2068}";
const POP_ISOLATE = "\u{2069}";

/** JSON with a replacement for each hidden character in its texts: one of them could turn around the text beside it. */
export function parse<T>(json: string): T {
  return JSON.parse(json, (_key, value: unknown) => (typeof value === "string" ? clean(value) : value)) as T;
}

/** A name within a sentence. One that runs from right to left does not carry its neighbours along. */
export function named(name: string): string {
  const visible = clean(name);
  return RIGHT_TO_LEFT.test(visible) ? FIRST_STRONG_ISOLATE + visible + POP_ISOLATE : visible;
}

/** `text` with a replacement for each hidden character. */
export function clean(text: string): string {
  return text.replace(HIDDEN, (hidden, at: number) => (joins(hidden, at, text) ? hidden : REPLACEMENT));
}

function joins(hidden: string, at: number, text: string): boolean {
  if (!JOINER.test(hidden)) return false;
  const before = JOINED_BEFORE.exec(text.slice(0, at))?.[0];
  const after = JOINED_AFTER.exec(text.slice(at + hidden.length))?.[0];
  return !!before && !!after && !SPACE_OR_HIDDEN.test(before) && !SPACE_OR_HIDDEN.test(after);
}

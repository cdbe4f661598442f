// Words and numbers for readers, and outside text made harmless.

const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]/gu;

/**
 * A file name with every character that could hide or reorder text written out, as the report does it.
 * @param {string} text
 */
export function visible(text) {
  return text.replace(UNSEEN, (char) => {
    const code = /** @type {number} */ (char.codePointAt(0));
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

/**
 * A position or duration, `m:ss`.
 * @param {number} seconds
 */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/**
 * A size, `1.2 MB`.
 * @param {number} bytes
 */
export function size(bytes) {
  if (bytes < 1_000) return `${bytes} bytes`;
  return bytes < 1_000_000 ? `${(bytes / 1_000).toFixed(0)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/**
 * `1 window`, `2 windows`.
 * @param {number} number
 * @param {string} word
 */
export function count(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

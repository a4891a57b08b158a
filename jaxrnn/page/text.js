// Text to tokens and back, as in jaxrnn/text/vocabulary.py, character by character. A character is a Unicode code point;
// in a vocabulary of bytes it has one to four tokens.

class Vocabulary {
  constructor({ symbols, kind, unknown }) {
    this.symbols = Array.from(symbols);
    this.kind = kind;
    this.tokens = new Map(this.symbols.map((symbol, token) => [symbol, token]));
    this.unknown = unknown ? this.tokens.get("\ufffd") : undefined; // the token of every other symbol
  }

  // Returns the tokens of one character; null if the vocabulary lacks any of them.
  encode(character) {
    const parts = this.kind === "bytes" ? Array.from(new TextEncoder().encode(character), toSymbol) : [character];
    const tokens = parts.map((part) => this.tokens.get(part) ?? this.unknown);
    return tokens.includes(undefined) ? null : tokens;
  }

  // Returns a function that collects tokens and returns the characters that each one completes: [{shown, tokens}].
  decoder() {
    let pending = [];
    const shown = (tokens) => decodeBytes(tokens.map((token) => this.symbols[token].codePointAt(0)));
    return (token) => {
      if (this.kind !== "bytes") return [{ shown: visible(this.symbols[token]), tokens: [token] }];
      const whole = shown([...pending, token]);
      if (whole === "") {
        pending.push(token);
        return [];
      }
      if (whole !== null) {
        const tokens = [...pending, token];
        pending = [];
        return [{ shown: visible(whole), tokens }];
      }
      // Not UTF-8: each pending byte becomes U+FFFD, and the token may start a character.
      const broken = pending.map((one) => ({ shown: "\ufffd", tokens: [one] }));
      const alone = shown([token]);
      pending = alone === "" ? [token] : [];
      if (alone === null) broken.push({ shown: "\ufffd", tokens: [token] });
      else if (alone) broken.push({ shown: visible(alone), tokens: [token] });
      return broken;
    };
  }

  // Returns how a list of tokens shows this one.
  name(token) {
    const symbol = this.symbols[token];
    const code = symbol.codePointAt(0);
    if (this.kind === "bytes" && code > 126) return `0x${code.toString(16).toUpperCase()}`;
    return named(symbol);
  }
}

const toSymbol = (byte) => String.fromCharCode(byte);

// Returns the character of UTF-8 bytes; "" if it is incomplete, null if they are not UTF-8.
function decodeBytes(bytes) {
  const lead = bytes[0];
  const length = lead < 0x80 ? 1 : lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
  if (!length || bytes.slice(1).some((byte) => byte >>> 6 !== 2)) return null;
  if (bytes.length < length) return "";
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch {
    return null;
  }
}

// A text field turns a carriage return into a line feed, so its symbol is shown instead.
const visible = (character) => (character === "\r" ? "\u240d" : character);

const NAMES = { " ": "space", "\n": "new line", "\t": "tab", "\r": "carriage return", "\u00a0": "no-break space" };
const GLYPHS = { " ": "\u2423", "\n": "\u21b5", "\t": "\u21e5", "\r": "\u240d", "\u00a0": "\u237d" };

// A character as it is visible in a list; `spoken` is how a screen reader says it.
function named(character) {
  if (GLYPHS[character]) return GLYPHS[character];
  const code = character.codePointAt(0);
  return code < 32 || (code >= 127 && code < 160) ? `U+${code.toString(16).toUpperCase().padStart(4, "0")}` : character;
}

const spoken = (character) => NAMES[character] || named(character);

// Text as tokens and back: what jaxrnn/text.py does, character by character. A character is a Unicode code point; of a
// vocabulary of bytes it has one to four tokens.

class Vocabulary {
  constructor({ symbols, kind, unknown }) {
    this.symbols = Array.from(symbols);
    this.kind = kind;
    this.tokens = new Map(this.symbols.map((symbol, token) => [symbol, token]));
    this.unknown = unknown ? this.tokens.get("\ufffd") : undefined; // what stands for all that is not there
  }

  // The tokens of one character; null if the network has never seen (all of) it.
  encode(character) {
    const parts = this.kind === "bytes" ? Array.from(new TextEncoder().encode(character), toSymbol) : [character];
    const tokens = parts.map((part) => this.tokens.get(part) ?? this.unknown);
    return tokens.includes(undefined) ? null : tokens;
  }

  // Gathers tokens until they make a character; returns the characters that a token completes: [{shown, tokens}].
  decoder() {
    let held = [];
    const shown = (tokens) => decodeBytes(tokens.map((token) => this.symbols[token].codePointAt(0)));
    return (token) => {
      if (this.kind !== "bytes") return [{ shown: visible(this.symbols[token]), tokens: [token] }];
      const whole = shown([...held, token]);
      if (whole === "") {
        held.push(token);
        return [];
      }
      if (whole !== null) {
        const tokens = [...held, token];
        held = [];
        return [{ shown: visible(whole), tokens }];
      }
      // No character begins so: what is held becomes U+FFFD, and the token begins anew.
      const broken = held.map((one) => ({ shown: "\ufffd", tokens: [one] }));
      const alone = shown([token]);
      held = alone === "" ? [token] : [];
      if (alone === null) broken.push({ shown: "\ufffd", tokens: [token] });
      else if (alone) broken.push({ shown: visible(alone), tokens: [token] });
      return broken;
    };
  }

  // What stands for a token in a list of tokens.
  name(token) {
    const symbol = this.symbols[token];
    const code = symbol.codePointAt(0);
    if (this.kind === "bytes" && code > 126) return `0x${code.toString(16).toUpperCase()}`;
    return named(symbol);
  }
}

const toSymbol = (byte) => String.fromCharCode(byte);

// The character of UTF-8 bytes: "" if more must come, null if they can't begin or be one.
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

// A text field turns a carriage return into a line feed; its picture stays.
const visible = (character) => (character === "\r" ? "\u240d" : character);

const NAMES = { " ": "space", "\n": "new line", "\t": "tab", "\r": "carriage return", "\u00a0": "no-break space" };
const GLYPHS = { " ": "\u2423", "\n": "\u21b5", "\t": "\u21e5", "\r": "\u240d", "\u00a0": "\u237d" };

// A character as a person can see it in a list, and as a screen reader can say it.
function named(character) {
  if (GLYPHS[character]) return GLYPHS[character];
  const code = character.codePointAt(0);
  return code < 32 || (code >= 127 && code < 160) ? `U+${code.toString(16).toUpperCase().padStart(4, "0")}` : character;
}

const spoken = (character) => NAMES[character] || named(character);

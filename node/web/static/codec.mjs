// Canonical MessagePack and hashes with domains, as docs/formats.md says them; for what the page signs.
// Law of the file: one value has one encoding, the shortest. Integers stop at 2^53 − 1.

export const utf8 = (text) => new TextEncoder().encode(text);
export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Bytes of lower-case hex; throws on anything else. */
export function unhex(text) {
  if (!/^([0-9a-f]{2})*$/.test(text)) throw new TypeError("not hex");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export function join(...parts) {
  const made = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    made.set(part, at);
    at += part.length;
  }
  return made;
}

/** A number in so many bytes, the highest first. */
export function big(value, size) {
  const made = new Uint8Array(size);
  for (let at = size - 1; at >= 0; at--) {
    made[at] = value % 256;
    value = Math.floor(value / 256);
  }
  return made;
}

export const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/** The canonical bytes of null, booleans, integers, texts, byte arrays and lists of them. */
export function encode(value) {
  if (value === null) return Uint8Array.of(0xc0);
  if (value === false) return Uint8Array.of(0xc2);
  if (value === true) return Uint8Array.of(0xc3);
  if (typeof value === "number") return integer(value);
  if (typeof value === "string") return text(utf8(value));
  if (value instanceof Uint8Array) return join(head(value.length, [0xc4, 0xc5, 0xc6]), value);
  if (Array.isArray(value)) return join(list(value.length), ...value.map(encode));
  throw new TypeError("this has no canonical encoding");
}

function integer(value) {
  if (!Number.isSafeInteger(value) || value < 0) throw new TypeError("not an integer of 0 … 2^53 − 1");
  if (value < 0x80) return Uint8Array.of(value);
  if (value < 0x100) return Uint8Array.of(0xcc, value);
  if (value < 0x10000) return join([0xcd], big(value, 2));
  if (value < 0x100000000) return join([0xce], big(value, 4));
  return join([0xcf], big(value, 8));
}

function text(bytes) {
  const short = bytes.length < 32 ? Uint8Array.of(0xa0 | bytes.length) : null;
  return join(short ?? head(bytes.length, [0xd9, 0xda, 0xdb]), bytes);
}

function list(length) {
  if (length < 16) return Uint8Array.of(0x90 | length);
  return length < 0x10000 ? join([0xdc], big(length, 2)) : join([0xdd], big(length, 4));
}

function head(length, [one, two, four]) {
  if (length < 0x100) return Uint8Array.of(one, length);
  return length < 0x10000 ? join([two], big(length, 2)) : join([four], big(length, 4));
}

export const domain = (kind) => join(utf8(`salus/v1/${kind}`), [0]);

export async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", join(...parts)));
}

/** SHA-256 with the domain of its kind before. */
export const hashOf = (kind, ...parts) => sha256(domain(kind), ...parts);

// Opens the release of patient.txt and derives the handle with nothing but WebCrypto, as a page does.
// Usage: node webcrypto.mjs patient.txt   → one JSON object on stdout, or exit 1.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";

const subtle = (globalThis.crypto ?? webcrypto).subtle;
const unhex = (text) => Uint8Array.from(Buffer.from(text, "hex"));
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const utf8 = (text) => new TextEncoder().encode(text);
const join = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));
const big = (value, size) => Uint8Array.from({ length: size }, (_, i) => (value / 256 ** (size - 1 - i)) & 255);

function vectors(path) {
  const found = {};
  for (const block of readFileSync(path, "utf8").split("\n\n")) {
    const [head, body] = block.split("\n----\n");
    const name = head.split("\n").at(-1);
    found[name] = Object.fromEntries(body.trim().split("\n").map((line) => line.split(" ")));
  }
  return found;
}

// RFC 5869
const hmac = async (key, data) => {
  const imported = await subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await subtle.sign("HMAC", imported, data));
};
const extract = (salt, material) => hmac(salt.length ? salt : new Uint8Array(32), material);
async function expand(key, info, size) {
  let made = new Uint8Array(), block = new Uint8Array();
  for (let number = 1; made.length < size; number++) {
    block = await hmac(key, join(block, info, [number]));
    made = join(made, block);
  }
  return made.slice(0, size);
}
async function hkdf(material, info, size) {
  const key = await subtle.importKey("raw", material, "HKDF", false, ["deriveBits"]);
  const how = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info };
  return new Uint8Array(await subtle.deriveBits(how, key, 8 * size));
}

// RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM
const KEM = join(utf8("KEM"), big(0x20, 2));
const HPKE = join(utf8("HPKE"), big(0x20, 2), big(1, 2), big(2, 2));
const labeledExtract = (suite, salt, label, material) =>
  extract(salt, join(utf8("HPKE-v1"), suite, utf8(label), material));
const labeledExpand = (suite, key, label, info, size) =>
  expand(key, join(big(size, 2), utf8("HPKE-v1"), suite, utf8(label), info), size);

async function agree(secret, enc) {
  const pkcs8 = join(unhex("302e020100300506032b656e04220420"), secret);
  const key = await subtle.importKey("pkcs8", pkcs8, { name: "X25519" }, true, ["deriveBits"]);
  const ours = Buffer.from((await subtle.exportKey("jwk", key)).x, "base64url");
  const theirs = await subtle.importKey("raw", enc, { name: "X25519" }, false, []);
  const dh = new Uint8Array(await subtle.deriveBits({ name: "X25519", public: theirs }, key, 256));
  const extracted = await labeledExtract(KEM, [], "eae_prk", dh);
  return labeledExpand(KEM, extracted, "shared_secret", join(enc, ours), 32);
}
async function hpkeOpen(secret, info, sealed) {
  const shared = await agree(secret, sealed.slice(0, 32));
  const ids = await labeledExtract(HPKE, [], "psk_id_hash", []);
  const context = join([0], ids, await labeledExtract(HPKE, [], "info_hash", info));
  const schedule = await labeledExtract(HPKE, shared, "secret", []);
  const key = await labeledExpand(HPKE, schedule, "key", context, 32);
  const nonce = await labeledExpand(HPKE, schedule, "base_nonce", context, 12);
  return aesOpen(key, nonce, sealed.slice(32));
}
async function aesOpen(key, iv, data) {
  const imported = await subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  return new Uint8Array(await subtle.decrypt({ name: "AES-GCM", iv }, imported, data));
}

const of = vectors(process.argv[2]);
const envelope = unhex(of.release.envelope);
// Release = [terms, wrapped_key]: 92, the terms, c4 50, the 80 bytes at the end.
const terms = envelope.slice(1, -82), wrapped = envelope.slice(-80);
const domain = (kind) => join(utf8(`salus/v1/${kind}`), [0]);
const releaseKey = await hpkeOpen(unhex(of.release.requester_secret), join(domain("release-key"), terms), wrapped);
const made = await hkdf(releaseKey, join(domain("release-stream"), terms), 39);
const nonce = join(made.slice(32), big(0, 4), [1]);
const plain = await aesOpen(made.slice(0, 32), nonce, unhex(of.release.chunk));
// encode([Relation]) of the vectors: [["test-chain", "hosp-a"]]
const relation = join([0x91, 0x92, 0xaa], utf8("test-chain"), [0xa6], utf8("hosp-a"));
const handle = await hkdf(unhex(of.seed.seed), join(domain("patient-handle"), relation), 32);
console.log(JSON.stringify({ release_key: hex(releaseKey), shown_bytes: hex(plain), handle: hex(handle) }));

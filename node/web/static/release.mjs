// Opening a release with what browsers have: RFC 9180 base mode and AES-256-GCM (salus/release.py).

import { big, domain, join, utf8 } from "./codec.mjs";

const subtle = crypto.subtle;
const CHUNK_BYTES = 2 ** 20;
const WRAPPED_KEY_BYTES = 80; // and two bytes before it, at the end of an envelope

async function hmac(key, data) {
  const how = { name: "HMAC", hash: "SHA-256" };
  const imported = await subtle.importKey("raw", key, how, false, ["sign"]);
  return new Uint8Array(await subtle.sign("HMAC", imported, data));
}

const extract = (salt, material) => hmac(salt.length ? salt : new Uint8Array(32), material);

async function expand(key, info, size) {
  let made = new Uint8Array();
  let block = new Uint8Array();
  for (let number = 1; made.length < size; number++) {
    block = await hmac(key, join(block, info, [number]));
    made = join(made, block);
  }
  return made.slice(0, size);
}

// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM
const KEM = join(utf8("KEM"), big(0x20, 2));
const HPKE = join(utf8("HPKE"), big(0x20, 2), big(1, 2), big(2, 2));
const labeledExtract = (suite, salt, label, material) =>
  extract(salt, join(utf8("HPKE-v1"), suite, utf8(label), material));
const labeledExpand = (suite, key, label, info, size) =>
  expand(key, join(big(size, 2), utf8("HPKE-v1"), suite, utf8(label), info), size);

async function aesOpen(key, iv, data) {
  const imported = await subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  return new Uint8Array(await subtle.decrypt({ name: "AES-GCM", iv }, imported, data));
}

/** HPKE open in base mode. `pair`: our X25519 keys; `ours`: the 32 bytes of its public key. */
export async function hpkeOpen(secret, ours, info, sealed) {
  const enc = sealed.slice(0, 32);
  const theirs = await subtle.importKey("raw", enc, { name: "X25519" }, false, []);
  const how = { name: "X25519", public: theirs };
  const dh = new Uint8Array(await subtle.deriveBits(how, secret, 256));
  const extracted = await labeledExtract(KEM, [], "eae_prk", dh);
  const shared = await labeledExpand(KEM, extracted, "shared_secret", join(enc, ours), 32);
  const ids = await labeledExtract(HPKE, [], "psk_id_hash", []);
  const context = join([0], ids, await labeledExtract(HPKE, [], "info_hash", info));
  const schedule = await labeledExtract(HPKE, shared, "secret", []);
  const key = await labeledExpand(HPKE, schedule, "key", context, 32);
  const nonce = await labeledExpand(HPKE, schedule, "base_nonce", context, 12);
  return aesOpen(key, nonce, sealed.slice(32));
}

/** The stream of a release: { open(index, chunks, sealed) }. `envelope`: its canonical bytes. */
export async function openRelease(secret, ours, envelope) {
  // Release = [terms, wrapped key]: 92, the terms, c4 50, the 80 bytes at the end.
  const terms = envelope.slice(1, -WRAPPED_KEY_BYTES - 2);
  const wrapped = envelope.slice(-WRAPPED_KEY_BYTES);
  const releaseKey = await hpkeOpen(secret, ours, join(domain("release-key"), terms), wrapped);
  const imported = await subtle.importKey("raw", releaseKey, "HKDF", false, ["deriveBits"]);
  const info = join(domain("release-stream"), terms);
  const how = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info };
  const made = new Uint8Array(await subtle.deriveBits(how, imported, 8 * 39));
  const open = (index, chunks, sealed) =>
    aesOpen(
      made.slice(0, 32),
      join(made.slice(32), big(index, 4), [index === chunks - 1 ? 1 : 0]),
      sealed,
    );
  return { terms, open };
}

export const chunksOf = (size) => Math.max(1, Math.ceil(size / CHUNK_BYTES));

// Builds with the page's own modules what test_page_vectors.py builds in Python.
// Usage: node page.mjs < given.json   → one JSON object on stdout, or exit 1.
import { readFileSync } from "node:fs";
import { base64url, encode, hex, join, unhex } from "../../node/web/static/codec.mjs";
import * as ledger from "../../node/web/static/ledger.mjs";
import { decode } from "../../node/web/static/decode.mjs";
import { openRelease } from "../../node/web/static/release.mjs";
import { openShown, provedBy } from "../../node/web/static/shown.mjs";

const given = JSON.parse(readFileSync(0, "utf8"));
const subtle = crypto.subtle;
const pkcs8 = (oid, secret) => join(unhex(`302e020100300506032b65${oid}04220420`), secret);
const signing = await subtle.importKey(
  "pkcs8", pkcs8("70", unhex(given.seed)), { name: "Ed25519" }, false, ["sign"]);
const sign = async (payload) => new Uint8Array(await subtle.sign("Ed25519", signing, payload));

const chainId = "test-chain", org = "hosp-a";
const handle = unhex(given.handle), key = unhex(given.public);
const login = {
  chainId, node: org, origin: "https://hosp-a:7480", handle, key, nonce: new Uint8Array(16), expiresMs: 2 ** 40,
};
const possession = await sign(ledger.possession(chainId, org, handle, "delegate"));
const tx = await ledger.transaction({
  chainId, genesisHash: unhex(given.genesis_hash), sender: key, nonce: new Uint8Array(16),
  expiryHeight: 70000, operation: ledger.revokeOperation(org, handle, unhex(given.permit)),
});
const signature = await sign(tx.signed);
const stop = await ledger.transaction({
  chainId, genesisHash: unhex(given.genesis_hash), sender: key, nonce: new Uint8Array(16),
  expiryHeight: 70000, operation: ledger.stopOperation(org, unhex(given.permit)),
});
const records = await ledger.recordsCommitment(new Uint8Array(32), [new Uint8Array(32), unhex(given.permit)]);
const request = {
  chainId, custodian: org, handle, records, purpose: "patient_request", classes: ["documents", "results"],
  requestId: new Uint8Array(16), expiryHeight: 70000, releaseKey: unhex(given.release_key), permit: null,
  requester: org, key,
};
const payload = ledger.requestPayload(request);
const commitment = await ledger.requestCommitment(new Uint8Array(32), request, await sign(payload));

const secret = await subtle.importKey(
  "pkcs8", pkcs8("6e", unhex(given.requester_secret)), { name: "X25519" }, true, ["deriveBits"]);
const ours = new Uint8Array(Buffer.from((await subtle.exportKey("jwk", secret)).x, "base64url"));
const stream = await openRelease(secret, ours, unhex(given.envelope));

const plain = await stream.open(0, 1, unhex(given.chunk));
const [, , , , commitment0, digest] = decode(stream.terms);
const opened = async (each) => {
  const shown = await openShown(unhex(each.plain), unhex(each.commitment), unhex(each.digest));
  return { ...shown, content: hex(shown.content) };
};
const refused = async (bytes) => {
  try { await openShown(bytes, commitment0, digest); return "shown"; } catch { return "refused"; }
};
const faults = [];
for (let at = 0; at < plain.length; at++) {
  const wrong = plain.slice();
  wrong[at] ^= 1;
  faults.push(await refused(wrong), await refused(plain.slice(0, at)));
}

// A derived document counts by the custodian's signature alone; each thing that it speaks of in turn is another.
const proved = async (said) => {
  const [requestId, version, made, sig, nodeKey] =
    ["request_id", "version", "derived", "signature", "node_key"].map((name) => unhex(said[name]));
  try {
    return hex(await provedBy({ chainId, custodian: org, requestId }, version, [made, sig], nodeKey));
  } catch { return "refused"; }
};
const derived = [
  await proved(given.derived), hex(await provedBy({}, unhex(given.permit), null, null)),
];
for (const name of Object.keys(given.wrong)) derived.push(await proved({ ...given.derived, [name]: given.wrong[name] }));

console.log(JSON.stringify({
  derived,
  decoded: given.values.every((value) => JSON.stringify(decode(encode(value))) === JSON.stringify(value)),
  documents: await Promise.all(given.documents.map(opened)),
  faults: [...new Set(faults)],
  values: given.values.map((value) => hex(encode(value))),
  bytes: given.lengths.map((length) => hex(encode(new Uint8Array(length)))),
  login: hex(ledger.loginPayload(login)),
  code: base64url(ledger.browserCode(chainId, org, handle, key, possession)),
  revocation: {
    raw: hex(tx.sealed(signature)), id: hex(await ledger.transactionId(tx.signed, signature)), signed: hex(tx.signed),
  },
  stop: hex(stop.sealed(await sign(stop.signed))),
  request: {
    records: hex(records), payload: hex(payload), commitment: hex(commitment),
    own_request: hex(ledger.ownRequestPayload(request, commitment)),
  },
  shown_bytes: hex(plain),
}));

// What a patient's key signs: logins, enrolments, revocations, stops of erasures, requests for the own records.
// Law of the file: bytes in, bytes out, no network and no page; tests/golden holds it to Python's.

import { domain, encode, hashOf, join, sha256 } from "./codec.mjs";

const TRANSACTION_VERSION = 1;
const CONSENT_VERSION = 1;
const ERASURE_VERSION = 1;

/** The payload of a login (salus/login.py). */
export const loginPayload = (login) =>
  join(domain("session-login"), encode([
    login.chainId, login.node, login.origin, login.handle, login.key, login.nonce, login.expiresMs,
  ]));

/** What a new key of a relation signs, so that nobody else enters it (salus/relation.py). */
export const possession = (chainId, org, handle, purpose) =>
  join(domain("relation-possession"), encode([chainId, org, handle, purpose, null]));

/** The code that a browser shows for its enrolment (salus/browser_code.py). */
export const browserCode = (chainId, org, handle, key, signature) =>
  encode([1, chainId, org, handle, key, signature]);

/** The operation that ends a permit. */
export const revokeOperation = (org, handle, permit) =>
  encode(["consent", "revoke", CONSENT_VERSION, encode([org, handle, permit, null, null])]);

/** The operation that stops a case of erasure that waits. */
export const stopOperation = (org, erasureCase) =>
  encode(["erasure", "cancel", ERASURE_VERSION, encode([org, erasureCase])]);

/** A transaction of one operation, without its signature: { signed, sealed(signature) → bytes }. */
export async function transaction({ chainId, genesisHash, sender, nonce, expiryHeight, operation }) {
  const root = await sha256([0], operation); // a Merkle tree of one leaf is its leaf
  const before = [TRANSACTION_VERSION, chainId, sender, nonce, 0, expiryHeight, false];
  const signed = join(domain("transaction"), encode([genesisHash, ...before, 1, root]));
  return { signed, sealed: (signature) => encode([...before, [operation], signature]) };
}

/** The id of a transaction. */
export const transactionId = (signed, signature) => hashOf("transaction-id", signed, signature);

// -- reading the own records (salus/ticket.py) ---------------------------------------------------

/** The fields of a Request, in the order of their encoding. */
export const requestFields = (r) => [
  r.chainId, r.custodian, r.handle, r.records, r.purpose, r.classes, r.requestId, r.expiryHeight,
  r.releaseKey, r.permit, r.requester, r.key, r.site ?? null,
];

export const requestPayload = (request) =>
  join(domain("access-request"), encode(requestFields(request)));

export const requestCommitment = (salt, request, signature) =>
  hashOf("access-request-commitment", salt, encode([requestFields(request), signature]));

export const recordsCommitment = (salt, versions) => hashOf("access-records", salt, encode(versions));

/** What a custodian's node signs of a document that it made by taking elements out (salus/reading.py). */
export const derivedPayload = (chainId, custodian, requestId, version, derived) =>
  join(domain("derived-document"), encode([chainId, custodian, requestId, version, derived]));

export const ownRequestPayload = (request, commitment) =>
  join(domain("access-own-request"), encode([
    request.chainId, request.custodian, request.handle, request.requestId, request.requester,
    request.classes, request.expiryHeight, request.records, commitment,
  ]));

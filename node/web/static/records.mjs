// Opening an own record: a signed request, a ticket on the chain, and what comes is opened and checked here.

import { encode, hex, sha256, unhex } from "./codec.mjs";
import { decode } from "./decode.mjs";
import { sign } from "./keys.mjs";
import * as ledger from "./ledger.mjs";
import { get, post, random, reach, Refused, withSession } from "./node.mjs";
import { chunksOf, openRelease } from "./release.mjs";
import { openShown, provedBy } from "./shown.mjs";

const EXPIRY_BLOCKS = 15; // a ticket takes at most 20
const SHOWN_CHARS_MAX = 200_000; // in the page; the file has all
const JSON_BODY = { "Content-Type": "application/json" };
const subtle = crypto.subtle;

export class Denied extends Error {}

/** { mediaType, content, withheld, derived } of a version: { record, version, commitment, classes }. */
export async function read(config, own, wanted) {
  const pair = await subtle.generateKey({ name: "X25519" }, false, ["deriveBits"]);
  const ours = new Uint8Array(await subtle.exportKey("raw", pair.publicKey));
  const request = await requestFor(config, own, wanted, ours);
  const decided = await withSession(config, own, () => ask(own, request, wanted));
  const [permitted, reason, , , parts] = decided;
  if (!permitted) throw new Denied(reason);
  const [, envelope, , , derived] = parts[0];
  const stream = await openRelease(pair.privateKey, ours, envelope);
  const [, chainId, custodian, requestId, commitment, digest, size] = decode(stream.terms);
  const fits = chainId === config.chain_id && custodian === config.node &&
    hex(requestId) === hex(request.requestId) && hex(commitment) === hex(wanted.commitment);
  if (!fits) throw new Error("the release is of another request");
  const plain = new Uint8Array(size);
  const chunks = chunksOf(size);
  // In bodies, never in a path: the chain says whose request this is.
  const ticket = { request_id: hex(request.requestId) };
  let at = 0;
  for (let index = 0; index < chunks; index++) {
    const body = JSON.stringify({ ...ticket, commitment: hex(commitment), chunk: index });
    const sealed = await bytes("/v1/me/access/chunks", { method: "POST", headers: JSON_BODY, body });
    const opened = await stream.open(index, chunks, sealed);
    plain.set(opened, at);
    at += opened.length;
  }
  const proof = await provedBy(request, commitment, derived, unhex(config.node_key));
  const shown = await openShown(plain, proof, digest);
  const arrived = await sha256(await sha256(plain));
  await post("/v1/me/access/receipts", { ...ticket, digest: hex(arrived) });
  return { ...shown, derived: derived !== null };
}

async function requestFor(config, own, wanted, releaseKey) {
  const { height } = await get("/v1/status");
  const recordsSalt = random(32);
  return {
    chainId: config.chain_id, custodian: config.node, handle: own.handle,
    records: await ledger.recordsCommitment(recordsSalt, [wanted.commitment]),
    purpose: "patient_request", classes: wanted.classes, requestId: random(16),
    expiryHeight: height + EXPIRY_BLOCKS, releaseKey, permit: null, requester: config.node, key: own.key,
    recordsSalt,
  };
}

async function ask(own, request, wanted) {
  const salt = random(32);
  const signature = await sign(own, ledger.requestPayload(request));
  const commitment = await ledger.requestCommitment(salt, request, signature);
  const owner = await sign(own, ledger.ownRequestPayload(request, commitment));
  const versions = [[wanted.record, wanted.version, wanted.commitment]];
  const body = encode([
    ledger.requestFields(request), signature, salt, request.recordsSalt, versions, random(32), new Uint8Array(), owner,
  ]);
  const headers = { "Content-Type": "application/octet-stream" };
  return decode(await bytes("/v1/me/access/requests", { method: "POST", headers, body }));
}

async function bytes(path, how) {
  const response = await reach(path, how);
  if (!response.ok) throw new Refused(await response.json());
  return new Uint8Array(await response.arrayBuffer());
}

/** Shows it in the page where it is text, and offers it as a file. */
export function show(place, { mediaType, content }, name) {
  const kind = mediaType ?? "application/octet-stream";
  const link = document.createElement("a");
  // A file, never a page of this origin: what a document contains must not run here.
  link.href = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }));
  link.download = `${name}${extension(kind)}`;
  link.textContent = link.download;
  const parts = [link];
  if (/^text\/|json|xml/.test(kind)) {
    const text = document.createElement("pre");
    text.tabIndex = 0;
    text.textContent = readable(kind, new TextDecoder().decode(content)).slice(0, SHOWN_CHARS_MAX);
    parts.push(text);
  }
  place.replaceChildren(...parts);
}

function readable(kind, text) {
  if (!/json$/.test(kind)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function extension(kind) {
  if (/ndjson/.test(kind)) return ".ndjson";
  if (/json/.test(kind)) return ".json";
  if (/xml/.test(kind)) return ".xml";
  return { "text/plain": ".txt", "application/pdf": ".pdf", "image/jpeg": ".jpg", "image/png": ".png" }[kind] ?? ".bin";
}

/** What a button of the page asks for. */
export const wantedBy = (button) => ({
  record: unhex(button.dataset.record), version: Number(button.dataset.version),
  commitment: unhex(button.dataset.commitment), classes: button.dataset.classes.split(" "),
});

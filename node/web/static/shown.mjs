// What a custodian shows of a document version, checked against its commitment, and put together again
// (salus/disclosure.py, salus/document.py). Law of the file: nothing is given before it is proved.

import { domain, encode, hashOf, hex, join, sha256 } from "./codec.mjs";
import { decode } from "./decode.mjs";
import { derivedPayload } from "./ledger.mjs";

/** { withheld, mediaType, content }; mediaType is null where the structure itself is withheld. */
export async function openShown(plain, commitment, digest) {
  const length = new DataView(plain.buffer, plain.byteOffset).getUint32(0);
  const list = plain.subarray(4, 4 + length);
  require(hex(await hashOf("disclosure", list)) === hex(digest), "the list of parts is another one");
  const [count, shown, hidden] = decode(list);
  const parts = new Map();
  const leaves = [];
  let at = 4 + length;
  for (const [index, size, salt] of shown) {
    const content = plain.subarray(at, at + size);
    require(content.length === size, "it ends too early");
    leaves.push(await sha256(domain("document-leaf"), salt, content));
    parts.set(index, content);
    at += size;
  }
  require(at === plain.length, "there are more bytes than parts");
  const root = await rootOf(count, shown.map(([index]) => index), leaves, [...hidden]);
  const found = await hashOf("document-version", encode([count, root]));
  require(hex(found) === hex(commitment), "it is not this version of the record");
  return { withheld: count - shown.length, ...assembled(count, parts) };
}

/** The commitment that the shown bytes must lead to. `derived`: null, or [commitment, signature] of a document
 * that the custodian made of the version: nothing proves that one but the signature of his node's key. */
export async function provedBy(ticket, version, derived, nodeKey) {
  if (derived === null) return version;
  const [commitment, signature] = derived;
  const key = await crypto.subtle.importKey("raw", nodeKey, { name: "Ed25519" }, false, ["verify"]);
  const payload = derivedPayload(ticket.chainId, ticket.custodian, ticket.requestId, version, commitment);
  const holds = await crypto.subtle.verify({ name: "Ed25519" }, key, signature, payload);
  require(holds, "the derived document is not signed by the hospital");
  return commitment;
}

async function rootOf(count, places, leaves, hidden) {
  require(places.every((place, n) => place < count && (n === 0 || places[n - 1] < place)), "parts out of order");
  const left = [...leaves];
  async function node(start, end) {
    const within = places.filter((place) => start <= place && place < end).length;
    if (within === 0) {
      require(hidden.length > 0, "a node is missing");
      return hidden.shift();
    }
    if (end - start === 1) return left.shift();
    let half = 1;
    while (half * 2 < end - start) half *= 2;
    const before = await node(start, start + half);
    return sha256([1], before, await node(start + half, end));
  }
  const root = await node(0, count);
  require(hidden.length === 0, "there are more nodes than withheld parts");
  return root;
}

/** Part 0 says how the others make the document. */
function assembled(count, parts) {
  if (!parts.has(0)) return { mediaType: null, content: join(...parts.values()) };
  const [mediaType, gaps] = decode(parts.get(0));
  require(gaps.length === 0 || gaps.length === count, "the structure does not fit");
  const pieces = gaps.length ? [gaps[0]] : [];
  for (let index = 1; index < count; index++) {
    if (parts.has(index)) pieces.push(parts.get(index));
    if (gaps.length) pieces.push(gaps[index]);
  }
  return { mediaType, content: join(...pieces) };
}

function require(holds, why) {
  if (!holds) throw new Error(why);
}

// The key of this browser: made here, never extractable, kept in this browser's database.
// One per chain and organisation, for a key belongs to one relation (decision 0010, rule I-5).

const subtle = crypto.subtle;

function database() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("salus", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("keys");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function within(mode, act) {
  const open = await database();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = open.transaction("keys", mode);
      const request = act(transaction.objectStore("keys"));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    open.close();
  }
}

const place = (config) => `${config.chain_id}/${config.node}`;

/** { handle, key, pair } of this browser, or undefined. */
export const load = (config) => within("readonly", (keys) => keys.get(place(config)));

export const save = (config, own) => within("readwrite", (keys) => keys.put(own, place(config)));

export const forget = (config) => within("readwrite", (keys) => keys.delete(place(config)));

/** A new key for the relation with this handle. */
export async function make(handle) {
  const pair = await subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"]);
  const key = new Uint8Array(await subtle.exportKey("raw", pair.publicKey));
  return { handle, key, pair };
}

export async function sign(own, payload) {
  return new Uint8Array(await subtle.sign("Ed25519", own.pair.privateKey, payload));
}

/** Can this browser make such keys here? Not over plain HTTP to another host. */
export async function supported() {
  if (!globalThis.isSecureContext || !subtle || !globalThis.indexedDB) return false;
  try {
    await subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"]);
    return true;
  } catch {
    return false;
  }
}

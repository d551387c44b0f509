// The patient's page: ending a permission, or stopping an erasure, with one click. What the key signs is built here, and shown.

import { hex, unhex } from "./codec.mjs";
import { load, sign } from "./keys.mjs";
import { revokeOperation, stopOperation, transaction, transactionId } from "./ledger.mjs";
import { get, post, random, settings, withSession } from "./node.mjs";
import { Denied, read, show, wantedBy } from "./records.mjs";

const EXPIRY_BLOCKS = 64; // a transaction that nobody saw is worth nothing soon

const config = settings();
const status = document.getElementById("status");
const say = (text) => { status.textContent = text; };

async function begin() {
  const logout = document.getElementById("logout");
  logout.hidden = false;
  logout.addEventListener("click", async () => {
    await post("/v1/session/end", {});
    sessionStorage.setItem("out", "1");
    location.replace(`/me?lang=${config.lang}`);
  });
  const own = await load(config);
  if (!own) return; // logged in by another key: readable, and nothing to sign with
  for (const button of document.querySelectorAll("button.end")) {
    const operation = revokeOperation(config.node, own.handle, unhex(button.dataset.consent));
    const words = { done: config.words.done, after: config.words.revoked };
    signing(own, button, operation, "/v1/me/revocations", ["active", "revoked"], words);
  }
  for (const button of document.querySelectorAll("button.stop")) {
    const operation = stopOperation(config.node, unhex(button.dataset.case));
    const words = { done: config.words.stopped, after: config.words.cancelled };
    signing(own, button, operation, "/v1/me/erasure-stops", ["waiting", "cancelled"], words);
  }
  for (const button of document.querySelectorAll("button.open")) record(own, button);
}

function record(own, button) {
  const place = document.getElementById("opened");
  button.disabled = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    say(config.words.opening);
    try {
      const shown = await read(config, own, wantedBy(button));
      show(place, shown, `record-${button.dataset.record.slice(0, 8)}`);
      say(shown.derived ? config.words.derived : shown.withheld ? config.words.withheld : config.words.saved);
      place.focus();
    } catch (error) {
      const words = error instanceof Denied ? config.words.refused : config.words.failed;
      say(words.replace("{why}", error.message));
    }
    button.disabled = false;
  });
}

// One click signs the operation and has it certified; `stands`: the card's class before and after.
function signing(own, button, operation, path, stands, words) {
  const card = button.closest("article");
  const shown = card.querySelector("[data-bytes]");
  button.disabled = false;
  const details = card.querySelector("details");
  const fill = async () => {
    if (details.open && !shown.textContent) shown.textContent = hex((await made(own, operation)).signed);
  };
  details.addEventListener("toggle", fill);
  fill(); // it may have been opened before the key was at hand
  button.addEventListener("click", async () => {
    button.disabled = true;
    say(config.words.working);
    try {
      const tx = await made(own, operation);
      const signature = await sign(own, tx.signed);
      const id = hex(await transactionId(tx.signed, signature));
      shown.textContent = hex(tx.signed);
      card.dataset.tx = id;
      const body = { transaction: hex(tx.sealed(signature)) };
      // The same bytes again, should the session have ended: they count once.
      const done = await withSession(config, own, () => post(path, body));
      if (done.state !== "committed") return say(config.words.pending);
      say(words.done.replace("{height}", done.height));
      card.classList.replace(...stands);
      card.querySelector("[data-state]").textContent = words.after;
      button.remove();
    } catch (error) {
      say(config.words.failed.replace("{why}", error.message));
      button.disabled = false;
    }
  });
}

async function made(own, operation) {
  const { height } = await get("/v1/status");
  return transaction({
    chainId: config.chain_id, genesisHash: unhex(config.genesis_hash), sender: own.key, nonce: random(16),
    expiryHeight: height + EXPIRY_BLOCKS, operation,
  });
}

begin();

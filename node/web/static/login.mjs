// Making a key in this browser, showing the code that enrols it, and logging in once the chain knows it.

import { base64url, unhex } from "./codec.mjs";
import { forget, load, make, save, sign, supported } from "./keys.mjs";
import { browserCode, possession } from "./ledger.mjs";
import { logIn, settings } from "./node.mjs";

const ASK_EVERY_MS = 2_000; // a block comes within one

const config = settings();
const at = (id) => document.getElementById(id);
const say = (text) => { at("status").textContent = text; };

async function begin() {
  if (!(await supported())) return say(config.words.unsupported);
  at("make").addEventListener("submit", enter);
  at("forget").addEventListener("click", async () => { await forget(config); location.reload(); });
  at("copy").addEventListener("click", copy);
  const own = await load(config);
  if (own && sessionStorage.getItem("out")) {
    // Who logged out wants to stay so; the key is still here.
    at("enter").hidden = false;
    at("enter").addEventListener("click", () => {
      sessionStorage.removeItem("out");
      at("enter").hidden = true;
      waitFor(own);
    });
    return;
  }
  if (own) return waitFor(own);
  at("make").hidden = false;
}

async function enter(event) {
  event.preventDefault();
  const text = at("handle").value.trim();
  if (!/^[0-9a-f]{64}$/.test(text)) return say(config.words.bad_handle);
  const own = await make(unhex(text));
  await save(config, own);
  at("make").hidden = true;
  await waitFor(own);
}

async function waitFor(own) {
  const enter = async () => {
    try {
      await logIn(config, own);
      location.replace(`/me?lang=${config.lang}`);
    } catch (error) {
      if (error.code === "LOGIN_REFUSED") await showCode(own);
      else say(config.words.failed.replace("{why}", error.message));
      setTimeout(enter, ASK_EVERY_MS);
    }
  };
  await enter();
}

async function showCode(own) {
  if (!at("enrol").hidden) return;
  const { chain_id: chainId, node: org } = config;
  const signature = await sign(own, possession(chainId, org, own.handle, "delegate"));
  const code = base64url(browserCode(chainId, org, own.handle, own.key, signature));
  at("command").textContent = `salus patient browser NAME --code ${code}`;
  at("enrol").hidden = false;
}

async function copy() {
  await navigator.clipboard.writeText(at("command").textContent);
  say(config.words.copied);
}

begin();

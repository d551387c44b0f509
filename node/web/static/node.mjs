// Speaking with the node that served this page: login by signature, then its API by cookie.

import { hex } from "./codec.mjs";
import { sign } from "./keys.mjs";
import { loginPayload } from "./ledger.mjs";

const LOGIN_MS = 120_000;

/** What the node refused: `code` is a word of docs/errors.md. */
export class Refused extends Error {
  constructor(problem) {
    super(problem.title ?? "no answer");
    this.code = problem.code ?? "UNREACHABLE";
  }
}

export const random = (size) => crypto.getRandomValues(new Uint8Array(size));

/** The page's settings, and its clock set by the node's: a telephone's may be off. */
export function settings() {
  const page = document.getElementById("page");
  const config = JSON.parse(page.dataset.config);
  const ahead = config.time_ms - Date.now();
  return { ...config, nowMs: () => Date.now() + ahead };
}

export async function get(path) {
  return answer(await reach(path, {}));
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return answer(await reach(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

export async function reach(path, how) {
  try {
    return await fetch(path, { credentials: "same-origin", cache: "no-store", ...how });
  } catch {
    throw new Refused({ title: "no answer from the node" });
  }
}

async function answer(response) {
  if (response.status === 204) return null;
  const body = await response.json();
  if (!response.ok) throw new Refused(body);
  return body;
}

/** A session as a cookie that no script can read. */
export async function logIn(config, own) {
  const login = {
    chainId: config.chain_id, node: config.node, origin: location.origin, handle: own.handle, key: own.key,
    nonce: random(16), expiresMs: config.nowMs() + LOGIN_MS,
  };
  const signature = await sign(own, loginPayload(login));
  return post("/v1/session", {
    key: hex(own.key), handle: hex(own.handle), origin: login.origin, nonce: hex(login.nonce),
    expires_ms: login.expiresMs, signature: hex(signature), cookie: true,
  });
}

/** Do it; where the session is over, log in anew and do it once more. */
export async function withSession(config, own, act) {
  try {
    return await act();
  } catch (error) {
    if (error.code !== "NO_SESSION") throw error;
    await logIn(config, own);
    return act();
  }
}

"""The rows of the registry of code words, by family; `salus.codes` gives them their types.

A row: word, HTTP status, exit code of the CLI, whether the very same request may succeed later,
what is wrong, and why or what to do next. Law of the file: a word is an interface. It is never
reused for another meaning, and a word that is used anywhere stands here (a test holds it).
"""

Row = tuple[str, int, int, bool, str, str]

RETRY, FINAL = True, False

# fmt: off
REQUEST: tuple[Row, ...] = (
    ("BAD_INPUT", 400, 65, FINAL, "The input is not valid",
     "See the detail for what was expected."),
    ("BAD_REQUEST", 400, 65, FINAL, "The request is malformed",
     "Compare it with /v1/openapi.json; unknown fields and parameters are refused."),
    ("BAD_ARGUMENT", 400, 65, FINAL, "An argument has the wrong form",
     "The detail names the argument and its form."),
    ("BAD_ADDRESS", 400, 65, FINAL, "Not a valid address",
     "An address is «sal1» and 58 characters with a checksum; copy it again."),
    ("BAD_POSITION", 400, 65, FINAL, "Not the id of an event of this chain",
     "Use an id that this feed has sent, «height.index», or leave it out to start now."),
    ("UNSUPPORTED_MEDIA_TYPE", 415, 65, FINAL, "The content type is not supported here",
     "The API reference names the content types of each path."),
    ("METHOD_NOT_ALLOWED", 405, 2, FINAL, "The path does not take this method",
     "The Allow header names those that it takes."),
    ("NO_ROUTE", 404, 2, FINAL, "There is no such path",
     "See /v1/openapi.json for all paths."),
    ("NOT_FOUND", 404, 5, FINAL, "There is no such thing at this node",
     "Check the id; a node that is catching up may not have it yet."),
    ("UNKNOWN_TRANSACTION", 404, 5, FINAL, "This node has not seen the transaction",
     "It may be pending at another node; ask again or send the same bytes again."),
    ("UNKNOWN_BLOCK", 404, 5, FINAL, "There is no certified block of this height or hash",
     "GET /v1/blocks/latest names the newest one."),
    ("UNKNOWN_RECORD", 404, 5, FINAL, "This node keeps no such record or version",
     "Records are shown by the organisation that keeps them."),
    ("UNKNOWN_QUERY", 404, 2, FINAL, "No contract declares this query",
     "GET /v1/contracts lists contracts and their queries."),
    ("NOT_CERTIFIED", 409, 75, RETRY, "Not certified yet, so nothing can be proved",
     "Wait for it: salus tx wait TX_ID."),
    ("NOT_ENABLED", 404, 69, FINAL, "This function is switched off at this node",
     "An operator can enable it in node.toml."),
    ("PRUNED", 410, 5, FINAL, "This height is no longer kept by this node",
     "Ask an archive node, or a height at or above the first one that is kept."),
    ("EVENTS_PRUNED", 410, 5, FINAL, "These events are no longer kept",
     "Resume from the first position that is available and read the state anew."),
    ("HEIGHT_NOT_KEPT", 410, 5, FINAL, "State is kept for the newest certified height only",
     "Ask without ?height=, or use a proof made at that height."),
    ("HEIGHT_NOT_REACHED", 503, 75, RETRY, "The node has not reached the height asked for",
     "Ask again a little later; «salus status» shows how far it is behind."),
    ("SLOW_BODY", 408, 75, RETRY, "The request body came too slowly",
     "Send it again over a better line."),
    ("RATE_LIMITED", 429, 75, RETRY, "Too many requests from this address",
     "Wait for the time in Retry-After; send transactions as arrays."),
    ("BUSY", 503, 75, RETRY, "The node is answering as many requests as it can",
     "Try again after the time in Retry-After, or another node."),
    ("TOO_MANY_SUBSCRIBERS", 503, 75, RETRY, "The feed has no room for another subscriber",
     "Try again later or subscribe at another node."),
    ("UNAUTHENTICATED", 401, 7, FINAL, "This path needs a token",
     "Send «Authorization: Bearer …» with the token of this node (file api.token)."),
    ("FORBIDDEN", 403, 7, FINAL, "Not allowed",
     "The token does not cover this path."),
    ("FOREIGN_ORIGIN", 403, 7, FINAL, "A web page of another origin may not do this",
     "Add the origin to [api] cors_origins if it is yours."),
    ("FOREIGN_HOST", 403, 7, FINAL, "The Host header names another host",
     "Use the address that the node listens on."),
)
TRANSACTION: tuple[Row, ...] = (
    ("NOT_CANONICAL", 400, 65, FINAL, "Not the canonical encoding",
     "Build it with the SDK or by docs/formats.md: one value has exactly one encoding."),
    ("TOO_LARGE", 413, 65, FINAL, "Larger than the limit",
     "The detail names the limit; GET /v1/params lists all."),
    ("UNSUPPORTED_VERSION", 422, 3, FINAL, "This version is not supported",
     "Update the software that made it."),
    ("WRONG_CHAIN", 422, 3, FINAL, "Made for another chain",
     "Check the chain id and the genesis hash that it was signed for."),
    ("BAD_SIGNATURE", 422, 3, FINAL, "The signature does not verify",
     "It must be made by the sender's key over this chain and this content."),
    ("EXPIRED", 422, 3, FINAL, "Its expiry height has passed",
     "Build it again; the old one can never commit."),
    ("NOT_YET_VALID", 422, 75, RETRY, "Its first height has not been reached",
     "Send the same bytes again later."),
    ("EXPIRY_RANGE", 422, 3, FINAL, "The expiry height is out of range",
     "It must lie at most expiry_window_blocks ahead (GET /v1/params)."),
    ("DUPLICATE", 409, 3, FINAL, "These bytes have been executed before",
     "Nothing to do: ask for the state of the transaction by its id."),
    ("POOL_FULL", 429, 75, RETRY, "The pool of waiting transactions is full",
     "Send the same bytes again after the time in Retry-After."),
    ("SENDER_QUOTA", 429, 75, RETRY, "This sender has too many transactions waiting",
     "Wait until some are committed, then send the same bytes again."),
    ("PENDING", 202, 4, RETRY, "Not committed yet; it may commit later",
     "Do NOT build it again. Follow it: salus tx wait TX_ID; cause: salus doctor."),
)
PROOF: tuple[Row, ...] = (
    ("NOT_PROVED", 422, 1, FINAL, "The proof does not hold",
     "Do not rely on it; ask its giver for a new one."),
)
PEER: tuple[Row, ...] = (
    ("BAD_PROPOSAL", 400, 65, FINAL, "A proposal breaks rule 15",
     "The primary that made it is faulty; the others will replace it."),
)
CONFIG: tuple[Row, ...] = (
    ("BAD_GENESIS", 422, 65, FINAL, "The genesis document is not valid",
     "The detail names the member or the rule; correct the file at its source."),
)
NODE: tuple[Row, ...] = (
    ("INTERNAL", 500, 70, FINAL, "The node has made a mistake",
     "Report the incident id; the node's log has the cause under it."),
    ("NOT_READY", 503, 8, RETRY, "The node is not ready",
     "It is starting or catching up: wait, or use another node; «salus doctor» says why."),
    ("NO_QUORUM", 503, 8, RETRY, "Too few validators are reachable to agree on anything",
     "«salus doctor» names the missing ones."),
    ("STOPPING", 503, 8, RETRY, "The node is shutting down",
     "Use another node, or wait until it is back."),
    ("UNREACHABLE", 503, 6, RETRY, "No node could be reached",
     "Check the address and that the node runs: salus status --node URL."),
    ("BAD_ANSWER", 502, 6, FINAL, "The node's answer is not what the API promises",
     "Client and node may be of different versions: salus version; curl URL/v1/status."),
)
# fmt: on

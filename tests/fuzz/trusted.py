"""Functions that read bytes or text and are no decoders of their own, and why."""

_ANSWER = (
    "by way of Answer.decode or Answer.json, which are fuzzed with every form that is asked for"
)
_OWN_STATE = "values of this node's own stores: what a block wrote, under LevelDB's checksums"
_EXECUTED = "of a block that was certified: it passed parse or check_proposal before"
_CHECKED = "the caller has checked the form"
_CONFIG = "by way of node.config.load"
_NO_INPUT = "nothing from outside: a method of another kind with this name, or bytes made here"
_OWN_PROCESS = "between the node and its own child process; the document inside is fuzzed as FHIR"
_OWN_BYTES = "of its own journal, which is fuzzed: hex of what this program signed"
_TOOLS = "what the benchmark and the demo read of the network that they founded themselves"

TRUSTED: dict[str, str] = {
    entry: reason
    for reason, listed in {
        _ANSWER: (
            "salus.client:Client._commit_staged",
            "salus.client:Client.keep_opening",
            "salus.client:Client.record_stage",
            "salus.client:Client.record_staged",
            "salus.client:Client.staged_transaction",
            "salus.client:Client._post",
            "salus.client:Client.record",
            "salus.client:Client.records",
            "salus.client:Client.submit_many",
            "salus.client:Client.wait",
            "salus.client_reads:Reads.account",
            "salus.client_reads:Reads.block",
            "salus.client_reads:Reads.chain",
            "salus.client_reads:Reads.query",
            "salus.client_reads:Reads.status",
            "salus.client_reads:Reads.transaction",
            "salus.client_reads:Reads.validators",
            "cli.commands.testnet:_fault",
            "cli.transactions:deliver",
        ),
        _OWN_STATE: (
            "node.record_subject:require_relation",
            "storage.blocks:BlockStore.bodies",
            "storage.check:_Check._body",
            "storage.check:_Check.rows",
            "storage.check:_Check.state",
            "storage.state:StateStore.__init__",
            "storage.state:StateStore.buckets",
            "storage.state:StateStore.find_transaction",
            "storage.state:StateStore.height_of",
            "storage.state:StateStore.recent_ids",
            "storage.state:_expiry",
            "storage.vault:Vault.documents",
            "storage.vault:Vault.staged",
            "node.divergence:_compare",
            "node.executor:Executor.__init__",
            "node.genesis_block:genesis_block",
            "node.node:Node.__init__",
            "node.records:RecordService.standing",
            "node.errand:Errand.earlier",
            "node.standing:Voter._replaced",
            "cli.commands.db:_replay",
        ),
        _EXECUTED: (
            "node.keeper:Keeper._permitted",
            "node.facade:Facade._certified",
            "node.proofs:ProofMaker._as_of",
            "node.proofs:ProofMaker._operation",
        ),
        _CHECKED: (
            "salus.client_reads:Trust.block",
            "salus.client_reads:Reads.verified_proof",
            "node.divergence:Divergence._account",
            "node.api.consents:keep_opening",
            "node.api.records:stage",
            "node.record_files:RecordFiles.find",
            "node.keeper_process:make",
            "node.keeper_process:public_key",
            "node.records:RecordService._draft",
            "node.records:RecordService.retract",
            "node.replay:ReplayIndex.add",
            "node.replay:ReplayIndex.maybe",
            "node.net.peer:Feed._read",
            "cli.commands.genesis:assemble",
            "cli.commands.genesis:join",
            "cli.commands.genesis:show",
            "cli.commands.init:init",
            "cli.commands.keys:possession",
            "cli.commands.proof:show",
            "cli.ballots:proposal",
            "cli.ceremony:draft",
            "cli.commands.gov:_commitment",
            "cli.commands.testnet:_new_name",
            "salus.rotation:make_rotation",
            "cli.ceremony:parameters_with",
        ),
        _OWN_PROCESS: ("node.fhir_worker:serve", "node.fhir_workers:FhirWorkers._ask"),
        _OWN_BYTES: ("cli.watch_import:ChainImporter._take",),
        _CONFIG: (
            "node.process:run",
            "node.process:_reload",
            "cli.ceremony:own_card",
            "cli.commands.config:_load",
            "cli.commands.config:set_",
            "cli.preflight:Preflight._config",
        ),
        _NO_INPUT: (
            "salus.codec:_decoded",
            "storage.birth:_native",
            "node.net.websocket:client_message",
            "node.net.websocket:upgrade_request",
            "node.api.events:_SocketReader._send",
            "node.api.events:_SocketReader.refuse",
            "cli.output:printable",
            "cli.processes:_command_line",
            "cli.processes:last_lines",
            "cli.usage:_metric",
        ),
        _TOOLS: (
            "cli.bench:_committed",
            "cli.bench:_post_array",
            "cli.bench_lies:_refusals",
            "cli.demo:_json",
            "cli.demo:_telling_words",
            "cli.demo:amended",
        ),
    }.items()
    for entry in listed
}

"""Peers: TLS pinned to member keys, frames, queues, gossip."""

"""The yardstick of docs/performance.md: what a consortium on one machine does, and what it costs."""

"""The tables of the ledger, and the steps from each version of them to the next. Steps are only ever added.

`exchange` and `attempt` are the journal, kept for a while. `usage_hour` and `latency_hour` are their sums by the hour,
written in the same transaction and kept: what a dashboard asks costs as much as its answer is long, not as the journal.
Times are UTC epoch seconds, prices US dollars; a price that nobody knows is NULL.
"""

from cliproxy.usage.connection import LedgerConnection, LedgerFault

_FIRST = """
CREATE TABLE exchange (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    started_s REAL NOT NULL,
    first_byte_s REAL,
    ended_s REAL NOT NULL,
    client_key TEXT NOT NULL,
    client_format TEXT NOT NULL,
    upstream_format TEXT NOT NULL,
    operation TEXT NOT NULL,
    stream INTEGER NOT NULL,
    model_asked TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    credential TEXT NOT NULL,
    effort TEXT NOT NULL,
    status INTEGER NOT NULL,
    error TEXT NOT NULL,
    retries INTEGER NOT NULL,
    fresh_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost_usd REAL,
    dropped TEXT NOT NULL
);
CREATE INDEX exchange_started ON exchange (started_s);
CREATE TABLE attempt (
    exchange_seq INTEGER NOT NULL REFERENCES exchange (seq) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    started_s REAL NOT NULL,
    headers_s REAL,
    first_byte_s REAL,
    ended_s REAL NOT NULL,
    provider TEXT NOT NULL,
    credential TEXT NOT NULL,
    model TEXT NOT NULL,
    format TEXT NOT NULL,
    status INTEGER NOT NULL,
    error TEXT NOT NULL,
    fresh_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost_usd REAL,
    PRIMARY KEY (exchange_seq, number)
) WITHOUT ROWID;
CREATE TABLE usage_hour (
    hour_s INTEGER NOT NULL,
    client_key TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    credential TEXT NOT NULL,
    exchanges INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    failovers INTEGER NOT NULL,
    fresh_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost_usd REAL NOT NULL,
    unpriced INTEGER NOT NULL,
    PRIMARY KEY (hour_s, client_key, provider, model, credential)
) WITHOUT ROWID;
CREATE TABLE latency_hour (
    hour_s INTEGER NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    kind TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    exchanges INTEGER NOT NULL,
    PRIMARY KEY (hour_s, provider, model, kind, bucket)
) WITHOUT ROWID
"""

MIGRATIONS = (_FIRST,)
"""The n-th leads from version n to n + 1; an empty ledger has version 0. `postgres` translates them."""


class NewerLedger(LedgerFault):
    """It was written by a later release of this program."""


def migrate(connection: LedgerConnection) -> None:
    """Bring a ledger's tables up to date, all or nothing. Raises NewerLedger, LedgerFault."""
    if connection.version() == len(MIGRATIONS):
        return
    with connection.writing():
        # Of two that begin at once, the other one may have been faster.
        version = connection.version()
        if version > len(MIGRATIONS):
            raise NewerLedger(f"it has version {version}, and this release knows up to {len(MIGRATIONS)}")
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            connection.define(script, number)

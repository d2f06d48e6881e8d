-- The tables hold numbers, for programs; the views at the end are for people. Times are ns since the Unix epoch.
-- Text that is no UTF-8 has its bytes written as \xff, and a backslash as \\.

CREATE TABLE IF NOT EXISTS verdicts (
    number INTEGER PRIMARY KEY,         -- the higher, the more is known
    word TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS reasons (
    number INTEGER PRIMARY KEY,
    word TEXT NOT NULL,                 -- empty: no reason is needed
    hint TEXT NOT NULL                  -- what to do about it
) STRICT;

CREATE TABLE IF NOT EXISTS probes (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    backend TEXT NOT NULL,
    plan_name TEXT NOT NULL,
    plan_digest TEXT NOT NULL,
    kernel TEXT NOT NULL,
    machine TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    mode TEXT NOT NULL,                 -- count, stream
    scope TEXT NOT NULL,                -- host, command
    started TEXT NOT NULL,              -- RFC 3339, UTC
    seconds REAL NOT NULL,
    steps INTEGER NOT NULL,
    command TEXT NOT NULL,              -- JSON array of arguments
    exit_status INTEGER,                -- NULL: it runs, or there was no command
    finished INTEGER NOT NULL,          -- 0: it runs, or was killed
    trace_id TEXT NOT NULL,
    signals_lost INTEGER NOT NULL,
    overhead_ratio REAL                 -- share of a CPU that the probes cost; NULL: not known
) STRICT;

CREATE TABLE IF NOT EXISTS evidence (
    run INTEGER NOT NULL REFERENCES runs (number),
    probe INTEGER NOT NULL REFERENCES probes (number),
    verdict INTEGER NOT NULL REFERENCES verdicts (number),
    reason INTEGER NOT NULL REFERENCES reasons (number),
    detail TEXT NOT NULL,
    hits INTEGER NOT NULL,
    first_fired INTEGER NOT NULL,       -- 0: it has not fired
    last_fired INTEGER NOT NULL,        -- 0: it has not fired
    live_ns INTEGER NOT NULL,
    opportunities INTEGER NOT NULL,
    cost_ns INTEGER NOT NULL DEFAULT 0, -- CPU time that it cost its targets, estimated
    PRIMARY KEY (run, probe)
) STRICT, WITHOUT ROWID;

-- Signals that were saved together: rows first_signal to last_signal of the table signals.
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs (number),
    first_signal INTEGER NOT NULL,
    last_signal INTEGER NOT NULL,
    fields TEXT NOT NULL                -- JSON: [name, numpy type, shape] of each field in signals.extra
) STRICT;

CREATE INDEX IF NOT EXISTS batches_of_run ON batches (run);

CREATE TABLE IF NOT EXISTS signals (
    id INTEGER PRIMARY KEY,
    batch INTEGER NOT NULL REFERENCES batches (number),
    time INTEGER NOT NULL,
    count INTEGER NOT NULL,
    probe INTEGER NOT NULL REFERENCES probes (number),
    pid INTEGER NOT NULL,               -- 0: not known
    tid INTEGER NOT NULL,               -- 0: not known
    cpu INTEGER NOT NULL,               -- -1: not known
    comm TEXT NOT NULL,                 -- empty: not known
    extra TEXT                          -- JSON object of the fields that the receiver appended
) STRICT;

-- What is known of each probe over all runs: the highest verdict, and counts summed.
CREATE VIEW IF NOT EXISTS coverage AS
WITH
    ranked AS (
        SELECT
            probe, verdict, reason, detail,
            row_number() OVER (
                PARTITION BY probe
                -- What the budget took off (2) was not seen whole, whatever else is said of it.
                ORDER BY verdict DESC, iif(reason = 2, 255, reason) DESC, detail DESC
            ) AS place
        FROM evidence
    ),
    summed AS (
        SELECT
            probe,
            sum(hits) AS hits,
            min(nullif(first_fired, 0)) AS first_fired,
            max(nullif(last_fired, 0)) AS last_fired,
            sum(live_ns) / 1e9 AS live_seconds,
            sum(opportunities) AS opportunities,
            sum(cost_ns) / 1e9 AS cost_seconds,
            count(*) AS runs
        FROM evidence
        GROUP BY probe
    )
SELECT
    probes.name AS probe,
    verdicts.word AS verdict,
    reasons.word AS reason,
    ranked.detail AS detail,
    summed.hits AS hits,
    strftime('%Y-%m-%dT%H:%M:%fZ', summed.first_fired / 1e9, 'unixepoch') AS first_fired,
    strftime('%Y-%m-%dT%H:%M:%fZ', summed.last_fired / 1e9, 'unixepoch') AS last_fired,
    summed.live_seconds AS live_seconds,
    summed.opportunities AS opportunities,
    summed.runs AS runs,
    summed.cost_seconds AS cost_seconds
FROM summed
JOIN ranked ON ranked.probe = summed.probe AND ranked.place = 1
JOIN probes ON probes.number = summed.probe
JOIN verdicts ON verdicts.number = ranked.verdict
JOIN reasons ON reasons.number = ranked.reason;

-- The probes that could fire and have not, and what to do about each.
CREATE VIEW IF NOT EXISTS gaps AS
SELECT coverage.probe, coverage.verdict, coverage.reason, coverage.detail, reasons.hint, coverage.live_seconds,
    coverage.opportunities
FROM coverage
JOIN reasons ON reasons.word = coverage.reason
WHERE coverage.verdict NOT IN ('fired', 'excluded');

-- One row a run: how many probes reached which verdict, and the coverage ratio: fired / (expected - excluded).
CREATE VIEW IF NOT EXISTS run_totals AS
WITH
    judged AS (
        SELECT
            evidence.run AS run,
            count(*) AS expected,
            count(*) FILTER (WHERE verdicts.word = 'fired') AS fired,
            count(*) FILTER (WHERE verdicts.word = 'silent') AS silent,
            count(*) FILTER (WHERE verdicts.word = 'blind') AS blind,
            count(*) FILTER (WHERE verdicts.word = 'refused') AS refused,
            count(*) FILTER (WHERE verdicts.word = 'missing') AS missing,
            count(*) FILTER (WHERE verdicts.word = 'excluded') AS excluded,
            count(*) FILTER (WHERE verdicts.word = 'pending') AS pending,
            sum(hits) AS hits
        FROM evidence
        JOIN verdicts ON verdicts.number = evidence.verdict
        GROUP BY evidence.run
    ),
    saved AS (
        SELECT run, sum(last_signal - first_signal + 1) AS signals FROM batches GROUP BY run
    )
SELECT
    runs.id AS run,
    runs.started AS started,
    runs.plan_name AS plan,
    runs.backend AS backend,
    runs.seconds AS seconds,
    runs.exit_status AS exit_status,
    runs.finished AS finished,
    coalesce(judged.expected, 0) AS expected,
    coalesce(judged.fired, 0) AS fired,
    coalesce(judged.silent, 0) AS silent,
    coalesce(judged.blind, 0) AS blind,
    coalesce(judged.refused, 0) AS refused,
    coalesce(judged.missing, 0) AS missing,
    coalesce(judged.excluded, 0) AS excluded,
    coalesce(judged.pending, 0) AS pending,
    judged.fired * 1.0 / nullif(judged.expected - judged.excluded, 0) AS ratio,
    coalesce(judged.hits, 0) AS hits,
    coalesce(saved.signals, 0) AS signals,
    runs.signals_lost AS signals_lost,
    runs.overhead_ratio AS overhead_ratio
FROM runs
LEFT JOIN judged ON judged.run = runs.number
LEFT JOIN saved ON saved.run = runs.number
ORDER BY runs.started, runs.number;

-- Each signal with the names of its run and probe.
CREATE VIEW IF NOT EXISTS signal_log AS
SELECT
    runs.id AS run,
    strftime('%Y-%m-%dT%H:%M:%fZ', signals.time / 1e9, 'unixepoch') AS at,
    signals.time AS time,
    probes.name AS probe,
    signals.count AS count,
    signals.pid AS pid,
    signals.tid AS tid,
    signals.cpu AS cpu,
    signals.comm AS comm,
    signals.extra AS extra
FROM signals
JOIN batches ON batches.number = signals.batch
JOIN runs ON runs.number = batches.run
JOIN probes ON probes.number = signals.probe;

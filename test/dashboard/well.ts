import type { DatabaseStatus } from "../../src/dashboard/Snapshot.ts"

/** A database with which nothing is wrong. */
export const well: DatabaseStatus = {
  name: "app.db",
  state: "guarded",
  interval_seconds: 10,
  log_frames: 100,
  backlog_frames: 0,
  exposure_seconds: 20,
  last_checkpoint: null,
  latency: { runs: "all", n: 0, p50_ms: null, p95_ms: null, max_ms: null, slow: 0 },
  failures: 0,
  blocked: null,
  bound_frames: 4000,
  page_bytes: 4096,
  durability: "durable",
  sqlite_version: "3.53.0",
  files: null,
  writes: null,
}

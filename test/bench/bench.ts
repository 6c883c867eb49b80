/**
 * The benchmark: every subject on every case, in processes of their own, in interleaved rounds, medians of the rounds.
 *
 *     npm run bench                  everything: about an hour
 *     npm run bench -- --quick       the case of the first table alone, once: under a minute
 *     npm run bench -- --rounds 5    more rounds
 *     npm run bench -- --only contention    beside SQLite's default, where something else uses the disk or the processor
 *                                            ("contention:busy disk": one case; 10 pairs each)
 *     npm run bench -- --markdown    puts the tables into docs/benchmarks.md, too
 *     npm run bench -- --only reader cases whose name contains this ("writes": the durable writes)
 *
 * Prints Markdown and writes bench.json beside it (`--json FILE`). Absolute times belong to the machine and its load:
 * compare rows of one run, and look at "no checkpoint" first, which is what the disk does by itself.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { beside } from "./beside.ts"
import { checkpoints } from "./checkpoints.ts"
import { contention } from "./contention.ts"
import { durableWrites, writesOverhead } from "./durableWrites.ts"
import { idleGuards } from "./idleGuards.ts"
import { manyDatabases } from "./manyDatabases.ts"
import { here, rounds, values } from "./options.ts"
import { pages } from "./pages.ts"
import { stores } from "./stores.ts"

if (!fs.existsSync(path.join(here, "peers/node_modules"))) {
  process.stderr.write("installing the peers of the benchmark\n")
  execFileSync("npm", ["ci"], { cwd: path.join(here, "peers"), stdio: ["ignore", "ignore", "inherit"] })
}

const results = {
  node: process.version,
  cpus: os.cpus().length,
  rounds,
  collected: checkpoints(),
  contention: contention(),
  writes: durableWrites(),
  overhead: writesOverhead(),
  idleGuards: idleGuards(),
  manyDatabases: await manyDatabases(),
  dashboards: pages(),
  beside: await beside(),
  stores: await stores(),
}
fs.writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`)

const isSound =
  results.collected.every(({ results }) => results.every(([, { sound }]) => sound)) &&
  results.contention.every(({ sound }) => sound) &&
  results.writes.every(({ results }) => results.every(({ sound }) => sound)) &&
  results.manyDatabases.every(({ exitCode, failedSteps }) => exitCode === 0 && failedSteps === 0) &&
  results.beside.every(({ sound }) => sound)
if (!isSound) process.exitCode = 1

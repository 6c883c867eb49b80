/**
 * The proof: what was done to an engine's database, how often, and what was lost.
 *
 *     npm run proof                       everything, some minutes
 *     npm run proof -- kill               one part of it: kill, power, programs, bytes, disk, names,
 *                                       commands, orders, soak, takeover, cluster, unfenced
 *     npm run proof -- power --seed 7     the run that a failure named
 *     npm run proof -- kill --runs 1000   more of it
 *     npm run proof -- soak --minutes 60  longer
 *
 * Prints one table, and fails when anything was lost, corrupt, hung or not flat.
 */
import { parseArgs } from "node:util"
import { table } from "../bench/figures.ts"
import { put } from "../bench/publish.ts"
import type { Verdict } from "./database.ts"
import { badBytes } from "./BadBytes.ts"
import { failingDisk, faults, fullDisk } from "./FailingDisk.ts"
import { kill } from "./Kill.ts"
import { type Change, changes } from "./NameChanges.ts"
import { names, table as nameRows } from "./Names.ts"
import { anyFile, canAll, total } from "./Commands.ts"
import { everyOrder } from "./Orders.ts"
import { fullDisks, passingFaults, servedAgain } from "./Served.ts"
import * as SmallDisk from "./SmallDisk.ts"
import { hasStrace, powerCut } from "./PowerCut.ts"
import { programs } from "./Programs.ts"
import { figuresOf, hasProc, soak } from "./Soak.ts"
import { cutBy, missing, mixed, takeover, unfenced } from "./Takeover.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: "string" },
    seed: { type: "string" },
    minutes: { type: "string" },
    markdown: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
})

const help = `npm run proof -- [CASE...] [--runs N] [--minutes N] [--seed N] [--markdown]

Cases, all of them when none is named:
  kill    SIGKILL at random moments while checkpoints run (--runs: kills, default 100; --minutes: with these done, more
          kills until so many minutes have passed since the first)
  power   disk states that a power cut could leave, from recorded system calls (--runs: states, default 3000)
  programs  statements, transactions, parts of batches and reserved connections of many fibers against a model, at every
          durability, on a thread, inline, and over the driver's own client; all of them fail, die and are interrupted
          (--runs: steps, default 100000)
  bytes   flipped and missing bytes in the database, its WAL and -shm; random configurations and feeds
          (--runs: default 150)
  disk    the n-th open, sync, write or cut of a file fails, once or forever; file systems that are too small, or full for
          a while: a session ends in order, and callers are served again when it is over
  names   the file, its WAL or its index is removed, replaced, linked or mounted over, under each command and layer that
          has the database open, and before each that opens it; known gaps go to standard error
          (--runs: rounds of the table, default 1)
  commands  every command on every kind of file, as root, as another user, read-only and on a full disk: its exit code, one line,
          nothing created, nothing changed, nothing lost (--runs: of ${total}, default 400)
  orders  every order of up to four events (tick, burst of writes, new interval, crash, hang, ...), then a shutdown,
          in virtual time; states are those that the guard was in
  soak    an engine that lives for the whole time, whose memory, descriptors, threads and log stay flat (the figures go
          to standard error), and one that is killed or ended and started again at random, while readers come and go
          (--minutes: default 1, may be a fraction; 15 MB of disk a minute; flat from 30 samples on, one a second)
  takeover  three engines on a PostgreSQL server, of which the one that leads is killed, frozen, cut off and ended, and the server
          restarted and down for 3 s: how soon another leads, and what the rows say (--runs: faults, default 100)
  cluster  the same of three runners of an Effect Cluster, killed, frozen and ended (--runs: faults, default 30)
  unfenced  the leader is cut off again and again while nothing is fenced: its stale writes must be found (--runs: default 10)

--markdown puts the table into docs/proof.md, too.
--runs and --minutes change nothing in a case that does not name them. --seed repeats what chance decides in a case; in kill
and soak the machine decides the rest.

Examples:
  npm run proof
  npm run proof -- power --runs 10000
  npm run proof -- soak --minutes 60`

const number = (name: "runs" | "seed", otherwise: number) => {
  const value = Number(values[name] ?? otherwise)
  if (Number.isInteger(value) && value > 0) return value
  process.stderr.write(`--${name} must be a whole number above 0, got ${values[name]}\n`)
  process.exit(2)
}

const minutes = values.minutes === undefined ? undefined : Number(values.minutes)
if (minutes !== undefined && !(minutes > 0 && minutes < Infinity)) {
  process.stderr.write(`--minutes must be a number above 0, got ${values.minutes}\n`)
  process.exit(2)
}
const seed = number("seed", Date.now() % 1_000_000)

interface Part {
  readonly part: string
  readonly name: string
  readonly run: () => Promise<Verdict & { readonly figures?: string }>
  /** Why it cannot run here. */
  readonly missing?: string
}

const needsStrace = hasStrace ? {} : { missing: "strace is not installed (apt-get install strace; Linux only)" }
const needsSmallDisk = SmallDisk.isPossible ? {} : { missing: "only root can mount a small file system" }
const power = (["durable", "full", "normal"] as const).map((durability): Part => ({
  part: "power",
  name: `power cut, ${durability}`,
  run: async () => powerCut({ durability, seed, writes: 3000, states: Math.ceil(number("runs", 3000) / 3) }),
  ...needsStrace,
}))
const named = nameRows.map((row): Part => {
  const { missing, name }: Change = changes[row.change]
  const run = () => names(row, number("runs", 1), seed)
  return { part: "names", name: `names: ${name}`, run, ...(missing === undefined ? {} : { missing }) }
})
const parts: ReadonlyArray<Part> = [
  { part: "kill", name: "kill", run: () => kill(number("runs", 100), seed, minutes) },
  ...power,
  { part: "programs", name: "random programs", run: () => programs(number("runs", 100_000), seed) },
  { part: "bytes", name: "bad bytes", run: () => badBytes(number("runs", 150), seed) },
  { part: "orders", name: "every order of events", run: () => everyOrder(4) },
  { part: "disk", name: "failing disk", run: () => failingDisk(faults), ...needsStrace },
  { part: "disk", name: "disk that fails once, served again", run: () => servedAgain(passingFaults), ...needsStrace },
  { part: "disk", name: "full disk", run: () => fullDisk([32, 64, 96, 128, 160, 192, 256, 320]), ...needsSmallDisk },
  { part: "disk", name: "full disk, served again", run: () => servedAgain(fullDisks), ...needsSmallDisk },
  ...named,
  {
    part: "commands",
    name: "every command on any file",
    run: () => anyFile(number("runs", 400), seed),
    ...(canAll ? {} : needsSmallDisk),
  },
  {
    part: "soak",
    name: "soak",
    run: async () => {
      const { restarts, samples, ...verdict } = await soak({ minutes: minutes ?? 1, seed })
      return { ...verdict, figures: `${samples.length} samples, ${restarts} restarts\n\n${figuresOf(samples)}\n` }
    },
    ...(hasProc ? {} : { missing: "there is no /proc (Linux only)" }),
  },
]

const takeovers: ReadonlyArray<Part> = [
  {
    part: "takeover",
    name: `takeover (cut by ${cutBy})`,
    run: () => takeover(mixed(number("runs", 100), seed), seed),
  },
  {
    part: "cluster",
    name: "takeover in a cluster",
    run: () => takeover(mixed(number("runs", 30), seed, ["kill", "freeze", "term"]), seed, { by: "cluster" }),
  },
  { part: "unfenced", name: "takeover without the fence", run: () => unfenced(number("runs", 10), seed) },
].map((it) => ({ ...it, ...(missing === undefined ? {} : { missing }) }))
const all = [...parts, ...takeovers]

const unknown = positionals.filter((name) => !all.some(({ part }) => part === name))
if (values.help || unknown.length > 0) {
  if (unknown.length > 0) process.stderr.write(`no such case: ${unknown.join(", ")}\n\n`)
  process.stdout.write(`${help}\n`)
  process.exit(unknown.length > 0 ? 2 : 0)
}

if (values.markdown && positionals.length > 0) {
  process.stderr.write("--markdown replaces the whole table of docs/proof.md: name no case\n")
  process.exit(2)
}

const wanted = all.filter(({ part }) => positionals.length === 0 || positionals.includes(part))
const verdicts: Array<readonly [Part, Verdict]> = []
const start = performance.now()
for (const part of wanted) {
  if (part.missing !== undefined) {
    process.stderr.write(`${part.name}: skipped, ${part.missing}\n`)
    continue
  }
  process.stderr.write(`${part.name}, --seed ${seed}\n`)
  const verdict = await part.run()
  if (verdict.figures !== undefined) process.stderr.write(`\n${verdict.figures}\n`)
  verdicts.push([part, verdict])
}
const columns = ["case", "runs", "states tried", "acknowledged writes checked", "lost", "corrupt", "hung"]
const rows = verdicts.map(([{ name }, it]) => [name, it.runs, it.states, it.checked, it.lost, it.corrupt, it.hung])
const shown = table(columns, rows)
process.stdout.write(`${shown}\n`)
if (values.markdown) put("proof.md", "the table", `${shown}\n\nSeed ${seed}.`)
process.stderr.write(`${((performance.now() - start) / 1000).toFixed(0)} s, --seed ${seed}\n`)

const failures = verdicts.flatMap(([, it]) => it.failures)
for (const failure of failures.slice(0, 20)) process.stderr.write(`${failure}\n`)
const isBad = ([, it]: readonly [Part, Verdict]) => it.failures.length > 0 || it.states === 0
if (verdicts.some(isBad)) process.exitCode = 1

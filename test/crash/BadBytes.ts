/**
 * Bytes that should not be there: flipped or missing in the database, its WAL or its `-shm`, a configuration or a feed of
 * anything at all. A session that meets them ends by itself, with a documented exit code and a message instead of a
 * stack; and a database that it refuses is the same afterwards, byte for byte.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { randomOf } from "../support/random.ts"
import { nothing, type Verdict } from "./database.ts"
import { hasDefect, session, tailOf, twoAtATime } from "./session.ts"

type Random = (below: number) => number

/** A database with some pages, a WAL that a killed process left, and the `-shm` beside it. */
const create = (file: string) => {
  const database = new DatabaseSync(file)
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
    CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
      INSERT INTO t SELECT i, hex(randomblob(20)) FROM n;
    PRAGMA wal_checkpoint(TRUNCATE);
    UPDATE t SET b = 'in the WAL' WHERE a % 20 = 0`)
  const left = ["", "-wal", "-shm"].map((suffix) => [suffix, fs.readFileSync(file + suffix)] as const)
  database.close()
  for (const [suffix, bytes] of left) fs.writeFileSync(file + suffix, bytes)
}

const randomBytes = (random: Random, length: number) => Buffer.from(Array.from({ length }, () => random(256)))

/** Flips bits at the start, where headers are, or anywhere; or cuts the end off. */
const damage = (file: string, random: Random) => {
  const bytes = fs.readFileSync(file)
  if (random(4) === 0) return fs.writeFileSync(file, bytes.subarray(0, random(bytes.length)))
  const within = random(2) === 0 ? Math.min(100, bytes.length) : bytes.length
  for (let flips = 1 + random(8); flips > 0; flips--) {
    const at = random(Math.max(1, within))
    if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8))
  }
  return fs.writeFileSync(file, bytes)
}

interface Trial {
  readonly name: string
  readonly codes: ReadonlyArray<number>
  /** Prepares the folder, and returns further arguments. */
  readonly prepare: (folder: string, random: Random) => ReadonlyArray<string>
}

const onFile = (suffix: string): Trial => ({
  name: `test.db${suffix}`,
  codes: [0, 1, 65],
  prepare: (folder, random) => {
    create(path.join(folder, "test.db"))
    damage(path.join(folder, `test.db${suffix}`), random)
    return []
  },
})

const yaml = [
  "engine:",
  "  tick_interval_seconds: ",
  "strategy: {",
  "- [",
  "\t",
  "&a *a",
  "risk: ",
  "'",
  '"',
  "\u0000",
  "1e999",
  "~",
  "\n",
  "  ",
]

const trials: ReadonlyArray<Trial> = [
  onFile(""),
  onFile("-wal"),
  onFile("-shm"),
  {
    name: "a configuration",
    codes: [0, 78],
    prepare: (folder, random) => {
      const text = Buffer.concat(
        Array.from({ length: 1 + random(30) }, () =>
          random(5) === 0 ? randomBytes(random, random(40)) : Buffer.from(yaml[random(yaml.length)] ?? ""),
        ),
      )
      fs.writeFileSync(path.join(folder, "any.yaml"), text)
      return ["--config", "any.yaml"]
    },
  },
  {
    name: "a feed",
    codes: [0],
    prepare: (folder, random) => {
      const lines = Array.from({ length: random(30) }, () => {
        const kinds = [
          () => Buffer.from('{"bid": 0.51, "ask": 0.52}'),
          () => randomBytes(random, random(200)),
          () => Buffer.from(`{"bid": ${random(3) - 1}, "ask": "${random(9)}"}`),
          () => Buffer.alloc(1 + random(3_000_000), 97 + random(3)),
        ]
        return Buffer.concat([kinds[random(kinds.length)]!(), Buffer.from("\n")])
      })
      fs.writeFileSync(path.join(folder, "any.ndjson"), Buffer.concat(lines))
      return ["--feed", "any.ndjson"]
    },
  },
]

const contents = (folder: string) =>
  ["test.db", "test.db-wal"].map((name) => {
    const file = path.join(folder, name)
    return fs.existsSync(file) ? fs.readFileSync(file).toString("latin1") : "not there"
  })

const tryOne = async (trial: Trial, seed: number): Promise<Verdict> => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-bytes-"))
  try {
    const args = trial.prepare(folder, randomOf(seed))
    const before = contents(folder)
    const ended = await session(["--duration-seconds", "0.3", ...args], { cwd: folder })
    const { code, hung, stdout } = ended
    const problems: Array<string> = []
    if (hung) problems.push("it hung")
    else if (code === null || !trial.codes.includes(code)) problems.push(`exit code ${code}`)
    if (hasDefect(ended)) problems.push("a defect was not caught")
    if (code === 65 && !stdout.includes("backup")) problems.push("the message does not say what to do")
    if (code === 78 && !stdout.includes("refused")) problems.push("the message does not say what is wrong")
    const isRefused = stdout.includes('"start failed"')
    const changed = contents(folder).some((bytes, index) => bytes !== before[index])
    if (isRefused && changed) problems.push("a file that was refused has changed")
    return {
      ...nothing,
      runs: 1,
      states: 1,
      corrupt: isRefused && changed ? 1 : 0,
      hung: hung ? 1 : 0,
      failures: problems.map(
        (problem) => `${problem}: bad bytes in ${trial.name}, bytes --runs 1 --seed ${seed}\n${tailOf(ended)}`,
      ),
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

/** What is damaged, and how, follows from the seed of each run. */
export const badBytes = (runs: number, seed: number): Promise<Verdict> =>
  twoAtATime(
    Array.from({ length: runs }, (_, index) => seed + index),
    (each) => tryOne(trials[each % trials.length]!, each),
  )

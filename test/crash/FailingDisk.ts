/**
 * A session whose n-th open, sync, write or cut of a file fails, by the system's own word (`strace -e inject`), or whose
 * file system is too small: it ends by itself, with a documented exit code, an ERROR for whatever failed and every step of its shutdown attempted, and what its engine
 * was told to be stored is there.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { nothing, type Verdict } from "./database.ts"
import * as SmallDisk from "./SmallDisk.ts"
import { hasDefect, type Session, session, tailOf, twoAtATime } from "./session.ts"

/** A call that fails on the database or its WAL, from the n-th time on `times` times. */
export interface Fault {
  readonly call: "openat" | "fsync" | "fdatasync" | "pwrite64" | "ftruncate"
  readonly error: "EIO" | "ENOSPC"
  readonly nth: number
  /** Once, or forever. */
  readonly times: "once" | "always"
}

/** The steps of a shutdown; a session that never ran has fewer. */
const closing = [
  "stop ticking",
  "halt.reason",
  "close session",
  "engine_status HALTED",
  "stop wal_checkpoint loop",
  "drain writes",
  "restore autocheckpoint",
  "close checkpoint thread",
  "close database",
  "release lease",
]

const environment = {
  SEAWALL_ENGINE_TICK_INTERVAL_SECONDS: "0.02",
  SEAWALL_STRATEGY_REQUOTE_INTERVAL_SECONDS: "0.02",
  SEAWALL_ENGINE_WAL_CHECKPOINT_INTERVAL_SECONDS: "0.1",
  SEAWALL_ENGINE_INTEGRITY_CHECK: "off",
}

/** Runs a session with this fault, and says whether it was met. */
const withFault = async (folder: string, { call, error, nth, times }: Fault) => {
  const trace = path.join(folder, "trace")
  // Both as SQLite opens them and as a program in this folder does.
  const names = ["test.db", "test.db-wal"].flatMap((name) => [name, path.join(folder, name)])
  const files = names.flatMap((name) => ["-P", name])
  const inject = `inject=${call}:error=${error}:when=${nth}${times === "always" ? "+" : ""}`
  const under = ["strace", "-f", "-qq", "-o", trace, ...files, "-e", `trace=${call}`, "-e", inject]
  const ended = await session(["--duration-seconds", "1.5"], { cwd: folder, env: environment, under })
  return { ended, isMet: fs.readFileSync(trace, "utf8").includes("(INJECTED)") }
}

/** What is wrong with how it ended; nothing when all is as it must be. */
export const problemsOf = (folder: string, ended: Session): ReadonlyArray<string> => {
  const { code, hung, log } = ended
  if (hung) return ["it hung"]
  const said = (event: string) => log.filter(({ message }) => [message].flat()[0] === event)
  const errors = log.filter(({ level }) => level === "ERROR" || level === "FATAL")
  const problems: Array<string> = []
  if (code !== 0 && code !== 1) problems.push(`exit code ${code}`)
  if (code === 1 && errors.length === 0) problems.push("exit code 1 without an ERROR")
  if (hasDefect(ended)) problems.push("a defect was not caught")
  if (said("engine running").length > 0) {
    const steps = new Set(log.map(({ annotations }) => annotations["step"]))
    const missing = closing.filter((step) => !steps.has(step))
    if (missing.length > 0) problems.push(`not attempted: ${missing.join(", ")}`)
  }
  // A fill is said after its tick was stored.
  const fills = said("paper fill").length
  const database = new DatabaseSync(path.join(folder, "test.db"))
  try {
    const check = database.prepare("PRAGMA integrity_check").get()?.["integrity_check"]
    if (check !== "ok") problems.push(`corrupt: ${String(check)}`)
    const has = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'paper_fills'").get() !== undefined
    const stored = has ? Number(database.prepare("SELECT count(*) AS n FROM paper_fills").get()?.["n"]) : 0
    if (stored < fills) problems.push(`lost: ${fills - stored} of ${fills} fills`)
  } finally {
    database.close()
  }
  return problems
}

/** Runs a session in a folder of its own, and judges it. */
const judged = async (
  how: string,
  run: (folder: string) => Promise<{ readonly ended: Session; readonly isMet: boolean }>,
): Promise<Verdict> => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-disk-"))
  try {
    const { ended, isMet } = await run(folder)
    SmallDisk.moveOut(folder)
    const problems = problemsOf(folder, ended)
    const count = (word: string) => problems.filter((problem) => problem.startsWith(word)).length
    return {
      ...nothing,
      runs: 1,
      states: isMet ? 1 : 0,
      checked: ended.log.filter(({ message }) => message === "paper fill").length,
      lost: count("lost"),
      corrupt: count("corrupt"),
      hung: count("it hung"),
      failures: problems.map((problem) => `${problem}: ${how}\n${tailOf(ended)}`),
    }
  } finally {
    SmallDisk.unmount(folder)
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

const tryFault = (fault: Fault): Promise<Verdict> => {
  const which = `number ${fault.nth} ${fault.times === "once" ? "fails" : "and all after it fail"}`
  return judged(`${fault.call} ${which} with ${fault.error}`, (folder) => withFault(folder, fault))
}

/** Sessions on a file system with room for so many KiB, from less than a schema needs to what lasts for a while. */
export const fullDisk = (sizes: ReadonlyArray<number>): Promise<Verdict> =>
  twoAtATime(sizes, (kib) =>
    judged(`a file system of ${kib} KiB`, async (folder) => {
      SmallDisk.mount(folder, kib)
      const ended = await session(["--duration-seconds", "1.5"], { cwd: folder, env: environment })
      return { ended, isMet: ended.code === 1 }
    }),
  )

/** A session opens its files a few times, and cuts them hardly ever; what comes later is met by some of its runs. */
const nths: Readonly<Record<Fault["call"], ReadonlyArray<number>>> = {
  openat: [1, 2, 3, 4],
  ftruncate: [1, 2, 3],
  fdatasync: [1, 2, 3, 5, 8, 13, 21, 34, 55, 89],
  fsync: [1, 2, 3, 5, 8, 13, 21, 34, 55, 89],
  pwrite64: [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144],
}

export const faults: ReadonlyArray<Fault> = (
  ["openat", "fdatasync", "fsync", "pwrite64", "ftruncate"] as const
).flatMap((call) =>
  (call === "fdatasync" || call === "fsync" ? (["EIO"] as const) : (["EIO", "ENOSPC"] as const)).flatMap((error) =>
    (["once", "always"] as const).flatMap((times) => nths[call].map((nth): Fault => ({ call, error, nth, times }))),
  ),
)

/** A fault that a session does not live to meet is a run, and no state. */
export const failingDisk = (chosen: ReadonlyArray<Fault>): Promise<Verdict> => twoAtATime(chosen, tryFault)

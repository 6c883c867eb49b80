/**
 * A fault that passes: a system call that fails once, or a small file system that is full for a while. A caller that was told
 * that a write failed has none, a caller that was told that it is there has it, and all are served again when it is over.
 */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { nothing, type Verdict } from "./database.ts"
import * as SmallDisk from "./SmallDisk.ts"
import { twoAtATime } from "./session.ts"

const program = fileURLToPath(new URL("./callers.ts", import.meta.url))

/** What has not happened by then hangs. */
const patience = 30_000

/** So many acknowledgements in a row, of eight callers, are service for all of them. */
const served = 200

/** A fault that is not met within so many acknowledgements does not come. */
const enough = 3000

export interface PassingFault {
  readonly what: string
  readonly durability: "durable" | "full" | "normal"
  readonly afterFailedSync: "refuse" | "resume"
  /** The call that fails, in `strace`'s words. */
  readonly inject?: string
  /** On a file system that is filled up, and has room again after the first failure. */
  readonly onFullDisk?: boolean
}

interface Heard {
  readonly acked: ReadonlyArray<number>
  /** Those that must not be there; a commit that could not be synced may be. */
  readonly failed: ReadonlyArray<number>
  /** Everything that failed, in words. */
  readonly reasons: ReadonlySet<string>
  readonly isMet: boolean
  /** Acknowledgements since the last failure. */
  readonly since: number
  readonly hung: boolean
  readonly closed: boolean
  readonly code: number | null
  readonly tail: string
}

const listen = async (folder: string, fault: PassingFault): Promise<Heard> => {
  const file = path.join(folder, "test.db")
  const trace = path.join(os.tmpdir(), `${path.basename(folder)}.trace`)
  const files = ["test.db", "test.db-wal"].flatMap((name) => ["-P", path.join(folder, name)])
  const under =
    fault.inject === undefined ? [] : ["strace", "-f", "-qq", "-o", trace, ...files, "-e", `inject=${fault.inject}`]
  const [command, ...args] = [...under, process.execPath, program, file, fault.durability, fault.afterFailedSync]
  const child = spawn(command!, args, { stdio: ["pipe", "pipe", "pipe"] })
  const filler = path.join(folder, "filler")
  const acked: Array<number> = []
  const failed: Array<number> = []
  const reasons = new Set<string>()
  let [since, text, tail, closed, hung] = [0, "", "", false, false]
  const isFull = fault.onFullDisk === true
  const isMet = () =>
    isFull ? reasons.size > 0 : fs.existsSync(trace) && fs.readFileSync(trace, "utf8").includes("(INJECTED)")
  /** A database that takes no writes any more goes on failing, and that is all there is to hear. */
  const isOver = () => {
    if (reasons.has("DurabilityError Refused") && fault.afterFailedSync === "refuse") return true
    if (acked.length >= enough && since >= served) return true
    return since >= served && acked.length % 50 === 0 && isMet()
  }
  const hear = (line: string) => {
    const [word = "", n = "", ...reason] = line.split(" ")
    if (word === "ack") {
      acked.push(Number(n))
      since++
      if (isFull && acked.length === served) SmallDisk.fill(filler)
    } else if (word === "fail") {
      if (reason[0] !== "DurabilityError") failed.push(Number(n))
      reasons.add(reason.join(" "))
      since = 0
      if (isFull) fs.rmSync(filler, { force: true })
    } else if (word === "closed") closed = true
    else tail = `${tail}${line}\n`.slice(-2000)
    if (isOver()) child.stdin.end()
  }
  child.stdin.on("error", () => undefined) // it may be gone before it is told to go
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (tail = `${tail}${chunk}`.slice(-2000)))
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (text + chunk).split("\n")
    text = lines.pop() ?? ""
    lines.forEach(hear)
  })
  const timer = setTimeout(() => {
    hung = true
    spawnSync("pkill", ["-KILL", "-P", String(child.pid)])
    child.kill("SIGKILL")
  }, patience)
  const [code] = (await once(child, "close")) as [number | null]
  clearTimeout(timer)
  const met = isMet()
  fs.rmSync(trace, { force: true })
  return { acked, failed, reasons, isMet: met, since, hung, closed, code, tail }
}

/** What is wrong; nothing when all is as it must be. */
export const problemsOf = (file: string, fault: PassingFault, heard: Heard): ReadonlyArray<string> => {
  const problems: Array<string> = []
  if (heard.hung) problems.push("hung")
  else if (!heard.closed || heard.code !== 0) problems.push(`ended with code ${heard.code}`)
  const refuses = heard.reasons.has("DurabilityError Refused") && fault.afterFailedSync === "refuse"
  if (heard.isMet && !refuses && heard.since < served) problems.push("not served again")
  if (refuses && heard.since > 0) problems.push("acknowledged after a sync that failed")
  const database = new DatabaseSync(file)
  try {
    const check = database.prepare("PRAGMA integrity_check").get()?.["integrity_check"]
    if (check !== "ok") problems.push(`corrupt: ${String(check)}`)
    const stored = new Set(
      database
        .prepare("SELECT n FROM t")
        .all()
        .map(({ n }) => Number(n)),
    )
    const lost = heard.acked.filter((n) => !stored.has(n)).length
    const undead = heard.failed.filter((n) => stored.has(n)).length
    if (lost > 0) problems.push(`lost: ${lost} of ${heard.acked.length} acknowledged writes`)
    if (undead > 0) problems.push(`${undead} writes are there that were said to have failed`)
  } finally {
    database.close()
  }
  return problems
}

const tryFault = async (fault: PassingFault): Promise<Verdict> => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-served-"))
  if (fault.onFullDisk === true) SmallDisk.mount(folder, 16 * 1024)
  try {
    const database = new DatabaseSync(path.join(folder, "test.db"))
    database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)")
    database.close()
    const heard = await listen(folder, fault)
    const problems = problemsOf(path.join(folder, "test.db"), fault, heard)
    const count = (word: string) => problems.filter((problem) => problem.startsWith(word)).length
    return {
      ...nothing,
      runs: 1,
      states: heard.isMet ? 1 : 0,
      checked: heard.acked.length,
      lost: count("lost"),
      corrupt: count("corrupt"),
      hung: count("hung"),
      failures: problems.map((problem) => `${problem}: ${fault.what}\n${heard.tail}`),
    }
  } finally {
    SmallDisk.unmount(folder)
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

const injected = (
  call: string,
  error: string,
  nth: number,
  durability: PassingFault["durability"],
  afterFailedSync: PassingFault["afterFailedSync"] = "refuse",
): PassingFault => ({
  what: `${call} number ${nth} fails once with ${error}, ${durability}, ${afterFailedSync}`,
  durability,
  afterFailedSync,
  inject: `${call}:error=${error}:when=${nth}`,
})

const nths = [5, 13, 34, 89]

export const passingFaults: ReadonlyArray<PassingFault> = nths.flatMap((nth) => [
  injected("pwrite64", "ENOSPC", nth, "durable"),
  injected("pwrite64", "EIO", nth, "full"),
  injected("fsync", "EIO", nth, "full"),
  injected("fsync", "EIO", Math.ceil(nth / 5), "durable"),
  injected("fdatasync", "EIO", nth, "durable", "resume"),
  injected("fdatasync", "EIO", nth, "durable"),
])

export const fullDisks: ReadonlyArray<PassingFault> = (["durable", "full", "normal"] as const).map(
  (durability): PassingFault => ({
    what: `a full file system, ${durability}`,
    durability,
    afterFailedSync: "refuse",
    onFullDisk: true,
  }),
)

export const servedAgain = (chosen: ReadonlyArray<PassingFault>): Promise<Verdict> => twoAtATime(chosen, tryFault)

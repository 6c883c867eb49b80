/**
 * The names of a database change, under programs that have it open and before programs that open it: no write is
 * acknowledged that goes to a file without the name, no two databases are mixed, and nothing that has the names is touched.
 *
 * What is expected of which user is in `NameTable.ts`, and how each change is made in `NameChanges.ts`.
 */
import { spawnSync } from "node:child_process"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { randomOf } from "../support/random.ts"
import { nothing, plus, type Verdict } from "./database.ts"
import {
  type Change,
  changes,
  contentsOf,
  namesIn,
  openInPython,
  type Place,
  rowsAtStart,
  rowsOfPython,
} from "./NameChanges.ts"
import { type After, type LongUser, longUsers, type Row, rows, type Starter, starters } from "./NameTable.ts"
import { command, endOf, heard, linesOf, type Result, startProgram, timeOf } from "./NameUsers.ts"
import { inFolder } from "./Owned.ts"
import { hasDefect, tailOf, twoAtATime } from "./session.ts"

/** A second from look to look, and as much again for a machine that is busy. Milliseconds. */
const tolerated = 2000

/** What a run of one row came to: each problem begins with `lost`, `corrupt` or `hung` when it is that. */
interface Judged {
  readonly problems: ReadonlyArray<string>
  readonly checked: number
  readonly tail: string
}

export interface Trial {
  readonly row: Row
  readonly when: "live" | "after"
  readonly user: LongUser | Starter
}

type Random = (below: number) => number

/** What a database holds, when no process has it open; the WAL beside it counts only when that is wanted. */
const inspect = (folder: string, file: string, withWal: boolean) => {
  const copy = path.join(folder, "inspected.db")
  spawnSync("cp", [file, copy])
  if (withWal) spawnSync("cp", [`${file}-wal`, `${copy}-wal`])
  try {
    const database = new DatabaseSync(copy)
    const integrity = String(database.prepare("PRAGMA integrity_check").get()?.["integrity_check"])
    const numbers = database.prepare("SELECT n FROM t WHERE text = 'program'").all()
    const owners = database.prepare("SELECT DISTINCT text FROM t WHERE n <= ?").all(rowsAtStart)
    const atStart = Number(database.prepare("SELECT count(*) AS n FROM t WHERE n <= ?").get(rowsAtStart)?.["n"])
    database.close()
    const whose = owners.map(({ text }) => String(text)).join(", ")
    return { integrity, programs: new Set(numbers.map(({ n }) => Number(n))), atStart, whose }
  } catch (error) {
    return { integrity: String(error), programs: new Set<number>(), atStart: -1, whose: "" }
  } finally {
    spawnSync("sh", ["-c", 'rm -f "$1" "$1-wal" "$1-shm"', "rm", copy])
  }
}

const wholeProblems = (folder: string, file: string, whose: string, withWal: boolean): ReadonlyArray<string> => {
  const { atStart, integrity, whose: found } = inspect(folder, file, withWal)
  if (integrity !== "ok") return [`corrupt: ${file}: ${integrity.slice(0, 200)}`]
  return atStart === rowsAtStart && found === whose
    ? []
    : [`lost: ${file} has ${atStart} rows of ${found}, expected ${whose}`]
}

/** The main files whose contents nothing may change. */
const hashes = (place: Place) =>
  [...new Set([place.file, place.first, place.other])].map((file) => `${file} ${contentsOf(file)}`)

const differences = (before: ReadonlyArray<string>, after: ReadonlyArray<string>, what: string) => {
  const changed = [
    ...after.filter((it) => !before.includes(it)),
    ...before.filter((it) => !after.includes(it)).map((it) => `no ${it}`),
  ]
  return changed.length === 0 ? [] : [`${what}: ${changed.join(", ")}`]
}

/** What a user that was there said and did, whatever kind it is. */
interface Watched {
  readonly result: Result
  readonly acked: ReadonlyMap<number, number>
  /** When a write was acknowledged that the WAL tells of. */
  readonly lateIn: (limit: number) => number
}

/** Starts the user, changes the names at a random moment, waits for what follows, and ends it. */
const watch = async (trial: Trial, place: Place, random: Random, change: () => void): Promise<Watched> => {
  const isReplaced = trial.row.live === "replaced"
  if (trial.user === "run" || trial.user === "guard") {
    const running = command(trial.user, place.file, place.folder)
    const isReady = await heard(running, '"mode":"PASSIVE"', 1 + random(4))
    change()
    // One that goes on is watched for as long as one that must not.
    const isSaid = isReplaced && isReady && (await heard(running, "database replaced", 1, 3 * tolerated))
    if (!isReplaced && isReady) await heard(running, '"mode":"PASSIVE"', 4 + Math.ceil(tolerated / 200))
    // A session that goes on where it must not is ended, and judged for it.
    if (!isReplaced || trial.user === "guard" || !isSaid) running.kill("SIGTERM")
    const result = await endOf(running)
    const fills = linesOf(result, "paper fill").map(timeOf)
    return { result, acked: new Map(), lateIn: (limit) => fills.filter((time) => time > limit).length }
  }
  const running = startProgram(trial.user, place.file)
  const before = 20 + random(50)
  await running.until(() => running.acked.size >= before)
  change()
  const limit = Date.now() + tolerated
  await running.until(
    () =>
      running.last() > limit &&
      (!isReplaced || running.said.stderr.includes("database replaced") || running.last() > limit + tolerated),
  )
  const result = await running.end()
  return {
    result,
    acked: running.acked,
    lateIn: (after) => [...running.acked.values()].filter((time) => time > after).length,
  }
}

const live = (trial: Trial, change: Change, random: Random): Promise<Judged> =>
  inFolder(async (folder) => {
    const place = change.prepare(folder)
    const isElsewhere = trial.row.change === "twinElsewhere"
    const python = trial.user === "guard" || isElsewhere ? await openInPython(place.first, "write") : undefined
    const then = { at: 0, contents: [] as ReadonlyArray<string>, names: [] as ReadonlyArray<string> }
    const { acked, lateIn, result } = await watch(trial, place, random, () => {
      change.make(place)
      Object.assign(then, { at: Date.now(), contents: hashes(place), names: namesIn(folder) })
    })
    await python?.end()
    const problems: Array<string> = []
    if (result.hung) problems.push("hung")
    if (hasDefect({ ...result, stdout: "" }) || result.stdout.includes("run failed"))
      problems.push("a defect was not caught")
    const replaced = linesOf(result, "database replaced")
    if (trial.row.live === "goes on") {
      if (result.code !== 0) problems.push(`exit code ${result.code}`)
      if (replaced.length > 0) problems.push("a false alarm: database replaced")
      const file = isElsewhere ? place.file : place.first
      const found = inspect(folder, file, true)
      if (found.integrity !== "ok") problems.push(`corrupt: ${found.integrity.slice(0, 200)}`)
      const lost = [...acked.keys()].filter((n) => !found.programs.has(n)).length
      if (lost > 0) problems.push(`lost: ${lost} of ${acked.size} acknowledged writes`)
      return { problems, checked: acked.size, tail: tailOf(result) }
    }
    if (replaced.length === 0) problems.push("database replaced was not said")
    else if (replaced.some(({ level }) => level !== "ERROR")) problems.push("database replaced is no ERROR")
    if (result.code !== 1) problems.push(`exit code ${result.code}`)
    const late = lateIn(then.at + tolerated)
    if (late > 0) problems.push(`lost: ${late} writes acknowledged more than 2 s later`)
    problems.push(...differences(then.contents, hashes(place), "corrupt: contents changed"))
    // The engine takes its own lease away.
    const names = then.names.filter((name) => !name.endsWith("-lease"))
    problems.push(...differences(names, namesIn(folder), "names changed"))
    if (contentsOf(place.first) !== "") {
      const isOurs =
        trial.row.change === "walRemoved" || trial.row.change === "shmRemoved" || trial.row.change === "otherWal"
      problems.push(...wholeProblems(folder, place.first, isOurs ? "app" : "other", false))
    }
    return { problems, checked: acked.size, tail: tailOf(result) }
  })

/** Runs what comes afterwards to its end; `answered` when it did what it was asked. */
const runAfter = async (user: Starter, place: Place): Promise<Result & { readonly answered: boolean }> => {
  if (user === "thread durable" || user === "inline normal") {
    const running = startProgram(user, place.file)
    await running.until(() => running.acked.size >= 20 || running.failures() >= 20)
    const answered = running.acked.size > 0
    return { ...(await running.end()), answered }
  }
  const running = command(user, place.file, place.folder, 1)
  if (user === "guard") {
    await heard(running, '"mode":"PASSIVE"', 1, 3 * tolerated)
    running.kill("SIGTERM") // nothing happens to one that has ended
  }
  const result = await endOf(running)
  return { ...result, answered: result.code === 0 || (user === "doctor" && result.code === 2) }
}

/** A refusal is one line: of a command that answers once, on standard error; of the others, the only ERROR of their log. */
const refusalProblems = (user: Starter, { code, log, stderr }: Result): ReadonlyArray<string> => {
  const lines = stderr.split("\n").filter((line) => line.startsWith(`seawall ${user}: `))
  const errors = log.filter(({ level }) => level === "ERROR" || level === "FATAL")
  const said = user === "run" || user === "guard" ? errors.length : lines.length
  if (user === "thread durable" || user === "inline normal") return code === 1 ? [] : [`not refused: exit code ${code}`]
  if (code === 0 || code === null) return [`not refused: exit code ${code}`]
  return said === 1 ? [] : [`the refusal has ${said} lines`]
}

const isRefusal = (must: After, { answered }: { readonly answered: boolean }) =>
  must === "refuses" || must === "refuses it" || (must === "refuses or answers" && !answered)

const after = (trial: Trial, change: Change, random: Random): Promise<Judged> =>
  inFolder(async (folder) => {
    const { row } = trial
    const user = trial.user as Starter
    const must = row.but?.[user] ?? row.after!
    const place = change.prepare(folder)
    const backup = path.join(folder, "backup.db")
    const made = new DatabaseSync(backup)
    made.exec(`CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT);
      WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ${rowsAtStart}) INSERT INTO t SELECT n, 'backup' FROM i`)
    made.close()
    const python = change.isAtRest === true ? undefined : await openInPython(place.first, "idle")
    for (let rows = random(5); rows > 0; rows--) await python?.check()
    change.make(place)
    const [contents, names] = [hashes(place), namesIn(folder)]
    const result = await runAfter(user, place)
    const problems: Array<string> = []
    if (result.hung) problems.push("hung")
    if (hasDefect({ ...result, stdout: "" })) problems.push("a defect was not caught")
    const isNamed = python !== undefined && new RegExp(`\\b${python.pid}\\b`).test(`${result.stdout}${result.stderr}`)
    if ((must === "refuses it" || must === "names it" || must === "is alarmed") && !isNamed)
      problems.push("the program is not named")
    if (must === "answers" && isNamed) problems.push("a program is named that has nothing to do with it")
    if (must === "is alarmed" && result.code !== 65) problems.push(`exit code ${result.code} instead of 65`)
    if (must === "answers" && !result.answered) problems.push(`no answer: exit code ${result.code}`)
    if (isRefusal(must, result)) problems.push(...refusalProblems(user, result))
    const changes = !isRefusal(must, result) && !(must === "names it" || must === "is alarmed")
    if (changes && result.answered) problems.push(...answerProblems(user, row, place, names))
    else {
      problems.push(...differences(contents, hashes(place), "corrupt: contents changed"))
      problems.push(...differences(names, namesIn(folder), "names changed"))
    }
    const said = await python?.check()
    if (said !== undefined && !said.startsWith("ok ")) problems.push(`corrupt: the program from before meets ${said}`)
    if (said !== undefined && Number(said.slice("ok ".length)) < rowsOfPython + 1)
      problems.push(`lost: rows of the program from before, it sees ${said}`)
    await python?.end()
    return { problems, checked: rowsOfPython, tail: tailOf(result) }
  })

/** What is in the database, or in the copy of it, after an answer. */
const answerProblems = (
  user: Starter,
  { whose = "app" }: Row,
  place: Place,
  names: ReadonlyArray<string>,
): ReadonlyArray<string> => {
  const created = namesIn(place.folder).filter((name) => !names.includes(name))
  const isAllowed = (name: string) =>
    user === "backup" ? name === "copy.db" : user === "restore" && name.includes(".replaced.")
  const unexpected = created.filter((name) => !isAllowed(name))
  const found = {
    file: user === "backup" ? path.join(place.folder, "copy.db") : place.file,
    whose: user === "restore" ? "backup" : whose,
  }
  return [
    ...(unexpected.length > 0 ? [`created: ${unexpected.join(", ")}`] : []),
    ...wholeProblems(place.folder, found.file, found.whose, false),
  ]
}

/** All rows of a change, or of all of them. */
export const trialsOf = (row: Row): ReadonlyArray<Trial> => [
  ...(row.live === undefined ? [] : longUsers.map((user) => ({ row, when: "live" as const, user }))),
  ...(row.after === undefined ? [] : starters.map((user) => ({ row, when: "after" as const, user }))),
]

export const nameOf = ({ row, user, when }: Trial) =>
  `${changes[row.change].name}, ${when === "live" ? "under" : "before"} ${user}`

/** One row once. A known gap is said in `gaps`, and is no failure. */
export const tryName = async (trial: Trial, seed: number, gaps: Array<string>): Promise<Verdict> => {
  const { row, user, when } = trial
  const judged = await (when === "live" ? live : after)(trial, changes[row.change], randomOf(seed))
  const { checked, problems, tail } = judged
  const gap = row.gap?.[`${when} ${user}`]
  const verdict = { ...nothing, runs: 1, states: 1, checked }
  if (gap !== undefined) {
    gaps.push(
      problems.length === 0
        ? `closed gap: ${nameOf(trial)} (${gap})`
        : `known gap: ${nameOf(trial)}: ${gap} (${problems.join("; ")})`,
    )
    return verdict
  }
  const count = (word: string) => problems.filter((problem) => problem.startsWith(word)).length
  return {
    ...verdict,
    lost: count("lost"),
    corrupt: count("corrupt"),
    hung: count("hung"),
    failures: problems.length === 0 ? [] : [`${problems.join("; ")}: ${nameOf(trial)}, names --seed ${seed}\n${tail}`],
  }
}

/** So many rounds of all rows of a change. */
export const names = async (
  row: Row,
  rounds: number,
  seed: number,
): Promise<Verdict & { readonly figures?: string }> => {
  const gaps: Array<string> = []
  let all = nothing
  for (let round = 0; round < rounds; round++) {
    all = plus(all, await twoAtATime(trialsOf(row), (trial) => tryName(trial, seed + round, gaps)))
  }
  return gaps.length === 0 ? all : { ...all, figures: gaps.toSorted().join("\n") }
}

export { rows as table }

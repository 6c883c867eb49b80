/** The database that crashes are tried on: how it is made, and what must be true of it afterwards, whatever happened. */
import { createHash } from "node:crypto"
import { DatabaseSync } from "node:sqlite"

export const create = (file: string) => {
  const database = new DatabaseSync(file)
  database.exec(`PRAGMA journal_mode = WAL;
    CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT NOT NULL);
    CREATE TABLE total (n INTEGER NOT NULL);
    INSERT INTO total VALUES (0)`)
  database.close()
}

export interface Found {
  /** What `integrity_check` says, or why it could not be asked. */
  readonly integrity: string
  /** How many writes are there: 1 to this number, or -1 when that is not so. */
  readonly writes: number
}

const isWhole = (n: number, text: string) => {
  const hash = createHash("sha256").update(`${n}`).digest("hex")
  return text.length % hash.length === 0 && text === hash.repeat(text.length / hash.length)
}

/** So long another process may recover, or close, a database that is looked at. Milliseconds. */
const timeout = 5000

/** Opens it as the next start would, which recovers the WAL, and looks at everything in one snapshot. */
export const inspect = (file: string): Found => {
  try {
    const database = new DatabaseSync(file, { timeout })
    try {
      database.exec("BEGIN")
      const integrity = database
        .prepare("PRAGMA integrity_check")
        .all()
        .map((row) => String(row["integrity_check"]))
        .join("; ")
      const total = Number(database.prepare("SELECT n FROM total").get()?.["n"])
      let writes = 0
      for (const row of database.prepare("SELECT n, text FROM t ORDER BY n").iterate()) {
        if (row["n"] !== writes + 1 || !isWhole(writes + 1, String(row["text"]))) return { integrity, writes: -1 }
        writes++
      }
      return { integrity, writes: total === writes ? total : -1 }
    } finally {
      database.close()
    }
  } catch (error) {
    return { integrity: error instanceof Error ? error.message : String(error), writes: -1 }
  }
}

/** What a case of the proof came to. `states` are disk states or databases that were opened and looked at. */
export interface Verdict {
  readonly runs: number
  readonly states: number
  /** Acknowledged writes that had to be there, counted for each state. */
  readonly checked: number
  readonly lost: number
  readonly corrupt: number
  readonly hung: number
  /** How to repeat what failed. */
  readonly failures: ReadonlyArray<string>
}

export const nothing: Verdict = { runs: 0, states: 0, checked: 0, lost: 0, corrupt: 0, hung: 0, failures: [] }

export const plus = (a: Verdict, b: Verdict): Verdict => ({
  runs: a.runs + b.runs,
  states: a.states + b.states,
  checked: a.checked + b.checked,
  lost: a.lost + b.lost,
  corrupt: a.corrupt + b.corrupt,
  hung: a.hung + b.hung,
  failures: [...a.failures, ...b.failures],
})

/** Judges one state: nothing torn, no gap, and everything up to `promised` there. */
export const judge = (file: string, promised: number, how: string): Verdict => {
  const { integrity, writes } = inspect(file)
  const corrupt = integrity === "ok" && writes >= 0 ? 0 : 1
  const lost = corrupt === 1 ? 0 : Math.max(0, promised - writes)
  const problem = corrupt === 1 ? `corrupt (${integrity.slice(0, 200)})` : `${lost} of ${promised} lost`
  return {
    ...nothing,
    states: 1,
    checked: promised,
    lost,
    corrupt,
    failures: corrupt + lost > 0 ? [`${problem}: ${how}`] : [],
  }
}

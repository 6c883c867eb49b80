/**
 * What must happen when the names of a database change: for each change, what each user of the database must do. A row that
 * today's code does not pass has a `gap`: it is printed, and fails nothing.
 */
import type { ChangeName } from "./NameChanges.ts"

/** Programs that write, or guard, while the change is made. */
export const longUsers = ["run", "guard", "thread durable", "thread normal", "inline durable", "inline normal"] as const
export type LongUser = (typeof longUsers)[number]

/** Commands and programs that begin after the change, beside a program that has the database open from before. */
export const starters = [
  "run",
  "guard",
  "checkpoint",
  "backup",
  "restore",
  "status",
  "doctor",
  "thread durable",
  "inline normal",
] as const
export type Starter = (typeof starters)[number]

/**
 * What a user does that is there while the change is made:
 * - `replaced`: ERROR `database replaced`, no write acknowledged 2 s later, exit code 1, nothing of what has the names now touched.
 * - `goes on`: nothing is said, and everything that was acknowledged is there.
 */
export type Live = "replaced" | "goes on"

/**
 * What a user does that comes afterwards:
 * - `refuses`: one line, an exit code other than 0, nothing created and nothing changed; `refuses it`: with the pid of the
 *   program that has the database open from before.
 * - `names it`: an answer, or a refusal, with that pid; `is alarmed`: the same, with exit code 65.
 * - `answers`: right data, exit code 0 (doctor: or 2), and the program from before is not named.
 * - `refuses or answers`: never something between.
 */
export type After = "refuses" | "refuses it" | "names it" | "is alarmed" | "answers" | "refuses or answers"

export interface Row {
  readonly change: ChangeName
  /** Of all users that are there while the change is made; none are when it says nothing. */
  readonly live?: Live
  /** Of all that come afterwards, and of single ones among them. */
  readonly after?: After
  readonly but?: Partial<Record<Starter, After>>
  /** Whose rows the database of that name has afterwards. */
  readonly whose?: "app" | "other"
  /** What today's code does instead. */
  readonly gap?: Partial<Record<`${"live" | "after"} ${Starter | LongUser}`, string>>
}

/** What is looked at by commands that only look. */
const looks = (doctor: After, status: After = "names it") => ({ status, doctor })

/** The same gap of several users. */
const each = <A extends LongUser | Starter, W extends "live" | "after">(
  when: W,
  users: ReadonlyArray<A>,
  gap: string,
) => Object.fromEntries(users.map((user) => [`${when} ${user}`, gap])) as Record<`${W} ${A}`, string>

/** What writes by itself once it has opened a database. */
const programs = ["run", "thread durable", "inline normal"] as const
const writers = [...programs, "guard", "checkpoint"] as const

const notAlarmed = { "after doctor": "doctor names the program and ends with 0 or 2" }

export const rows: ReadonlyArray<Row> = [
  {
    change: "renamed",
    live: "replaced",
    after: "refuses it",
    but: looks("is alarmed"),
  },
  {
    change: "removed",
    live: "replaced",
    after: "refuses",
    but: { restore: "refuses it", ...looks("names it") },
  },
  {
    change: "remade",
    live: "replaced",
    after: "refuses or answers",
    but: looks("is alarmed"),
    whose: "other",
  },
  {
    change: "hardLink",
    after: "refuses",
    but: { restore: "refuses it", ...looks("is alarmed") },
  },
  { change: "linked", live: "goes on" },
  { change: "symbolicLink", live: "goes on", after: "answers", whose: "other" },
  {
    change: "mountedOver",
    live: "replaced",
    after: "refuses", // the mount itself is the reason, and the program need not be named
    but: { restore: "refuses it", ...looks("is alarmed") },
    gap: notAlarmed,
  },
  { change: "mountedAlone", after: "refuses", but: looks("names it") },
  {
    change: "walRemoved",
    live: "replaced",
    after: "refuses it",
    but: looks("is alarmed"),
  },
  {
    change: "shmRemoved",
    live: "replaced",
    after: "refuses it",
    but: looks("is alarmed"),
  },
  {
    change: "otherWal",
    live: "replaced",
    after: "refuses",
    but: { restore: "answers", status: "refuses or answers", doctor: "refuses or answers" },
    gap: each("after", [...writers, "backup"], "a WAL has no mark of its database, and SQLite copies it into any"),
  },
  {
    change: "twinMounted",
    live: "replaced",
    after: "refuses or answers",
    but: looks("is alarmed"),
    whose: "other",
  },
  { change: "twinElsewhere", live: "goes on", after: "answers", whose: "other" },
]

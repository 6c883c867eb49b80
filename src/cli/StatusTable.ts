/**
 * A `Status` for eyes: one line for each thing an operator asks about, in plain words. Unknown values are not shown, but
 * why the state of an engine was not read is.
 */
import { DateTime, Option } from "effect"
import * as os from "node:os"
import { duration, size } from "../facts/Format.ts"
import { clean } from "../files/Printable.ts"
import { nameOf, shortCommand } from "../processes/ProcessName.ts"
import { isReading, type OpenedBy, type Status } from "../status/DatabaseStatus.ts"
import type { ServerStatus } from "../status/ServerStatus.ts"
import { table } from "./OneShot.ts"

const count = (n: number) => n.toLocaleString("en-US")

const countOf = (n: number, noun: string) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`

const seconds = (iso: string) => iso.replace(/\.\d+Z$/, "Z")

const millisOf = (iso: string) => Option.map(DateTime.make(iso), DateTime.toEpochMillis)

/** The rows of an engine, wherever its books are. */
type Engine = Pick<Status, keyof ServerStatus & keyof Status>

const ago = (at: string, { looked_at }: Pick<Status, "looked_at">) =>
  Option.match(Option.all([millisOf(at), millisOf(looked_at)]), {
    onNone: () => clean(at),
    onSome: ([then, now]) => `${seconds(at)} (${duration(now - then)} ago)`,
  })

const known = (...parts: ReadonlyArray<Option.Option<string>>) =>
  parts.flatMap((part) => Option.toArray(part)).join("; ")

const some = <A>(value: Option.Option<A>, show: (value: A) => string) => Option.map(value, show)

const database = (status: Status) =>
  known(
    Option.some(size(status.database_bytes)),
    some(status.journal_mode, (mode) => (mode === "wal" ? "WAL mode" : "not in WAL mode")),
    some(
      Option.all([status.pages, status.page_bytes]),
      ([pages, bytes]) => `${countOf(pages, "page")} of ${bytes} bytes`,
    ),
    some(
      Option.filter(status.free_pages, (free) => free > 0),
      (free) => `${count(free)} of them free`,
    ),
    some(
      Option.filter(status.user_version, (version) => version !== 0),
      (version) => `user_version ${version}`,
    ),
  )

const wal = (status: Status) =>
  known(
    some(status.log_frames, (frames) =>
      Option.match(status.log_commits, {
        onNone: () => countOf(frames, "frame"),
        onSome: (commits) =>
          `left behind: ${countOf(frames, "frame")} of ${countOf(commits, "commit")} would be recovered`,
      }),
    ),
    some(
      Option.filter(status.backlog_frames, () => Option.isNone(status.log_commits)),
      (frames) => `${count(frames)} not yet checkpointed`,
    ),
    Option.some(status.log_bytes === 0 ? "no bytes" : size(status.log_bytes)),
    some(
      Option.filter(status.log_end, (end) => end !== "EndOfFile" && end !== "EarlierLog" && end !== "Empty"),
      (end) => `it ends badly (${end})`,
    ),
  )

/** SQLite keeps no time of a checkpoint. Each of these three says a part. */
const checkpoint = (status: Status) =>
  known(
    some(
      Option.all([status.checkpointed_frames, status.log_frames]),
      ([copied, frames]) => `${count(copied)} of ${countOf(frames, "frame")} copied`,
    ),
    some(status.database_changed_at, (at) => `database file last changed ${ago(at, status)}`),
    some(status.checkpoint_sequence, (times) => `WAL restarted ${countOf(times, "time")}`),
  )

const otherThan: Partial<Readonly<Record<OpenedBy["has"], string>>> = {
  deleted: "a DELETED file of this name",
  another: "ANOTHER file of this name",
  elsewhere: "by another name, ANOTHER WAL",
}

const opener = (it: OpenedBy, status: Status) => [
  `pid ${it.pid}`,
  otherThan[it.has] ?? (it.locks.length === 0 ? "no lock held" : it.locks.join(" ")),
  known(
    some(it.process_started_at, (at) => `running since ${ago(at, status)}`),
    some(
      Option.filter(it.reading_since, () => isReading(it)),
      (at) => `seen reading since ${ago(at, status)}`,
    ),
    some(it.writing_since, (at) => `seen writing since ${ago(at, status)}`),
  ),
  shortCommand(clean(it.command)),
]

const openers = (status: Status): ReadonlyArray<string> =>
  Option.match(status.opened_by, {
    onNone: () => ["cannot be seen on this system"],
    onSome: (all) =>
      all.length === 0 ? ["no process that can be seen"] : table(all.map((it) => opener(it, status))).split("\n"),
  })

const engine = (status: Status) => {
  const isRunning = Option.contains(status.engine_status, "RUNNING")
  const isLost = isRunning && Option.exists(status.opened_by, (all) => all.length === 0)
  const lease = Option.getOrUndefined(status.engine_lease)
  const holder = Option.match(status.engine_holder, {
    onNone: () => "an engine that starts",
    onSome: (it) =>
      `${clean(nameOf(it))}${it.host === os.hostname() ? "" : ` on ${clean(it.host)}`}, since ${ago(it.since, status)}`,
  })
  const beside = lease === "held" ? `; an engine runs on it: ${holder}` : ""
  switch (status.engine_state) {
    case "absent":
      return `none: no engine keeps its state here${beside}`
    case "not_read":
      return `not read: ${clean(Option.getOrElse(status.engine_state_reason, () => "unknown"))}${beside}`
    case "read":
      if (isRunning && lease === "held") return `RUNNING: ${holder}`
      if (isRunning && lease === "left") return "RUNNING, but no engine runs: it crashed, and the next start goes on"
      return `${clean(Option.getOrElse(status.engine_status, () => "never ran"))}${isLost ? ", but no process is seen to have the database open" : ""}${beside}`
  }
}

const sessionEnd = (status: Engine) => {
  switch (Option.getOrUndefined(status.session_state)) {
    case "closed":
      return some(status.session_ended_at, (at) => `ended ${ago(at, status)}`)
    case "not_closed":
      return Option.some("not closed")
    default:
      return Option.some("no end yet")
  }
}

const worth = (status: Engine) =>
  some(
    Option.all([status.session_starting_value_rlusd, status.session_ending_value_rlusd]),
    ([start, end]) => `worth ${start.toFixed(2)} -> ${end.toFixed(2)} RLUSD`,
  )

const session = (status: Engine) =>
  some(status.session_id, (id) =>
    known(
      Option.some(`${id}${Option.match(status.parent_session_id, { onNone: () => "", onSome: (it) => ` of ${it}` })}`),
      some(status.session_started_at, (at) => `started ${ago(at, status)}`),
      sessionEnd(status),
      some(status.session_halt_reason, clean),
      worth(status),
    ),
  )

const haltReason = (status: Engine) =>
  some(status.halt_reason, (reason) => known(Option.some(clean(reason)), some(status.halt_detail, clean)))

const optional = (name: string, value: Option.Option<string>) =>
  Option.match(value, { onNone: () => [], onSome: (text) => [[name, text]] })

/** The stored values beside its status. */
const stored = (status: Engine) => [
  ...optional("halt reason", haltReason(status)),
  ...optional("last session", session(status)),
]

export const render = (status: Status): string => {
  const [first = "", ...others] = openers(status)
  return table([
    ["file", clean(status.file)],
    ["database", database(status)],
    ["WAL", wal(status)],
    ["last checkpoint", checkpoint(status)],
    ["open in", first],
    ...others.map((line) => ["", line]),
    ["engine", engine(status)],
    ...stored(status),
  ])
}

/** An engine on a server, in the same way. */
export const renderServer = (status: ServerStatus): string =>
  table([
    ["server", clean(status.where)],
    [
      "leads",
      Option.match(status.leader, {
        onNone: () => "none",
        onSome: ({ command, heard_seconds, host, pid, since }) =>
          `${clean(host)}:${pid} since ${ago(since, status)}; heard ${heard_seconds.toFixed(1)} s ago; ${shortCommand(clean(command))}`,
      }),
    ],
    ["stands by", status.standbys.length === 0 ? "none" : status.standbys.map(clean).join(", ")],
    ["engine", clean(Option.getOrElse(status.engine_status, () => "never ran"))],
    ...stored(status),
  ])

/** The columns of `row`. */
export const head = ["DATABASE", "WAL", "NOT CHECKPOINTED", "OPEN IN", "ENGINE"]

/** A process that has another file open comes first. */
const openIn = ({ opened_by }: Status) =>
  Option.match(opened_by, {
    onNone: () => "unknown",
    onSome: (all) => {
      const [first, ...others] = all.toSorted(
        (one, other) => Number(other.has in otherThan) - Number(one.has in otherThan),
      )
      if (first === undefined) return "-"
      const more = otherThan[first.has]
      return `${nameOf(first, ...(more === undefined ? [] : [more]))}${others.length === 0 ? "" : ` and ${others.length} more`}`
    },
  })

const engineInShort = (status: Status) => {
  const lease = Option.getOrUndefined(status.engine_lease)
  if (lease === "held") return "RUNNING"
  if (status.engine_state !== "read") return status.engine_state === "absent" ? "-" : "not read"
  const stored = Option.getOrElse(status.engine_status, () => "never ran")
  if (stored !== "RUNNING") return known(Option.some(stored), status.halt_reason)
  return lease === "left" ? "crashed" : "RUNNING, takes no lease"
}

/** One of many: what an operator looks for in a fleet. */
export const row = (status: Status): ReadonlyArray<string> =>
  [
    status.file,
    size(status.log_bytes),
    Option.match(status.backlog_frames, { onNone: () => "-", onSome: String }),
    openIn(status),
    engineInShort(status),
  ].map(clean)

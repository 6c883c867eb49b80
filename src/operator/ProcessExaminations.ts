/**
 * Who else has the database open, who of them keeps its log, and who checkpoints it beside a guard. Linux shows it; the
 * settings of another program's connection it does not show, so what only those could tell is said to be unknown.
 */
import { Effect, type FileSystem, Option, Schedule } from "effect"
import * as os from "node:os"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import { nameOf, namesOf, type Process } from "../processes/Processes.ts"
import * as LogIndex from "../sqlite/outside/LogIndex.ts"
import * as EngineLease from "./EngineLease.ts"
import { type Examination, needsLinux, type Seen } from "./Examination.ts"
import { type Facts, processesOf, validIndex } from "./Facts.ts"
import type { Finding } from "./Finding.ts"
import { command } from "../sqlite/ShellCommand.ts"
import { count } from "./Wording.ts"

const nothing = (seen: string): Seen => ({ seen, findings: [] })
const pidsOf = (processes: ReadonlyArray<Process>) => processes.map(({ pid }) => pid)

const openElsewhere: Examination<never> = {
  subject: "open-elsewhere",
  examine: Effect.fnUntraced(function* ({ file, lease, processes }) {
    const engine = EngineLease.engineOf(lease)
    if (Option.isNone(processes) && Option.isNone(engine)) return yield* needsLinux
    const them = Option.getOrElse(processes, () => [])
    const seen =
      them.length === 0
        ? "in no process that this user and this container see"
        : count(them.length, "process", "processes")
    if (them.length === 0 && Option.isNone(engine)) return nothing(seen)
    const said = [
      ...(them.length === 0 ? [] : [`the database is open in ${namesOf(them)}`]),
      ...Option.toArray(Option.map(engine, (it) => `an engine runs on it: ${it}`)),
    ]
    return {
      seen: [seen, ...Option.toArray(Option.map(engine, () => "an engine runs on it"))].join("; "),
      findings: [
        {
          severity: "notice",
          message: said.join("; "),
          evidence: {
            pids: pidsOf(them),
            ...Option.match(EngineLease.holderOf(lease), {
              onNone: () => ({}),
              onSome: ({ host, pid, since }) => ({ engine_pid: pid, engine_host: host, engine_since: since }),
            }),
            locks: them.flatMap(({ locks, pid }) => locks.map((lock) => `${pid}:${lock}`)),
            running_since_ms: them.flatMap(({ runningSince }) => Option.toArray(runningSince)),
          },
          remedy: command("seawall status", file),
        },
      ],
    }
  }),
}

/**
 * So many looks, so far apart: a statement that ends by itself mostly ends within their second. One look more than the
 * first would not do, because who writes all the time may hold the same lock at the same frame by chance.
 */
const looks = 10
const lookInterval = "100 millis"

/** The engine that runs, where it has a pid of this machine. */
const enginePid = ({ lease }: Pick<Facts, "lease">) =>
  Option.map(
    Option.filter(EngineLease.holderOf(lease), ({ host }) => host === os.hostname()),
    ({ pid }) => pid,
  )

interface Hold {
  readonly pid: number
  readonly name: string
  readonly slot: number
  /** None in slot 0, whose readers read the database file alone, and keep every checkpoint from it. */
  readonly mark: Option.Option<number>
}

const holdsOf = (them: ReadonlyArray<Process>, index: LogIndex.LogIndex) =>
  them.flatMap(({ command, locks, pid }) =>
    locks.flatMap((lock): ReadonlyArray<Hold> => {
      if (!lock.startsWith("read")) return []
      const slot = Number(lock.slice("read".length))
      const name = nameOf({ command, pid })
      return [{ pid, name, slot, mark: slot === 0 ? Option.none() : (index.readMarks[slot] ?? Option.none()) }]
    }),
  )

const isSame = (one: Hold) => (other: Hold) =>
  one.pid === other.pid && one.slot === other.slot && Option.getOrNull(one.mark) === Option.getOrNull(other.mark)

/**
 * What the readers that stayed keep from being copied, or at least the WAL from starting again at its beginning. An engine that runs is not to be
 * killed for it.
 */
export const pins = (
  holds: ReadonlyArray<Hold>,
  index: LogIndex.LogIndex,
  engine = Option.none<number>(),
): ReadonlyArray<Omit<Finding, "subject">> =>
  holds.map(({ mark, name, pid, slot }) => {
    const kept = Option.match(mark, {
      onNone: () => LogIndex.framesNotCheckpointed(index),
      onSome: (at) => Math.max(0, index.mxFrame - at),
    })
    return {
      severity: kept > 0 ? "warning" : "notice",
      message:
        kept > 0
          ? `${name} holds a snapshot and pins the log: ${count(kept, "frame")} of ${index.mxFrame} cannot be checkpointed`
          : `${name} holds a snapshot; it is the newest, and the log grows from the next commit on`,
      evidence: {
        pid,
        read_slot: slot,
        ...Option.match(mark, { onNone: () => ({}), onSome: (at) => ({ snapshot_frame: at }) }),
        log_frames: index.mxFrame,
        kept_frames: kept,
      },
      remedy: Option.contains(engine, pid)
        ? "in the program of the engine: end the statement or the transaction that reads"
        : `kill ${pid}`,
    }
  })

const pinnedLog: Examination<FileSystem.FileSystem> = {
  subject: "pinned-log",
  examine: Effect.fnUntraced(function* (facts: Facts) {
    if (Option.isNone(facts.processes)) return yield* needsLinux
    const index = validIndex(facts)
    if (Option.isNone(index)) {
      const read = yield* Effect.fromResult(facts.index)
      return nothing(Option.isNone(read) ? "no reader, for there is no log" : "no reader, for the log is not in use")
    }
    const file = DatabaseFile.resolve(facts.file)
    let held = holdsOf(facts.processes.value, index.value)
    let last = index.value
    for (let look = 0; look < looks && held.length > 0; look++) {
      yield* Effect.sleep(lookInterval)
      const later = yield* LogIndex.read(facts.target.shm)
      if (Option.isNone(later)) return nothing("no reader, for the log is gone")
      last = later.value
      const now = holdsOf(
        Option.getOrElse(yield* processesOf(file), () => []),
        last,
      )
      held = held.filter((hold) => now.some(isSame(hold)))
    }
    if (held.length === 0) return nothing("no reader held its snapshot for a second")
    return { seen: `${count(held.length, "snapshot")} held for a second`, findings: pins(held, last, enginePid(facts)) }
  }),
}

/** `seawall run` and `seawall guard`, installed or from the sources, and an engine. A guard inside another program is not seen. */
export const isGuard = ({ pid, words }: Pick<Process, "pid" | "words">, engine = Option.none<number>()) =>
  Option.contains(engine, pid) ||
  words.some(
    (word, at) =>
      /(?:^|\/)(?:seawall|main\.[jt]s)$/.test(word) && (words[at + 1] === "run" || words[at + 1] === "guard"),
  )

/** A checkpoint takes milliseconds, and may not be seen at all. */
const again = Schedule.max([Schedule.recurs(looks - 1), Schedule.spaced(lookInterval)])

/** Whether it is on is a setting of the other program's connection. The checkpointer's lock in its hands is proof. */
const autocheckpoint: Examination<FileSystem.FileSystem> = {
  subject: "autocheckpoint",
  examine: Effect.fnUntraced(function* (facts: Facts) {
    const { file, processes } = facts
    if (Option.isNone(processes)) return yield* needsLinux
    const engine = enginePid(facts)
    const guards = processes.value.filter((it) => isGuard(it, engine))
    if (guards.length === 0) return nothing("no guard has the database open")
    const others = processes.value.filter((it) => !isGuard(it, engine) && it.mayWrite)
    if (others.length === 0) return nothing("no other process may write beside the guard")
    const look = Effect.map(processesOf(DatabaseFile.resolve(file)), (seen) =>
      pidsOf(
        Option.getOrElse(seen, () => []).filter(
          ({ locks, pid }) => locks.includes("checkpoint") && pidsOf(others).includes(pid),
        ),
      ),
    )
    const pids = yield* Effect.repeat(look, { schedule: again, until: (found) => found.length > 0 })
    const caught = others.filter(({ pid }) => pids.includes(pid))
    const suspects = caught.length > 0 ? caught : others
    return {
      seen: `${count(others.length, "process", "processes")} beside the guard may write`,
      findings: [
        {
          severity: caught.length > 0 ? "warning" : "notice",
          message:
            caught.length > 0
              ? `${namesOf(caught)} checkpoints beside the guard`
              : `whether ${namesOf(others)} checkpoints beside the guard cannot be seen from outside`,
          evidence: { guard_pids: pidsOf(guards), pids: pidsOf(suspects) },
          remedy: "in the other program: PRAGMA wal_autocheckpoint = 0",
        },
      ],
    }
  }),
}

export const examinations = [openElsewhere, pinnedLog, autocheckpoint]

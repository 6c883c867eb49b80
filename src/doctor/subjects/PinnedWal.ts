/** Readers that stay, and keep the WAL from being copied or from starting again at its beginning. */
import { Effect, Option } from "effect"
import { processesOf, valid } from "../../facts/Facts.ts"
import { enginePid } from "../../facts/EngineLease.ts"
import { count } from "../../facts/Format.ts"
import { nameOf } from "../../processes/ProcessName.ts"
import type { Process } from "../../processes/Processes.ts"
import * as WalIndex from "../../sqlite/outside/WalIndex.ts"
import { type Found, make, nothing } from "../Examination.ts"
import { needsLinux } from "../NotExamined.ts"
import { lookInterval, looks } from "../Looks.ts"

interface Hold {
  readonly pid: number
  readonly name: string
  readonly slot: number
  /** None in slot 0, whose readers read the database file alone, and keep every checkpoint from it. */
  readonly mark: Option.Option<number>
}

const holdsOf = (them: ReadonlyArray<Process>, index: WalIndex.WalIndex) =>
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
  index: WalIndex.WalIndex,
  engine = Option.none<number>(),
): ReadonlyArray<Found> =>
  holds.map(({ mark, name, pid, slot }) => {
    const kept = Option.match(mark, {
      onNone: () => WalIndex.framesNotCheckpointed(index),
      onSome: (at) => Math.max(0, index.mxFrame - at),
    })
    return {
      severity: kept > 0 ? "warning" : "notice",
      message:
        kept > 0
          ? `${name} holds a snapshot and pins the WAL: ${count(kept, "frame")} of ${index.mxFrame} cannot be checkpointed`
          : `${name} holds a snapshot; it is the newest, and the WAL grows from the next commit on`,
      evidence: {
        pid,
        read_slot: slot,
        ...Option.match(mark, { onNone: () => ({}), onSome: (at) => ({ snapshot_frame: at }) }),
        log_frames: index.mxFrame,
        kept_frames: kept,
      },
      remedy: Option.contains(engine, pid)
        ? "in the program of the engine: end the statement or the transaction that reads"
        : `in ${name}: end the transaction or the statement that reads, or stop it: kill ${pid}`,
    }
  })

export const pinnedWal = make({
  subject: "pinned-wal",
  description: "readers that pin the WAL",
  examine: Effect.fnUntraced(function* (facts) {
    if (Option.isNone(facts.processes)) return yield* needsLinux
    const index = valid(facts.index)
    if (Option.isNone(index)) {
      const read = yield* Effect.fromResult(facts.index)
      return nothing(Option.isNone(read) ? "no reader, for there is no WAL" : "no reader, for the WAL is not in use")
    }
    let held = holdsOf(facts.processes.value, index.value)
    let last = index.value
    for (let look = 0; look < looks && held.length > 0; look++) {
      yield* Effect.sleep(lookInterval)
      const later = yield* WalIndex.read(facts.target.shm)
      if (Option.isNone(later)) return nothing("no reader, for the WAL is gone")
      last = later.value
      const now = holdsOf(
        Option.getOrElse(yield* processesOf(facts.target), () => []),
        last,
      )
      held = held.filter((hold) => now.some(isSame(hold)))
    }
    if (held.length === 0) return nothing("no reader held its snapshot for a second")
    return {
      seen: `${count(held.length, "snapshot")} held for a second`,
      findings: pins(held, last, enginePid(facts.lease)),
    }
  }),
})

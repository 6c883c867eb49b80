/**
 * Notices what is written to the WAL by others, another process or a connection whose commits are not seen here. What it sees
 * counts as commits from then on, up to a tenth of a second after they were made.
 *
 * Ten times a second it asks the system whether the WAL was written (`fstat`, a microsecond), so that hundreds of idle databases
 * cost next to nothing; only then, and for a second after that, it looks at the WAL itself (`NOOP`: no lock, but a statement on
 * the connection). `LongWal` judges what it sees.
 */
import { Clock, Duration, Effect, Option, Ref } from "effect"
import { constVoid } from "effect/Function"
import type { Database } from "../sqlite/Database.ts"
import { isSameStamp, type Stamp } from "../sqlite/LogSync.ts"
import * as Pulse from "../sqlite/Pulse.ts"
import type { WalFrames } from "./Checkpoint.ts"
import type { GuardedCheckpoint } from "./GuardedCheckpoint.ts"
import * as LongWal from "./LongWal.ts"

const beat = Duration.millis(100)

/**
 * How many looks follow a write: a second of them. A write within the same tick of the system's clock, 4 ms, may change nothing
 * that the system tells, and whether the WAL grows needs more than one look.
 */
const looksAfterWrite = 10

/** Beats between two looks at a WAL that is not written: another process may copy it. Ten seconds are nothing to a disk. */
const beatsAtRest = 100

export interface ForeignWritersOptions {
  readonly database: Database["Service"]
  readonly checkpoint: GuardedCheckpoint
  /** The bound of the WAL; 0 = none. */
  readonly maxFrames: number
}

/** Says, beat by beat, when a look is due, to one waiter. A beat while nothing waits asks nothing. */
const makeDue = Effect.fnUntraced(function* (stampNow: () => Stamp | undefined) {
  let stamp: Stamp | undefined
  let looksLeft = 0
  let beatsToLook = 0
  let wake = constVoid
  yield* Pulse.every(beat, () => {
    if (wake === constVoid) return
    // Asked before the look: what is written meanwhile is seen at the next beat.
    const now = stampNow()
    if (!isSameStamp(now, stamp)) looksLeft = looksAfterWrite
    stamp = now
    beatsToLook--
    if (looksLeft > 0) looksLeft--
    else if (beatsToLook > 0) return
    beatsToLook = beatsAtRest
    wake()
  })
  const wait = Effect.callback<void>((resume) => {
    wake = () => {
      wake = constVoid
      resume(Effect.void)
    }
    return Effect.sync(() => {
      wake = constVoid
    })
  })
  return {
    wait,
    /** The look saw nothing, as the connection was not free: the next beat is due, too. */
    again: () => {
      looksLeft = Math.max(looksLeft, 1)
    },
  }
})

/** The loop; it ends only by interruption. */
export const watch = Effect.fnUntraced(function* ({ checkpoint, database, maxFrames }: ForeignWritersOptions) {
  const clock = yield* Clock.Clock
  const seen = yield* Ref.make<WalFrames>({ log: 0, checkpointed: 0 })
  const longWal = yield* LongWal.make({ database, maxFrames })
  const due = yield* makeDue(database.walStamp)

  const look = Effect.gen(function* () {
    yield* due.wait
    const frames = yield* checkpoint.look
    if (Option.isNone(frames)) return due.again()
    const { log } = yield* Ref.getAndSet(seen, frames.value)
    if (frames.value.log > 0 && frames.value.log !== log) database.exposure.committed(clock, false)
    yield* longWal.saw(frames.value)
  })
  return yield* Effect.forever(Effect.catchCause(look, checkpoint.failed))
}, Effect.scoped)

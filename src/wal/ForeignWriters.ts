/**
 * Notices what is written to the WAL by others, another process or a connection whose commits are not seen here. What it sees
 * counts as commits from then on, up to a tenth of a second after they were made, the first after a long rest up to a second.
 *
 * Ten times a second, and once a second when the WAL has not been written for half a minute, it asks the system whether it was
 * written (`fstat`, a microsecond). Only then, and for a second after that, it looks at the WAL itself (`NOOP`: no lock, but a
 * statement on the connection). So hundreds of idle databases cost next to nothing. `LongWal` judges what it sees.
 */
import { Clock, Duration, Effect, Option, Ref } from "effect"
import { constVoid } from "effect/Function"
import type { DatabaseService } from "../sqlite/Database.ts"
import type { DatabaseControlService } from "../sqlite/DatabaseControl.ts"
import { isSameStamp, type Stamp } from "../sqlite/WalSync.ts"
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

/** A WAL that was not written for so many beats rests: half a minute, which is longer than a program that is in use pauses. */
const beatsToRest = 300

/** Beats between two questions about a WAL that rests: what one writer can write in a second is no burden to the bound. */
const beatsAtRest = 10

/** Beats between two looks at a WAL that is not written: another process may copy it, which a minute late harms nothing. */
const beatsBetweenLooks = 600

interface ForeignWritersOptions {
  readonly database: DatabaseService
  readonly control: DatabaseControlService
  readonly checkpoint: GuardedCheckpoint
  /** The bound of the WAL; 0 = none. */
  readonly maxFrames: number
}

/** Says, beat by beat, when a look is due, to one waiter. A beat while nothing waits asks nothing. */
const makeDue = Effect.fnUntraced(function* (stampNow: () => Stamp | undefined) {
  let stamp: Stamp | undefined
  let looksLeft = 0
  let sinceLook = 0
  let sinceWrite = 0
  let wake = constVoid
  const isDue = () => {
    if (sinceWrite > beatsToRest && sinceWrite % beatsAtRest !== 0) return sinceLook >= beatsBetweenLooks
    // Asked before the look: what is written meanwhile is seen at the next beat.
    const now = stampNow()
    if (!isSameStamp(now, stamp)) {
      looksLeft = looksAfterWrite
      sinceWrite = 0
    }
    stamp = now
    return looksLeft > 0 || sinceLook >= beatsBetweenLooks
  }
  yield* Pulse.every(beat, () => {
    if (wake === constVoid) return
    sinceLook++
    sinceWrite++
    if (!isDue()) return
    looksLeft--
    sinceLook = 0
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
export const watch = Effect.fnUntraced(function* ({ checkpoint, control, database, maxFrames }: ForeignWritersOptions) {
  const clock = yield* Clock.Clock
  const seen = yield* Ref.make<WalFrames>({ log: 0, checkpointed: 0 })
  const longWal = yield* LongWal.make({ database, maxFrames })
  const due = yield* makeDue(control.walStamp)

  const look = Effect.gen(function* () {
    yield* due.wait
    const frames = yield* checkpoint.look
    if (Option.isNone(frames)) return due.again()
    const { log } = yield* Ref.getAndSet(seen, frames.value)
    if (frames.value.log > 0 && frames.value.log !== log) control.exposure.committed(clock, false)
    yield* longWal.saw(frames.value)
  })
  return yield* Effect.forever(Effect.catchCause(look, checkpoint.failed))
}, Effect.scoped)

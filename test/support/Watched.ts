/** A database that is watched and does whatever the test says: what its guard knows is a variable. */
import { Duration, Effect, Option } from "effect"
import type { Watched } from "../../src/dashboard/DatabaseSource.ts"
import type { Incident } from "../../src/wal/BlockedWatch.ts"
import type { FinishedCheckpoint, GuardStatus } from "../../src/wal/GuardStatus.ts"

export const quiet: GuardStatus = {
  interval: Duration.seconds(60),
  maxFrames: 4000,
  writers: "here",
  frames: Option.none(),
  finished: [],
  failures: 0,
  exposureSeconds: Option.some(0),
  incident: Option.none(),
}

export const finished = (number: number, elapsedMillis: number): FinishedCheckpoint => ({
  number,
  at: number * 1000,
  mode: "PASSIVE",
  why: "interval",
  outcome: "Complete",
  elapsedMillis,
})

export const blockedBy = (pid: number, command: string, since = 0n): Incident => ({
  outcome: "ReaderBlocked",
  checkpointed: 0,
  since,
  runs: 3,
  told: true,
  seen: new Map([[`${pid} read1`, { pid, command, lock: "read1", since }]]),
})

export interface Scripted {
  readonly watched: Watched
  /** What is known from now on. */
  readonly know: (status: Partial<GuardStatus>) => void
  readonly expose: (seconds: number) => void
  readonly replace: () => void
}

export const scripted = (name: string): Scripted => {
  let status = quiet
  let isReplaced = false
  const never = () => {
    throw new Error("the dashboard must not ask for this")
  }
  return {
    watched: {
      name,
      guard: {
        start: Effect.die("the dashboard must change nothing"),
        setInterval: never,
        last: Effect.die("the dashboard must not ask for this"),
        status: Effect.sync(() => status),
      },
      replaced: Effect.sync(() => isReplaced),
    },
    know: (changes) => {
      status = { ...status, ...changes }
    },
    expose: (seconds) => {
      status = { ...status, exposureSeconds: Option.some(seconds) }
    },
    replace: () => {
      isReplaced = true
    },
  }
}

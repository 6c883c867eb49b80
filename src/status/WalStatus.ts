/** The WAL part of a status: from the index while a process uses the database, from the file of the WAL when it was left. */
import { Effect, Option } from "effect"
import * as Facts from "../facts/Facts.ts"
import type { FileBytesError } from "../sqlite/outside/FileBytes.ts"
import type { WalEndReason } from "../sqlite/outside/WalFile.ts"
import * as WalIndex from "../sqlite/outside/WalIndex.ts"

/** The fields of a `Status` that are about its WAL. */
interface Wal {
  readonly log_read_from: Option.Option<"index" | "log">
  readonly log_frames: Option.Option<number>
  readonly checkpointed_frames: Option.Option<number>
  readonly backlog_frames: Option.Option<number>
  readonly checkpoint_sequence: Option.Option<number>
  readonly log_commits: Option.Option<number>
  readonly log_end: Option.Option<WalEndReason>
}

const unknownWal: Wal = {
  log_read_from: Option.none(),
  log_frames: Option.none(),
  checkpointed_frames: Option.none(),
  backlog_frames: Option.none(),
  checkpoint_sequence: Option.none(),
  log_commits: Option.none(),
  log_end: Option.none(),
}

const emptyWal: Wal = { ...unknownWal, log_frames: Option.some(0), backlog_frames: Option.some(0) }

const walInUse = Effect.fnUntraced(function* ({ laterIndex, walHeader }: Facts.Facts) {
  yield* Effect.fromResult(laterIndex)
  const index = Facts.valid(laterIndex)
  if (Option.isNone(index)) return unknownWal
  const { mxFrame, nBackfill, salts } = index.value
  const header = yield* Effect.fromResult(walHeader)
  const own = Option.filter(header, (it) => it.salts[0] === salts[0] && it.salts[1] === salts[1])
  return {
    ...unknownWal,
    log_read_from: Option.some("index"),
    log_frames: Option.some(mxFrame),
    checkpointed_frames: Option.some(Math.min(nBackfill, mxFrame)),
    backlog_frames: Option.some(WalIndex.framesNotCheckpointed({ mxFrame, nBackfill })),
    checkpoint_sequence: Option.map(own, ({ checkpointSequence }) => checkpointSequence),
  } satisfies Wal
})

/** Its next user keeps the frames up to the last commit, and has all of them to copy, whatever was copied before. */
const walLeft = Effect.fnUntraced(function* (facts: Facts.Facts) {
  const wal = yield* Effect.fromResult(facts.wal)
  if (Option.isNone(wal)) return unknownWal
  const { commits, end, header, recoverableFrames } = wal.value
  return {
    log_read_from: Option.some("log"),
    log_frames: Option.some(recoverableFrames),
    checkpointed_frames: Option.none(),
    backlog_frames: Option.some(recoverableFrames),
    checkpoint_sequence: Option.map(header, ({ checkpointSequence }) => checkpointSequence),
    log_commits: Option.some(commits),
    log_end: Option.some(end.reason),
  } satisfies Wal
})

export const of = (facts: Facts.Facts): Effect.Effect<Wal, FileBytesError> => {
  if (Facts.isUsed(facts)) return walInUse(facts)
  if (Facts.walSize(facts) > 0) return walLeft(facts)
  return Effect.succeed(Option.exists(facts.header, (it) => it.journalMode === "wal") ? emptyWal : unknownWal)
}

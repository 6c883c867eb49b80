/**
 * Whether the WAL of a database is damaged, judged by what its bytes and its index say, and what to do about it.
 *
 * A WAL that ends torn is not damaged by that: a transaction that was rolled back, or a kill, leaves frames of the same
 * salts. Proof is an index that knows frames which the WAL does not have. https://www.sqlite.org/fileformat2.html#walformat
 */
import { Option, Result } from "effect"
import { empty, type WalFile } from "../sqlite/outside/WalFile.ts"
import type { WalIndex } from "../sqlite/outside/WalIndex.ts"
import { type Facts, isAtRest, isOpen, valid } from "../facts/Facts.ts"
import type { Evidence, Found } from "./Examination.ts"
import { command, quoted } from "../sqlite/ShellCommand.ts"
import { count } from "../facts/Format.ts"

type Damage = Pick<Found, "severity" | "message" | "evidence"> & {
  /** The database file alone holds more than what is left of the WAL, which would overwrite it with older pages. */
  readonly isStale: boolean
}

type Salts = WalIndex["salts"]

const isSame = (one: Salts, other: Salts) => one[0] === other[0] && one[1] === other[1]

const hex = (salts: Salts) => salts.map((salt) => `0x${salt.toString(16).padStart(8, "0")}`)

/** Commit marks with this WAL's salts, from the first frame on that does not count. */
const dropped = ({ end, following }: WalFile) => following.commits + (end.isCommit ? 1 : 0)

const figures = (log: WalFile): Evidence => ({
  log_bytes: log.bytes,
  frames: log.frames,
  recoverable_frames: log.recoverableFrames,
  commits: log.commits,
  uncommitted_frames: log.uncommittedFrames,
  end: log.end.reason,
  ...Option.match(log.header, { onNone: () => ({}), onSome: ({ salts }) => ({ salts: hex(salts) }) }),
  ...(log.end.reason === "Torn" ? { torn_at_frame: log.end.frame, torn_at_offset: log.end.offset } : {}),
  ...(log.following.frames > 0 ? { frames_behind: log.following.frames, commits_dropped: dropped(log) } : {}),
})

/**
 * What its connections committed, and the WAL does not have. Holds beside a live writer too: what is committed stays until
 * a reset, which changes the salts.
 */
const lost = (facts: Facts, log: WalFile): Option.Option<Damage> => {
  return Option.gen(function* () {
    const index = yield* valid(facts.index)
    const { mxFrame, salts } = yield* valid(facts.laterIndex)
    if (!isSame(salts, index.salts) || mxFrame < index.mxFrame) return yield* Option.none()
    if (Option.exists(log.header, (header) => !isSame(salts, header.salts))) return yield* Option.none()
    const isGone = Option.isNone(log.header) && index.mxFrame <= index.nBackfill
    if (index.mxFrame <= log.recoverableFrames || isGone) return yield* Option.none()
    const where = log.bytes === 0 ? "is gone" : `is damaged at frame ${log.end.frame} (byte ${log.end.offset})`
    return {
      severity: "critical",
      message: `the WAL ${where}: of ${count(index.mxFrame, "committed frame")} a recovery keeps ${log.recoverableFrames}`,
      evidence: { ...figures(log), committed_frames: index.mxFrame, checkpointed_frames: index.nBackfill },
      isStale: index.nBackfill > log.recoverableFrames,
    } satisfies Damage
  })
}

/** Whether the index is of this WAL: then what the WAL does not have is not news to it. */
const isKnownTo = (index: Option.Option<WalIndex>, { header }: WalFile) =>
  Option.exists(index, ({ salts }) => Option.exists(header, (log) => isSame(log.salts, salts)))

/** The WAL's own word, where no index says more. */
const torn = (facts: Facts, log: WalFile): Option.Option<Damage> => {
  const { end, following } = log
  const evidence = figures(log)
  const critical = (message: string) => Option.some<Damage>({ severity: "critical", message, evidence, isStale: false })
  if (end.reason === "OtherVersion") return critical("the WAL has a format that SQLite does not open")
  if (isOpen(facts)) return Option.none() // it moves
  if (facts.bytes === 0 && log.commits > 0) {
    const message = "the database file is empty, and SQLite deletes the WAL beside it when it is opened"
    return Option.some<Damage>({ severity: "critical", message, evidence, isStale: true })
  }
  if (end.reason === "BadHeader" && log.bytes > smallestLog) {
    return critical("the header of the WAL is damaged: SQLite ignores all of it")
  }
  const at = `frame ${end.frame} (byte ${end.offset})`
  if (following.commits > 0 && isKnownTo(valid(facts.index), log)) {
    return Option.some<Damage>({
      severity: "warning",
      message: `from ${at} on, where the WAL ends, are ${count(dropped(log), "commit")} that an earlier recovery dropped`,
      evidence,
      isStale: false,
    })
  }
  if (following.commits > 0) {
    return critical(
      `the WAL is torn at ${at}: a recovery keeps ${count(log.commits, "commit")} and drops the ${dropped(log)} from there on`,
    )
  }
  if (!end.isCommit) return Option.none()
  return Option.some<Damage>({
    severity: "notice",
    message: `the last commit is torn at ${at}, as a kill or a power cut leaves it: a recovery keeps the ${count(log.commits, "commit")} before it`,
    evidence,
    isStale: false,
  })
}

/** A header and the smallest frame. */
const smallestLog = 32 + 24 + 512

export const find = (facts: Facts): Option.Option<Damage> => {
  const log = Option.getOrElse(Option.flatten(Result.getSuccess(facts.wal)), () => empty)
  if (Result.isFailure(facts.wal)) return Option.none()
  return Option.orElse(lost(facts, log), () => torn(facts, log))
}

/** What takes over what is left of the WAL. A damaged one is kept beside it first. */
export const remedy = (facts: Facts): string => {
  const checkpoint = command("seawall checkpoint", facts.file)
  const damage = Option.filter(find(facts), ({ severity }) => severity === "critical")
  if (Option.isNone(damage)) return checkpoint
  const { wal } = facts.target
  const isGone = damage.value.evidence["log_bytes"] === 0
  if (!isAtRest(facts)) {
    // A process that has an unlinked WAL open still copies it into the database when it closes.
    const pids = Option.match(facts.processes, { onNone: () => [], onSome: (them) => them.map(({ pid }) => pid) })
    return isGone && pids.length > 0
      ? `close it in the processes that have it open, or end them in order: kill ${pids.join(" ")}`
      : command("seawall backup", facts.file)
  }
  if (isGone) return `put ${quoted(wal)} back beside the database`
  if (damage.value.isStale) return `mv ${quoted(wal)} ${quoted(`${wal}.damaged`)}`
  return `cp ${quoted(wal)} ${quoted(`${wal}.damaged`)} && ${checkpoint}`
}

/** Whether the WAL is larger than the data that it belongs to. */
import { Effect, Option } from "effect"
import { type Facts, isOpen, valid } from "../../facts/Facts.ts"
import { isHeld } from "../../facts/EngineLease.ts"
import { count, size } from "../../facts/Format.ts"
import * as WalIndex from "../../sqlite/outside/WalIndex.ts"
import { command } from "../../sqlite/ShellCommand.ts"
import * as SqliteVersion from "../../sqlite/SqliteVersion.ts"
import { make, nothing } from "../Examination.ts"
import * as WalDamage from "../WalDamage.ts"

/** A guard is a second connection, which a program whose SQLite has the WAL-reset bug must not have. */
const bounded = (facts: Facts) => {
  if (isGuarded(facts)) return command("seawall status", facts.file)
  return Option.exists(
    Option.flatMap(facts.header, ({ writtenBy }) => writtenBy),
    (last) => SqliteVersion.verdict(last) === "Unsafe",
  )
    ? "in the program that writes: PRAGMA wal_checkpoint(TRUNCATE)"
    : command("seawall guard", facts.file)
}

/** What guards it is at work already; who is in its way is what status and the pinned log say. */
const isGuarded = ({ lease, processes }: Facts) =>
  isHeld(lease) ||
  Option.exists(processes, (them) =>
    them.some(({ command: its }) => /\bseawall\b.* guard\b|main\.[jt]s guard\b/.test(its)),
  )

/** SQLite's own autocheckpoint keeps a WAL of pages of 4 KiB at about this length: below it nothing is wrong. */
const shortLog = 4 * 1024 * 1024

export const walSize = make({
  subject: "wal-size",
  description: "a WAL larger than its data",
  examine: Effect.fnUntraced(function* (facts) {
    const parsed = yield* Effect.fromResult(facts.wal)
    const index = isOpen(facts) ? valid(facts.index) : Option.none()
    const inLog = Option.match(parsed, { onNone: () => 0, onSome: (found) => found.recoverableFrames })
    const frames = Option.match(index, { onNone: () => inLog, onSome: ({ mxFrame }) => mxFrame })
    const pageSize = Option.getOrElse(
      Option.orElse(
        Option.map(facts.header, (header) => header.pageSize),
        () => Option.flatMap(parsed, (found) => Option.map(found.header, (header) => header.pageSize)),
      ),
      () => 0,
    )
    const length = frames * pageSize
    const seen = `${count(frames, "frame")} (${size(length)}) beside ${size(facts.bytes)} of database`
    if (length <= facts.bytes || length <= shortLog) return nothing(seen)
    return {
      seen,
      findings: [
        {
          severity: "warning",
          message: `the WAL (${size(length)}) is larger than its database (${size(facts.bytes)})`,
          evidence: {
            log_frames: frames,
            log_frame_bytes: length,
            log_bytes: Option.getOrElse(facts.walBytes, () => 0),
            database_bytes: facts.bytes,
            ...Option.match(index, {
              onNone: () => ({}),
              onSome: (found) => ({ not_checkpointed_frames: WalIndex.framesNotCheckpointed(found) }),
            }),
          },
          remedy: isOpen(facts) ? bounded(facts) : WalDamage.remedy(facts),
        },
      ],
    }
  }),
})

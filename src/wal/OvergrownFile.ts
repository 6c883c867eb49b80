/**
 * Whether the file of the WAL, which a huge transaction or a reader has left behind, is to be cut: as soon as nothing was written
 * for an interval, and after some intervals anyway. No commit pays for it, as one would at a `journal_size_limit`.
 * https://www.sqlite.org/pragma.html#pragma_journal_size_limit
 */
import { Effect, Ref } from "effect"
import type { DatabaseControlService } from "../sqlite/DatabaseControl.ts"

/**
 * 96 MiB: above the hard length of the WAL of 4000 frames of the default page size, so that in normal running, and on a busy
 * disk, the file is reused, which syncs faster than growing it.
 */
const mostFileBytes = 96 * 1024 * 1024

/** How many intervals a file may stay longer than that while it is written. */
const mostIntervals = 2

/** Asked once an interval. */
export const make = Effect.fnUntraced(function* ({
  exposure,
  walBytes,
}: Pick<DatabaseControlService, "exposure" | "walBytes">) {
  /** How many intervals the file has been too long, and how many commits there were at the last of them. */
  const overgrown = yield* Ref.make({ intervals: 0, commits: -1 })
  return Effect.gen(function* () {
    const commits = exposure.commits()
    const { commits: before, intervals } = yield* Ref.get(overgrown)
    const isTooLong = (yield* walBytes) > mostFileBytes
    yield* Ref.set(overgrown, { commits, intervals: isTooLong ? intervals + 1 : 0 })
    return isTooLong && (commits === before || intervals >= mostIntervals)
  })
})

/** Sessions that an engine never closed. */
import { Effect, Option } from "effect"
import * as Lease from "../../lease/Lease.ts"
import * as EngineLease from "../../facts/EngineLease.ts"
import { count } from "../../facts/Format.ts"
import * as ReadOnly from "../../sqlite/outside/ReadOnly.ts"
import { command } from "../../sqlite/ShellCommand.ts"
import { endStatement, openSessions } from "../../state/OpenSessions.ts"
import { make, nothing, type Seen } from "../Examination.ts"

/**
 * The newest session runs while an engine has the lease. Where none is taken it may be running while a process has the database
 * open for writing; what a crashed engine left of its lease says that it is not.
 */
export const openSession = make({
  subject: "open-session",
  description: "sessions of an engine that were never closed",
  opens: true,
  examine: Effect.fnUntraced(function* (facts) {
    if (facts.bytes === 0) return nothing("the file is empty")
    const { file, situation } = yield* facts.readable
    const { answer: found, lease } = yield* EngineLease.around(
      facts.file,
      yield* Lease.holderOf(facts.file), // what was gathered may be minutes old
      Effect.provide(openSessions, ReadOnly.layer(file, situation)),
    )
    if (Option.isNone(found)) return nothing("no engine keeps its memory here")
    const isWritten = Option.exists(facts.processes, (them) => them.some(({ mayWrite }) => mayWrite))
    const mayRun = EngineLease.isHeld(lease) || (isWritten && !EngineLease.isLeft(lease))
    const never = found.value.filter(({ isNewest }) => !(isNewest && mayRun))
    const running = Option.match(EngineLease.engineOf(lease), {
      onNone: () => "may be running",
      onSome: (engine) => `runs: ${engine}`,
    })
    const seen = `${count(found.value.length, "session")} without an end${never.length < found.value.length ? `, the newest ${running}` : ""}`
    if (never.length === 0) return nothing(seen)
    return {
      seen,
      findings: [
        {
          severity: "warning",
          message: `${count(never.length, "session")} of an engine ${never.length === 1 ? "was" : "were"} never closed: it was killed, or lost its power`,
          evidence: {
            session_ids: never.map(({ sessionId }) => sessionId),
            started_at: never.map(({ startedAt }) => startedAt),
          },
          remedy: `${command("sqlite3", facts.file)} "${endStatement(never)}"`,
        },
      ],
    } satisfies Seen
  }),
})

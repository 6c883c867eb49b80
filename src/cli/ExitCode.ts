/**
 * What the exit code of a session says to whoever supervises it.
 *
 * 65 and 78 are those of sysexits.h; they come with the errors that carry them (`IntegrityError`, `ConfigError`,
 * `PreflightError`). The end of a session is judged by its halt reason: the life cycle and the program say what each means.
 */
import { Effect, Runtime, Schema } from "effect"
import * as HaltReason from "../engine/HaltReason.ts"
import { paperHaltReasons } from "../paper/PaperHaltReasons.ts"

export const ended = 0
export const failed = 1
/** Done, and somebody should look at what was found. */
export const attention = 2
export const damaged = 65

/** Of a paper trading session, by the reason that it ended with. */
export const ofHaltReason = HaltReason.exitCodeOf(paperHaltReasons)

/** Ends the process with a code, once everything there is to say was said. */
export class ExitWith extends Schema.TaggedError<ExitWith>()("ExitWith", { code: Schema.Int }) {
  override readonly [Runtime.errorExitCode] = this.code
  override readonly [Runtime.errorReported] = false
}

export const exitWith = (code: number): Effect.Effect<void, ExitWith> =>
  code === ended ? Effect.void : Effect.fail(new ExitWith({ code }))

export const help = `Exit codes:
  0   clean end: duration, end of the feed, requested halt, or a signal (also during start-up)
  1   failure: a tick that died, a start that failed, or a shutdown step that failed
  3   a risk_* halt or kill_switch
  65  the database failed its integrity check
  78  the configuration was refused
  137 killed by itself (SIGKILL): a checkpoint hangs inside SQLite, and everything else was closed`

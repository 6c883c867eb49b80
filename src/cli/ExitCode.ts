/**
 * What the exit code of a session says to what supervises it.
 *
 * 65 and 78 are those of sysexits.h; they come with the errors that carry them (`IntegrityError`, `EngineConfigError`,
 * `PreflightError`). The end of a session is judged by its halt reason: the life cycle and the program say what each means.
 */
import { failed } from "../engine/Main.ts"

export const ended = 0
/** Done, and an operator should look at what was found. */
export const attention = 2
export const damaged = 65

/** From the worst to the best. */
const order: ReadonlyArray<number> = [damaged, failed, attention, ended]

/** The exit code of a command about several databases. A code of another kind is a failure. */
export const worst = (codes: ReadonlyArray<number>): number => {
  const kinds = new Set(codes.map((code) => (order.includes(code) ? code : failed)))
  return order.find((code) => kinds.has(code)) ?? ended
}

export const help = `Exit codes:
  0   clean end: duration, end of the feed, requested halt, or a signal (also during start-up)
  1   failure: a tick that died, a start that failed, or a shutdown step that failed
  3   a risk_* halt or kill_switch
  65  the database failed its integrity check
  75  another machine leads by now, and this one does not stand by (engine.standby: false)
  78  the configuration was refused
  137 killed by itself (SIGKILL): a checkpoint hangs inside SQLite, and everything else was closed`

/**
 * Why an engine stopped: tokens, the same in the database, in logs and in statistics, each with what its end means for who
 * supervises the process.
 *
 * The life cycle has a closed set of its own; a program adds its tokens with `define`. The stored value is any text, so that
 * a database of an older or another program can be read.
 */
import { type Brand, Option, Schema } from "effect"

/**
 * What the life cycle stores:
 * - `config_mismatch`, `startup_failure`: the engine never ran.
 * - `duration_elapsed`, `interrupted_sig...` (a signal): it was asked to end; `interrupted_other`: without being asked.
 * - `unhandled_exception`: a tick, or whatever runs in its scope, failed, or the WAL could not be synced.
 * - `leadership_lost`: another machine leads by now, or may. The next leader stores it.
 * - `unexpected_halt`: no reason is known.
 *
 * And `engine_requested_halt`, for a program that has no reason of its own and is done.
 */
export const HaltReason = Schema.Literals([
  "duration_elapsed",
  "engine_requested_halt",
  "interrupted_sigint",
  "interrupted_sigterm",
  "interrupted_sighup",
  "interrupted_sigbreak",
  "interrupted_other",
  "startup_failure",
  "unhandled_exception",
  "config_mismatch",
  "leadership_lost",
  "unexpected_halt",
])
export type HaltReason = typeof HaltReason.Type

/** A reason of the life cycle, or one that `define` knows: no other text is one. */
export type Token = HaltReason | (string & Brand.Brand<"seawall/engine/HaltReason">)

/** What the end of a session means. */
export interface End {
  /**
   * The exit code of the process, 0 to 255. 65, 75, 78 and 137 are taken: a damaged database, a lost leadership, a refused configuration, a thread
   * that hangs.
   */
  readonly exitCode: number
  /** Whether the session closed in order, with the time to finish: then its last backup is made, whatever the exit code is. */
  readonly isClean: boolean
}

const clean: End = { exitCode: 0, isClean: true }
const failed: End = { exitCode: 1, isClean: false }

const ends: Readonly<Record<HaltReason, End>> = {
  duration_elapsed: clean,
  engine_requested_halt: clean,
  interrupted_sigint: clean,
  interrupted_sigterm: clean,
  // A closed console window leaves no time for a backup.
  interrupted_sighup: { exitCode: 0, isClean: false },
  interrupted_sigbreak: clean,
  interrupted_other: clean,
  startup_failure: failed,
  unhandled_exception: failed,
  config_mismatch: failed,
  // EX_TEMPFAIL: the same may succeed when it is started again.
  leadership_lost: { exitCode: 75, isClean: false },
  // No reason is known, and everything closed in order all the same.
  unexpected_halt: { exitCode: 1, isClean: true },
}

/** The reasons that are known where a program runs. */
export interface HaltReasons {
  readonly ends: Readonly<Record<string, End>>
}

/** Those of the life cycle alone. */
export const lifeCycle: HaltReasons = { ends }

/** A tick's answer that ends the session. */
export interface Halting {
  readonly reason: Token
  /** Free text for the operator, stored as `halt.detail`; may be empty. */
  readonly detail: string
}

/** The reasons of a program beside those of the life cycle. */
export interface Defined<Own extends string> extends HaltReasons {
  /** The answer of a tick that is the last one. */
  readonly haltWith: (reason: Own | HaltReason, detail: string) => Option.Option<Halting>
  /** The same reason for `Halt.request`, which a program may ask between two ticks. */
  readonly token: (reason: Own | HaltReason) => Token
}

/**
 * The reasons that a program halts with: `HaltReason.define({ sensor_lost: { exitCode: 4, isClean: false } })`. It gives
 * them to the engine as `EngineProgram.haltReasons`. Tokens are stored as they are: a released one keeps its meaning.
 */
export const define = <const Own extends Readonly<Record<string, End>>>(
  own: Own & { readonly [K in HaltReason | ""]?: never },
): Defined<keyof Own & string> => {
  const token = (reason: string) => reason as Token
  return {
    ends: { ...own, ...ends },
    token,
    haltWith: (reason, detail) => Option.some({ reason: token(reason), detail }),
  }
}

/** Whether a reason is among them: one that is not was stored, or answered, by a program that did not define it. */
export const isKnown = ({ ends: known }: HaltReasons, reason: string): boolean => Object.hasOwn(known, reason)

/** For an unknown reason nothing is known to be right. */
const endOf = (reasons: HaltReasons, reason: string): End =>
  (isKnown(reasons, reason) ? reasons.ends[reason] : undefined) ?? failed

/** The exit code of a process whose session ended with a reason; 1 for one that is not known. */
export const exitCodeOf =
  (reasons: HaltReasons = lifeCycle) =>
  (reason: string): number =>
    endOf(reasons, reason).exitCode

/** Whether a session that ended with a reason ended as it was meant to; no for one that is not known. */
export const isCleanOf =
  (reasons: HaltReasons = lifeCycle) =>
  (reason: string): boolean =>
    endOf(reasons, reason).isClean

/** What ends the engine on every machine: its time was over, or it said so. */
const isOverEverywhere: ReadonlySet<string> = new Set<HaltReason>(["duration_elapsed", "engine_requested_halt"])

/**
 * Whether a machine that stands by goes on after a session that ended with a reason: when that machine failed or was stopped,
 * and not when the engine itself came to its end, as by any reason of a program.
 * @internal
 */
export const isTakenOver = (reason: string): boolean => isKnown(lifeCycle, reason) && !isOverEverywhere.has(reason)

/**
 * The reason that is stored at shutdown: what the caller alone knows (a signal, the duration, an exception), else what a tick or an
 * earlier step has stored, else `unexpected_halt`. It is always written.
 * @internal
 */
export const resolve = (explicit: Option.Option<Token>, stored: Option.Option<string>): string =>
  Option.getOrElse(
    Option.orElse(explicit, () => Option.filter(stored, (token) => token !== "")),
    () => "unexpected_halt",
  )

/**
 * Whether an engine runs on a database, as its lease says it: what tells a session that runs from one that crashed. Says nothing
 * about the other programs that have the database open.
 */
import { Effect, Option } from "effect"
import * as os from "node:os"
import * as Lease from "../lease/Lease.ts"

/**
 * What an effect answers, and whether an engine ran while it did: one that starts or ends meanwhile did. `before` is what the
 * lease said right before.
 */
export const around = Effect.fnUntraced(function* <A, E, R>(
  file: string,
  before: Lease.Occupancy,
  self: Effect.Effect<A, E, R>,
) {
  const answer = yield* self
  const lease = before._tag === "Held" ? before : yield* Lease.holderOf(file)
  return { answer, lease }
})

/** Whether an engine has the lease. */
export const isHeld = (lease: Lease.Occupancy): boolean => lease._tag === "Held"

/** What had the lease last did not end: it was killed, or lost its power. */
export const isLeft = (lease: Lease.Occupancy): boolean => lease._tag === "Free" && lease.wasLeft

export const holderOf = (lease: Lease.Occupancy): Option.Option<Lease.LeaseHolder> =>
  lease._tag === "Held" ? lease.holder : Option.none()

/** The engine that runs, for a sentence; none when none is known to run. */
export const engineOf = (lease: Lease.Occupancy): Option.Option<string> =>
  isHeld(lease)
    ? Option.some(Option.match(holderOf(lease), { onNone: () => "an engine that starts", onSome: Lease.described }))
    : Option.none()

/** The engine that runs, where it has a pid of this machine. */
export const enginePid = (lease: Lease.Occupancy): Option.Option<number> =>
  Option.map(
    Option.filter(holderOf(lease), ({ host }) => host === os.hostname()),
    ({ pid }) => pid,
  )

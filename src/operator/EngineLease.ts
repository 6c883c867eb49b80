/**
 * Whether an engine runs on a database, as its lease says it: what tells a session that runs from one that crashed. For `Look` and
 * `Doctor`; says nothing about the other programs that have the database open.
 */
import { Effect, Option } from "effect"
import { described, Lease, type LeaseHolder, type Occupancy } from "../engine/Lease.ts"

/** What an effect answers, and whether an engine ran while it did: one that starts or ends meanwhile did. */
export const around = Effect.fnUntraced(function* <A, E, R>(file: string, self: Effect.Effect<A, E, R>) {
  const before = yield* Lease.holderOf(file)
  const answer = yield* self
  const lease = before._tag === "Held" ? before : yield* Lease.holderOf(file)
  return { answer, lease }
})

/** Whether an engine has the lease. */
export const isHeld = (lease: Occupancy): boolean => lease._tag === "Held"

/** What had the lease last did not end: it was killed, or lost its power. */
export const isLeft = (lease: Occupancy): boolean => lease._tag === "Free" && lease.wasLeft

export const holderOf = (lease: Occupancy): Option.Option<LeaseHolder> =>
  lease._tag === "Held" ? lease.holder : Option.none()

/** The engine that runs, for a sentence; none when none is known to run. */
export const engineOf = (lease: Occupancy): Option.Option<string> =>
  isHeld(lease)
    ? Option.some(Option.match(holderOf(lease), { onNone: () => "an engine that starts", onSome: described }))
    : Option.none()

/** What a `Status` says of it. */
export const fieldsOf = (lease: Occupancy) => ({
  engine_lease:
    lease._tag === "Unknown"
      ? Option.none()
      : Option.some(isHeld(lease) ? ("held" as const) : isLeft(lease) ? ("left" as const) : ("free" as const)),
  engine_lease_reason: lease._tag === "Unknown" ? Option.some(lease.why) : Option.none(),
  engine_holder: holderOf(lease),
})

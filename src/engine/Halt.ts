/**
 * The one request to halt that a run of an engine gets, and the reason it ended with.
 *
 * A signal, the duration, a tick: the first request decides, later ones change nothing. It stands below
 * everything that closes, so that each finalizer can read why.
 */
import { Cause, Context, Deferred, Effect, Exit, Layer, Option, Ref } from "effect"
import { type HaltReasons, lifeCycle, type Token } from "./HaltReason.ts"

/** A request to halt, and why. */
export interface HaltRequest {
  /** None when the reason is stored already: a tick that decided to halt has written its own token. */
  readonly reason: Option.Option<Token>
  /** Free text for the operator, stored as `halt.detail` with the reason; may be empty. */
  readonly detail: string
  /** Whether the process starts another session when this one has closed: a machine that stands by. Default no. */
  readonly again?: boolean
  /** Whether it is about the process, as a signal is: then it also ends what would start again. Default no. */
  readonly isOfProcess?: boolean
}

/** How an engine is asked to end, and what it said about that. It closes nothing itself. */
export class Halt extends Context.Service<
  Halt,
  {
    /** The first request counts. */
    readonly request: (request: HaltRequest) => Effect.Effect<void>
    /** The request that counts, once there is one. */
    readonly requested: Effect.Effect<Option.Option<HaltRequest>>
    /** Waits for it: the owner of the engine's scope closes it then. */
    readonly awaitRequest: Effect.Effect<HaltRequest>
    /** Notes the reason that was written; the first note counts. */
    readonly settle: (reason: string) => Effect.Effect<void>
    /** The reason that was written, once it was. */
    readonly settled: Effect.Effect<Option.Option<string>>
    /** Which reasons are known: those of the life cycle, until a program brings its own. */
    readonly reasons: Effect.Effect<HaltReasons>
    /** Makes those of the program known, to what stands below it. The engine does. */
    readonly setReasons: (reasons: HaltReasons) => Effect.Effect<void>
    /** A request about the process that came after the one that counts. */
    readonly ofProcess: Effect.Effect<Option.Option<HaltRequest>>
    /** How many sessions of this process have ended before this one. */
    readonly round: Effect.Effect<number>
    /** Forgets the request and the reason, for the next session of the process. The runner of the session does. */
    readonly renew: Effect.Effect<void>
  }
>()("seawall/engine/Halt") {}

/** For one run of an engine; below it, so that what closes can read it. */
export const layer = Layer.effect(
  Halt,
  Effect.gen(function* () {
    const first = yield* Ref.make(yield* Deferred.make<HaltRequest>())
    const ofProcess = yield* Ref.make(Option.none<HaltRequest>())
    const settled = yield* Ref.make(Option.none<string>())
    const reasons = yield* Ref.make(lifeCycle)
    const round = yield* Ref.make(0)
    const requested = Effect.flatMap(Effect.flatMap(Ref.get(first), Deferred.poll), Effect.transposeOption)
    return {
      request: Effect.fnUntraced(function* (request: HaltRequest) {
        const counts = yield* Deferred.succeed(yield* Ref.get(first), request)
        if (!counts && request.isOfProcess === true) yield* Ref.set(ofProcess, Option.some(request))
      }),
      requested,
      awaitRequest: Effect.flatMap(Ref.get(first), Deferred.await),
      settle: (reason: string) => Ref.update(settled, (before) => Option.orElseSome(before, () => reason)),
      settled: Ref.get(settled),
      reasons: Ref.get(reasons),
      setReasons: (known: HaltReasons) => Ref.set(reasons, known),
      ofProcess: Ref.get(ofProcess),
      round: Ref.get(round),
      renew: Effect.gen(function* () {
        yield* Ref.set(first, yield* Deferred.make<HaltRequest>())
        yield* Ref.set(settled, Option.none())
        yield* Ref.update(round, (n) => n + 1)
      }),
    }
  }),
)

/**
 * What only the way of ending tells: the reason of the request, else `failure` when the scope closes with a failure, else
 * `interrupted_other` when it was interrupted without a request. None when the reason is stored.
 * @internal
 */
export const explicitReason = (
  requested: Option.Option<HaltRequest>,
  exit: Exit.Exit<unknown, unknown>,
  failure: Token,
): Option.Option<Token> => {
  if (Option.isSome(requested)) return requested.value.reason
  if (Exit.isSuccess(exit)) return Option.none()
  return Option.some(Cause.hasInterruptsOnly(exit.cause) ? "interrupted_other" : failure)
}

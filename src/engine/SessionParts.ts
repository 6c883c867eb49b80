/** What the sessions of both stores share: what is asked for, and what stands above the memory of an engine. */
import { Duration, Effect, Layer, Option } from "effect"
import * as OptionError from "../options/OptionError.ts"
import * as Lease from "../lease/Lease.ts"
import { ofSeawall } from "../sqlite/DatabaseName.ts"
import type * as StateManager from "../state/StateManager.ts"
import * as Ending from "./Ending.ts"
import * as Engine from "./Engine.ts"
import type { EngineConfig } from "./EngineConfig.ts"
import type * as EngineProgram from "./EngineProgram.ts"
import * as Halt from "./Halt.ts"
import * as HaltReason from "./HaltReason.ts"

/** What an engine does, on top of its memory. */
export type Program<E> = Layer.Layer<EngineProgram.EngineProgram, E, StateManager.StateManager>

/** Which session a program goes on with. */
export interface Recovered {
  readonly parentSessionId: Option.Option<number>
}

/** What runs, with which configuration, and after which session. */
export interface SessionOptions<E, Config extends EngineConfig = EngineConfig> {
  /** The engine's alone (`EngineConfig.load`), or with the sections of a program (`EngineConfig.make`). */
  readonly config: Config
  /** What must hold between its values: the `invariants` of `EngineConfig.make`. Default nothing. */
  readonly invariants?: (config: Config) => ReadonlyArray<string>
  /**
   * The session that this one recovers, which then clears nothing; none for a fresh one. A session that takes over from another
   * machine recovers the last one, whatever is asked for here.
   */
  readonly parentSessionId: Option.Option<number>
  /**
   * How many times as fast as its configured interval the engine ticks, for a replay: default 1; Infinity = the next tick
   * follows at once, and other fibers run between two of them.
   */
  readonly speed?: number
  /** What the engine does, on top of its memory; a function of the session that it recovers, where it has to know. Its `E` fails the start. */
  readonly program: Program<E> | ((session: Recovered) => Program<E>)
}

/** How the lease of a server is had. */
export interface Election {
  /** Something else elects, as a cluster does. Default no. */
  readonly elected?: boolean
  /** Whether to go on after a session that has ended, when it was waited for; default all but those that ended on purpose. */
  readonly takesOver?: (last: Lease.Ended) => boolean
}

/** An engine that came to its own end is not gone on with. */
export const wasNotMeant = ({ haltReason }: Lease.Ended): boolean =>
  Option.match(haltReason, { onNone: () => true, onSome: HaltReason.isTakenOver })

/** A replay so fast that its ticks have no pause worth the name. */
const paused = (seconds: number) => (seconds < 0.001 ? Duration.zero : Duration.seconds(seconds))

/** The engine with its program, and the first of its two endings. */
export const top = <E, Config extends EngineConfig>({
  config: { engine },
  parentSessionId,
  program,
  speed = 1,
}: SessionOptions<E, Config>) =>
  Layer.unwrap(
    Effect.map(OptionError.factor("speed", speed), () =>
      Engine.layer({
        tickInterval: paused(engine.tick_interval_seconds / speed),
        duration: Duration.seconds(engine.duration_seconds),
        parentSessionId,
      }),
    ),
  ).pipe(
    Layer.provideMerge(typeof program === "function" ? program({ parentSessionId }) : program),
    Layer.provideMerge(Ending.above()),
  )

/** A lease that is lost ends the session; one that stands by is built again. */
export const haltWhenLeaseIsLost = ({ again }: { readonly again: boolean }) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const { epoch, lost } = yield* Lease.Lease
      const halt = yield* Halt.Halt
      yield* Effect.flatMap(lost, (why) =>
        Effect.andThen(
          Effect.annotateLogs(ofSeawall(Effect.logWarning("leadership lost")), {
            session_id: Option.getOrNull(epoch),
            error: why,
          }),
          halt.request({ reason: Option.some("leadership_lost"), detail: why, again }),
        ),
      ).pipe(Effect.forkScoped)
    }),
  )

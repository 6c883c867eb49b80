/**
 * Which database a log line, a metric series and a span are about: its path as it was given.
 *
 * The layers of a database run what they build, fork and close `about` it, and so do their methods that log or count. A
 * program's own effects never run under it, so its own lines and series stay as they are.
 */
import { Context, Effect, Metric, References } from "effect"

/** The value of the annotation `logger`, which tells the log lines of Seawall from all others of a program. */
export const logger = "seawall"

/** The database of the `SqlClient` in the same context; none without a layer of Seawall's. @internal */
export class DatabaseName extends Context.Reference<string | undefined>("seawall/sqlite/DatabaseName", {
  defaultValue: () => undefined,
}) {}

/** What the spans of a database say of it. https://opentelemetry.io/docs/specs/semconv/database/ @internal */
export const attributesOf = (database: string) => ({ "db.system.name": "sqlite", "db.namespace": database })

type Annotations = Readonly<Record<string, unknown>>

/** The log lines of `self` are Seawall's. @internal */
export const ofSeawall: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = Effect.annotateLogs({
  logger,
})

/** The log lines and the metric series of `self` say that they are about this database. @internal */
export const about = (database: string) => {
  // A metric finds its series again by the identity of the attributes.
  let outer: Annotations | undefined
  let attributes: Readonly<Record<string, string>> = {}
  const attributesIn = (context: Context.Context<never>) => {
    const around = Context.get(context, Metric.CurrentMetricAttributes)
    if (around !== outer) {
      outer = around
      attributes = around["database"] === database ? around : { ...around, database }
    }
    return attributes
  }
  const enter = <R>(context: Context.Context<R>): Context.Context<R> => {
    const annotations: Annotations = Context.get(context, References.CurrentLogAnnotations)
    return context.pipe(
      Context.add(References.CurrentLogAnnotations, { ...annotations, logger, database }),
      Context.add(Metric.CurrentMetricAttributes, attributesIn(context)),
      Context.add(DatabaseName, database),
    )
  }
  return <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => Effect.updateContext(self, enter<R>)
}

/** Captures the name around the caller, for what runs later in the context of another fiber. @internal */
export const aboutThis = Effect.map(
  DatabaseName,
  (database): (<A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) =>
    database === undefined ? ofSeawall : about(database),
)

/** Services of a caller that are provided inside what is `about` a database: what these say of labels and spans is said by them alone. @internal */
export const withOwnLabels = <R>(services: Context.Context<R>): Context.Context<R> =>
  services.pipe(
    Context.add(References.CurrentLogAnnotations, Context.get(services, References.CurrentLogAnnotations)),
    Context.add(Metric.CurrentMetricAttributes, Context.get(services, Metric.CurrentMetricAttributes)),
    Context.add(References.TracerEnabled, Context.get(services, References.TracerEnabled)),
  )

const without = <R>(context: Context.Context<R>): Context.Context<R> => {
  const { database: _, ...annotations }: Annotations = Context.get(context, References.CurrentLogAnnotations)
  const { database: __, ...attributes } = Context.get(context, Metric.CurrentMetricAttributes)
  return context.pipe(
    Context.add(References.CurrentLogAnnotations, { ...annotations, logger }),
    Context.add(Metric.CurrentMetricAttributes, attributes),
  )
}

/** What concerns every database of the process, though one of them asked for it. @internal */
export const aboutAll = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.updateContext(self, without<R>)

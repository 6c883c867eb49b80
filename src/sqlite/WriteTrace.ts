/**
 * The spans of the `Writer`: one for each write, from the asking to the answer, and one for each batch that has such a
 * write, from its BEGIN to the last of its answers. A write links to its batch, which is a trace of its own, because the
 * writes of one batch come from many traces.
 *
 * Effect's own tracer is always there and keeps its spans to itself, so that without another one none is made: a write
 * then costs one look at its fiber more.
 */
import { type Clock, Context, Effect, Exit, type Fiber, Option, type Tracer } from "effect"

interface WriteTraces {
  /** Runs what `self` makes of its trace in a span: of a statement with its text, of a transaction without. */
  readonly traced: <A, E, R>(
    tracer: Tracer.Tracer,
    text: string | undefined,
    self: (trace: WriteTrace) => Effect.Effect<A, E, R>,
  ) => Effect.Effect<A, E, R>
  /** The span of these writes' batch, when one of them has a span. */
  readonly begin: (writes: ReadonlyArray<Traced>) => BatchTrace | undefined
}

/** What has a trace, or none. */
interface Traced {
  readonly trace: WriteTrace | undefined
}

/** The tracer that receives this fiber's spans, if one is installed. */
export const tracerOf = ({ cache }: Fiber.Fiber<unknown, unknown>): Tracer.Tracer | undefined =>
  cache.tracerEnabled ? cache.tracer : undefined

const millis = (from: bigint, to: bigint) => Number(to - from) / 1e6

/** The span of one batch. It ends with its last holder: its own run, or one of its traced writes. */
class BatchTrace {
  private holders = 1
  private readonly start: bigint
  private committedAt: bigint | undefined
  private isSynced = false
  private end: Exit.Exit<unknown, unknown> = Exit.void

  private readonly span: Tracer.Span
  private readonly clock: Clock.Clock

  constructor(span: Tracer.Span, clock: Clock.Clock) {
    this.span = span
    this.clock = clock
    this.start = clock.monotonicTimeNanosUnsafe()
  }

  join({ span }: WriteTrace, size: number) {
    this.holders += 1
    span.addLinks([{ span: this.span, attributes: {} }])
    span.attribute("db.operation.batch.size", size)
  }

  /** The committed part of it; each of the parts into which a broken write splits a batch. */
  committed() {
    this.committedAt = this.clock.monotonicTimeNanosUnsafe()
    this.span.attribute("seawall.commit_ms", millis(this.start, this.committedAt))
  }

  synced() {
    if (this.isSynced || this.committedAt === undefined) return
    this.isSynced = true
    this.span.attribute("seawall.sync_ms", millis(this.committedAt, this.clock.monotonicTimeNanosUnsafe()))
  }

  leave(exit: Exit.Exit<unknown, unknown>) {
    if (this.committedAt === undefined && Exit.isFailure(exit)) this.end = exit
    this.holders -= 1
    if (this.holders > 0) return
    this.span.end(this.clock.currentTimeNanosUnsafe(), this.committedAt === undefined ? this.end : Exit.void)
  }
}

/** The span of one write: the moments after its request, in milliseconds. */
export class WriteTrace {
  private readonly asked: bigint
  private batch: BatchTrace | undefined

  readonly span: Tracer.Span
  readonly tracer: Tracer.Tracer
  private readonly clock: Clock.Clock

  constructor(span: Tracer.Span, tracer: Tracer.Tracer, clock: Clock.Clock) {
    this.span = span
    this.tracer = tracer
    this.clock = clock
    this.asked = clock.monotonicTimeNanosUnsafe()
  }

  private at(moment: "queued" | "committed" | "synced") {
    if (this.span.status._tag === "Ended") return // its caller has gone away
    this.span.attribute(`seawall.${moment}_ms`, millis(this.asked, this.clock.monotonicTimeNanosUnsafe()))
  }

  /** Its batch begins: so long it has waited. */
  taken(batch: BatchTrace, size: number) {
    this.at("queued")
    this.batch = batch
    batch.join(this, size)
  }

  committed() {
    this.at("committed")
    this.batch?.committed()
  }

  synced() {
    this.at("synced")
    this.batch?.synced()
  }

  /** It is answered, or its caller has gone away. */
  ended(exit: Exit.Exit<unknown, unknown>) {
    this.batch?.leave(exit)
    this.batch = undefined
  }
}

/** All spans have these attributes. */
export const make = (attributes: Readonly<Record<string, unknown>>, clock: Clock.Clock): WriteTraces => {
  return {
    traced: (tracer, text, self) => {
      const inside = (span: Tracer.Span) =>
        Effect.withParentSpan(self(new WriteTrace(span, tracer, clock)), span, { captureStackTrace: false })
      return text === undefined
        ? Effect.useSpan("Writer.transaction", { kind: "client", attributes }, inside)
        : Effect.useSpan(
            "Writer.execute",
            { kind: "client", attributes: { ...attributes, "db.query.text": text } },
            inside,
          )
    },
    begin: (writes) => {
      if (!writes.some(({ trace }) => trace !== undefined)) return undefined
      const traces = writes.flatMap(({ trace }) => trace ?? [])
      const [first] = traces
      if (first === undefined) return undefined
      const span = first.tracer.span({
        name: "Writer.batch",
        parent: Option.none(),
        annotations: Context.empty(),
        links: [],
        startTime: clock.currentTimeNanosUnsafe(),
        kind: "client",
        root: true,
        sampled: traces.some(({ span }) => span.sampled),
      })
      for (const [name, value] of Object.entries(attributes)) span.attribute(name, value)
      span.attribute("db.operation.batch.size", writes.length)
      const batch = new BatchTrace(span, clock)
      for (const trace of traces) trace.taken(batch, writes.length)
      return batch
    },
  }
}

/** A tracer that keeps what is made of it, oldest first. */
import { Layer, Tracer } from "effect"

export const recordingTracer = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    },
  })
  const names = () => spans.map(({ name }) => name)
  const of = (name: string) => spans.filter((span) => span.name === name)
  return { names, of, layer: Layer.succeed(Tracer.Tracer, tracer) }
}

export const attributesOf = (span: Tracer.NativeSpan | undefined): Record<string, unknown> =>
  Object.fromEntries(span?.attributes ?? [])

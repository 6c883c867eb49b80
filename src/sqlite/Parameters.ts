/** The parameters of a statement that waits: copied when it is asked for, so that their owner may change them at once. */
import { Effect } from "effect"
import { SqlError } from "effect/sql"

/** Copies bytes; a buffer that was transferred meanwhile has none. */
export const copyOfBytes = (param: unknown): unknown => {
  if (!ArrayBuffer.isView(param)) return param
  const copy = new Uint8Array(param.byteLength)
  if (param.byteLength > 0) copy.set(new Uint8Array(param.buffer, param.byteOffset, param.byteLength))
  return copy
}
/** A parameter, or an object of named ones. */
const copyOf = (param: unknown): unknown => {
  if (typeof param !== "object" || param === null || ArrayBuffer.isView(param)) return copyOfBytes(param)
  return Object.fromEntries(Object.entries(param).map(([name, value]) => [name, copyOfBytes(value)]))
}

/** Numbers, texts and their like, which cannot change. */
export const isPlain = (param: unknown) => typeof param !== "object" || param === null

/** A copy when it is asked for. An object may fail to be read. */
export const copied = (params: ReadonlyArray<unknown>) =>
  Effect.try({
    try: () => params.map(copyOf),
    catch: (cause) =>
      new SqlError.SqlError({
        reason: new SqlError.UnknownError({ cause, message: "A parameter cannot be read", operation: "execute" }),
      }),
  })

/**
 * Whole numbers of 8 bytes as a program on SQLite has them: a `number` while that holds them exactly, else a `bigint`. So a
 * program reads its keys and counts alike from both stores.
 */
import { PgTypes } from "@effect/sql-pg"
import { Result } from "effect"

const size = 8

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const codec: PgTypes.Codec<number | bigint> = {
  encode: (value) => {
    const bytes = new Uint8Array(size)
    return typeof value === "bigint" || Number.isSafeInteger(value)
      ? (viewOf(bytes).setBigInt64(0, BigInt(value)), Result.succeed(bytes))
      : Result.fail(new PgTypes.CodecError({ message: `expected a whole number, got ${value}` }))
  },
  decode: (bytes) => {
    if (bytes.length !== size) return Result.fail(new PgTypes.CodecError({ message: "expected 8 bytes" }))
    const value = viewOf(bytes).getBigInt64(0)
    return Result.succeed(Number.isSafeInteger(Number(value)) ? Number(value) : value)
  },
}

/** What a client reads with. */
export const types = (): PgTypes.Registry => {
  const registry = PgTypes.makeRegistry()
  registry.register(PgTypes.OID.int8, codec, { arrayOid: PgTypes.OID.int8Array })
  return registry
}

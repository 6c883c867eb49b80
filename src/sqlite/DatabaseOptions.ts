/**
 * How a database is opened: the options of the driver under their own names, and those that Seawall adds.
 *
 * Also checks them, before anything is opened or created: what no connection can have is a `DatabaseOpenError`.
 */
import type { SqliteClient } from "@effect/sql-sqlite-node"
import { ByteSize, Duration, Effect, Option } from "effect"
import { DatabaseOpenError, type OpenReason } from "./DatabaseOpenError.ts"
import type { Durability } from "../sql/Durability.ts"

/**
 * Those of `SqliteClient.layer`, with the same defaults (`prepareCacheSize` 200, `prepareCacheTTL` 10 minutes), and those that
 * stand here; `filename` alone has no default.
 */
export interface DatabaseOptions extends SqliteClient.SqliteClientConfig {
  /** Path of the database file, or of a link to it. `:memory:` and URIs are refused (`WalRefused`). */
  readonly filename: string
  /**
   * Opens an existing database without ever writing to it, in WAL mode or not; default false. SQLite may create its
   * sidecars, and leaves them. https://www.sqlite.org/wal.html#read_only_databases
   */
  readonly readonly?: boolean | undefined
  /** `true` is refused (`WalRefused`): a database without a WAL has none to keep short. */
  readonly disableWAL?: boolean | undefined
  /** What an acknowledged write survives; default `durable`: a power cut, and what the `Writer` syncs blocks no other fiber. */
  readonly durability?: Durability | undefined
  /**
   * What follows a sync of the WAL that failed. `refuse` (default): nothing is written until the program has restarted,
   * because a later sync that succeeds proves nothing. `resume`: the guard's next checkpoint by interval runs with
   * writers held back; when it copied every frame, and the database file was synced, writes are taken again.
   */
  readonly afterFailedSync?: "refuse" | "resume" | undefined
  /**
   * How long a statement waits for another process's lock, in whole milliseconds; default 1 s, 0 = not at all. The wait
   * blocks the event loop, which is why it is short. https://www.sqlite.org/pragma.html#pragma_busy_timeout
   */
  readonly busyTimeout?: Duration.Input | undefined
  /**
   * Page cache: a number of bytes or such as "8 MiB", rounded up to whole KiB, at least 1; default 2000 KiB, SQLite's own.
   * https://www.sqlite.org/pragma.html#pragma_cache_size
   */
  readonly cacheSize?: ByteSize.Input | undefined
  /**
   * Opens a file on a network file system all the same, with a warning; default false, because WAL mode corrupts there.
   * A file system that is not known counts as local. https://www.sqlite.org/wal.html#overview
   */
  readonly allowNetworkFileSystem?: boolean | undefined
  /** Creates a missing file and its missing folders; default true. Never with `readonly`. */
  readonly create?: boolean | undefined
  /** For a database of another program: refuses one that is not in WAL mode, instead of changing it; default false. */
  readonly requireWal?: boolean | undefined
}

/** SQLite's own limits are `int`s: https://www.sqlite.org/pragma.html#pragma_cache_size */
const mostInt = 0x7fffffff

/** The numbers that SQLite is told, and reads back. */
export interface Numbers {
  readonly busyMillis: number
  readonly cacheKib: number
}

/** NaN for what is no duration; Effect takes NaN for none at all. */
const millisOf = (input: Duration.Input): number =>
  Option.match(Duration.fromInput(input), {
    onNone: () => Number.NaN,
    onSome: (duration) => (Number.isNaN(input) ? Number.NaN : Math.ceil(Duration.toMillis(duration))),
  })

/** Succeeds with what SQLite is to be told. */
export const check = Effect.fnUntraced(function* (options: DatabaseOptions) {
  const { busyTimeout = "1 second", prepareCacheSize = 200 } = options
  const refuse = (name: string, expected: string, got: unknown, reason: OpenReason = "PragmaRefused") => {
    const detail = `expected ${name} to be ${expected}, got ${String(got)}`
    return new DatabaseOpenError({ file: options.filename, reason, detail })
  }
  if (options.disableWAL === true) {
    const advice = "false or left out, because a database without a WAL has none to keep short"
    return yield* refuse("disableWAL", advice, true, "WalRefused")
  }
  const busyMillis = millisOf(busyTimeout)
  if (!(busyMillis >= 0 && busyMillis <= mostInt)) {
    return yield* refuse("busyTimeout", `a duration of at most ${mostInt} ms`, busyTimeout)
  }
  const { cacheSize } = options
  const cache = cacheSize === undefined ? Option.some(ByteSize.kibibytes(2000)) : ByteSize.fromInput(cacheSize)
  const cacheKib = Option.match(cache, {
    onNone: () => Number.NaN,
    onSome: (size) => Math.ceil(ByteSize.toUnit(size, "KiB")),
  })
  if (!(cacheKib >= 1 && cacheKib <= mostInt)) {
    return yield* refuse("cacheSize", `a size from 1 byte to ${mostInt} KiB, such as "8 MiB"`, cacheSize)
  }
  if (!Number.isSafeInteger(prepareCacheSize) || prepareCacheSize < 1) {
    return yield* refuse("prepareCacheSize", "a whole number above 0", prepareCacheSize)
  }
  if (Number.isNaN(millisOf(options.prepareCacheTTL ?? "10 minutes"))) {
    return yield* refuse("prepareCacheTTL", "a duration", options.prepareCacheTTL)
  }
  return { busyMillis, cacheKib } satisfies Numbers
})

/**
 * What a guard needs of an open database, beside what a program uses (`Database`): the write gate, SQLite's autocheckpoint,
 * and what tells of commits, of growth and of a file that was replaced. The same layers provide both.
 *
 * For those who build a guard or a checkpointer of their own, and for doubles in tests.
 */
import { Context, type Duration, type Effect, type Option } from "effect"
import type { SqlError } from "effect/sql"
import type { OpenedFiles } from "../files/DatabaseFile.ts"
import type { Holder } from "./ConnectionPermit.ts"
import type { DurabilityError } from "../sql/Durability.ts"
import type { ExposureTracker } from "./Exposure.ts"
import type { FileSyncError } from "./FileSync.ts"
import type { Stamp } from "./WalSync.ts"
import type { GateEnd } from "./WriteGate.ts"

export type { ExposureTracker, FileSyncError, GateEnd, Holder, OpenedFiles, Stamp }

/** The members, for a double: each can be a plain effect. */
export interface DatabaseControlService {
  /** Which files were opened: for a second connection to them. */
  readonly opened: OpenedFiles
  /** The commits of this program, and which of them no sync has covered. */
  readonly exposure: ExposureTracker
  /** Whether `exposure` is told of each commit of this connection; if not, a guard has to look for them. */
  readonly seesCommits: boolean
  /** Changes when the WAL is written, by whatever process; none where that cannot be told. */
  readonly walStamp: () => Stamp | undefined
  /** How long the file of the WAL is, in bytes; a WAL that starts from its beginning leaves it as long as it was. */
  readonly walBytes: Effect.Effect<number>
  /** Looks now whether the file or its WAL was replaced. */
  readonly lookForReplacement: Effect.Effect<Option.Option<DurabilityError>>
  /** Whether `Database.replaced` has succeeded; looks at nothing. */
  readonly isReplaced: () => boolean
  /** Which transaction, or reserved connection, keeps everything else waiting now; never a single statement. */
  readonly holder: Effect.Effect<Option.Option<Holder>>
  /**
   * Runs `self` while no statement of this process runs: waits at most 1 s for its turn, and holds writers back for at
   * most `hold`, default 100 ms. `self` must not use the `SqlClient`. A fiber inside a transaction would wait for itself, and
   * is not let in.
   */
  readonly gate: <A, E, R>(
    self: Effect.Effect<A, E, R>,
    hold?: Duration.Duration,
  ) => Effect.Effect<GateEnd<A, E>, never, R>
  /** Sets https://www.sqlite.org/pragma.html#pragma_wal_autocheckpoint (pages; 0 = off) and returns what it was. */
  readonly autocheckpoint: (pages: number) => Effect.Effect<number, SqlError.SqlError>
  /** Syncs the main file from the thread pool; what SQLite relies on, it syncs itself. */
  readonly syncFile: Effect.Effect<void, FileSyncError>
  /** How writes are taken again after a failed sync: run it when every frame is in the synced database. None: by a restart. */
  readonly resume: Effect.Effect<Option.Option<Effect.Effect<void>>>
  /** Lets the `Writer` finish what it has taken, and take nothing more; in the shutdown budget, once, never fails. */
  readonly quiesce: Effect.Effect<void>
}

/** Comes with each `Database`. */
export class DatabaseControl extends Context.Service<DatabaseControl, DatabaseControlService>()(
  "seawall/sqlite/DatabaseControl",
) {}

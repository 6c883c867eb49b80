/** Whether a database is in WAL mode, for the subjects that ask. */
import { Option } from "effect"
import { type Facts, walSize } from "../facts/Facts.ts"

/** In WAL mode, or with a WAL that its next user will read. */
export const isWal = (facts: Facts): boolean =>
  Option.exists(facts.header, ({ journalMode }) => journalMode === "wal") || walSize(facts) > 0

/** The processes that have a database open, where SQLite only says that it is locked. */
import { Effect, type FileSystem, Option } from "effect"
import * as DatabaseFile from "../files/DatabaseFile.ts"
import { namesOf } from "../processes/ProcessName.ts"
import * as Processes from "../processes/Processes.ts"

/** What SQLite said, and which other processes have the database open, where that can be seen (Linux). */
export const saysWho = (detail: string, file: string): Effect.Effect<string, never, FileSystem.FileSystem> =>
  Effect.map(Processes.using(DatabaseFile.resolve(file)), (all) => {
    const others = Option.getOrElse(all, () => [])
    return others.length === 0 ? detail : `${detail}: it is open in ${namesOf(others)}`
  })

/** What commands share that work on the books of a PostgreSQL server instead of those of a file. */
import { Effect, Option } from "effect"
import { Argument, Flag } from "effect/cli"
import * as EngineConfig from "../engine/EngineConfig.ts"
import { DriverMissing } from "../engine/Session.ts"

/** Where the books are. */
export const store = Flag.Literals("store", ["sqlite", "postgres"]).pipe(
  Flag.withDescription("sqlite: the file of --db; postgres: the server of SEAWALL_POSTGRES_URL"),
  Flag.withDefault("sqlite"),
)

/** The variables of the server alone: a start of the engine reads the rest. */
export const config = Effect.suspend(() =>
  EngineConfig.load({
    source: "the environment",
    yaml: "",
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith("SEAWALL_POSTGRES_"))),
  }),
)

/** A part that needs the driver, which may not be installed. */
export const load = <A>(module: () => Promise<A>): Effect.Effect<A, DriverMissing> =>
  Effect.tryPromise({ try: module, catch: (cause) => new DriverMissing({ cause }) })

/** Fails when a file is named beside a server, or none where there is none. */
const fits = (chosen: "sqlite" | "postgres", isNamed: boolean, name: string) => {
  if (isNamed === (chosen === "sqlite")) return Effect.void
  const message = isNamed
    ? "there is no file with --store postgres; leave it out"
    : "name the database, or choose --store postgres"
  const problems = [{ path: name, message }]
  return Effect.fail(new EngineConfig.EngineConfigError({ source: "the command line", problems }))
}

/** The file of a command that works on a file, none of one that works on a server; anything else is refused by what is missing. */
export const fileOf = (chosen: "sqlite" | "postgres", db: Option.Option<string>) =>
  Effect.as(fits(chosen, Option.isSome(db), "--db"), db)

/** As `OneShot.databases`, and none with `--store postgres`. */
export const databases = Argument.String("db").pipe(
  Argument.withDescription("SQLite databases, and folders that hold some; must exist"),
  Argument.withMetavar("DB"),
  Argument.variadic(),
)

/** Refuses what `fileOf` refuses, of a command that takes several. */
export const databasesOf = (chosen: "sqlite" | "postgres", given: ReadonlyArray<string>) =>
  fits(chosen, given.length > 0, "DB")

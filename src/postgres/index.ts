/** An engine in PostgreSQL: `import { PostgresDatabase } from "seawall/postgres"`; needs `@effect/sql-pg`. Each name is a module. */
export * as Leaders from "./Leaders.ts"
export * as Leadership from "./Leadership.ts"
export * as PostgresDatabase from "./PostgresDatabase.ts"
export * as PostgresOpenError from "./PostgresOpenError.ts"

/**
 * The official SQLite driver, `@effect/sql-sqlite-node`, as this package carries it: for a program that has a client of its own
 * (`Database.layerClient`), while npm has no release of the driver for stable Effect.
 */
export * from "@effect/sql-sqlite-node/SqliteClient"

import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { describe, expect, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Result } from "effect"
import { locate, type PathOptions } from "../../src/sqlite/DatabasePath.ts"
import { temporaryFolder } from "../../src/testing/TemporaryDatabase.ts"
import { list } from "../support/files.ts"
import { LogCapture, logged } from "../../src/testing/LogCapture.ts"

/** The real file system, but for its mount table. */
const mounted = (table: string) =>
  Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (fs) => ({
      ...fs,
      readFileString: (path: string, encoding?: string) =>
        path === "/proc/mounts" ? Effect.succeed(table) : fs.readFileString(path, encoding),
    })),
  ).pipe(Layer.provide(NodeFileSystem.layer), Layer.merge(NodePath.layer))

const look = (options: PathOptions, table: string) =>
  locate(options).pipe(Effect.provide(mounted(table)), Effect.result)

describe("a path on a network file system", () => {
  it.effect("is refused, with what to do, and nothing is created", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const result = yield* look({ file: `${folder}/test.db` }, `server:/export ${folder} nfs4 rw 0 0\n`)
      const error = Result.isFailure(result) ? result.failure : undefined
      expect(error?.reason).toBe("NetworkFileSystem")
      expect(error?.message).toContain("move it to a local disk, or allow it explicitly")
      expect(error?.message).toContain("(nfs4)")
      expect(yield* list(folder)).toEqual([])
    }),
  )

  it.effect("is opened when that is allowed, with a loud warning", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const options = { file: `${folder}/test.db`, allowNetworkFileSystem: true }
      expect(Result.isSuccess(yield* look(options, `//server/c ${folder} cifs rw 0 0\n`))).toBe(true)
      const lines = yield* logged("database on a network file system")
      expect(lines.map(({ level, fields }) => [level, fields["type"]])).toEqual([["Warn", "cifs"]])
    }).pipe(Effect.provide(LogCapture.layer)),
  )

  it.effect("is not a path on a local one", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const result = yield* look({ file: `${folder}/test.db` }, `/dev/sda1 ${folder} ext4 rw 0 0\n`)
      expect(Result.isSuccess(result)).toBe(true)
    }),
  )
})

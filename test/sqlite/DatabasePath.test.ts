import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { describe, expect, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, PlatformError, Result } from "effect"
import * as fs from "node:fs"
import * as Database from "../../src/sqlite/Database.ts"
import { fromNative } from "../../src/sqlite/DatabaseOpenError.ts"
import { locate, type PathOptions } from "../../src/sqlite/DatabasePath.ts"
import * as TemporaryDatabase from "../../src/testing/TemporaryDatabase.ts"
import { list } from "../support/files.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"

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
      const folder = yield* TemporaryDatabase.folder
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
      const folder = yield* TemporaryDatabase.folder
      const options = { file: `${folder}/test.db`, allowNetworkFileSystem: true }
      expect(Result.isSuccess(yield* look(options, `//server/c ${folder} cifs rw 0 0\n`))).toBe(true)
      const lines = yield* LogCapture.logged("database on a network file system")
      expect(lines.map(({ level, fields }) => [level, fields["type"]])).toEqual([["Warn", "cifs"]])
    }).pipe(Effect.provide(LogCapture.layer)),
  )

  it.effect("is not a path on a local one", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const result = yield* look({ file: `${folder}/test.db` }, `/dev/sda1 ${folder} ext4 rw 0 0\n`)
      expect(Result.isSuccess(result)).toBe(true)
    }),
  )
})

describe("a path on a file system that a host and its guests share", () => {
  it.effect.each(["virtiofs", "fakeowner", "fuse.grpcfuse", "osxfs", "vmhgfs", "prl_fs", "fuse.juicefs", "ocfs2"])(
    "is opened with a warning: %s",
    (type) =>
      Effect.gen(function* () {
        const folder = yield* TemporaryDatabase.folder
        expect(Result.isSuccess(yield* look({ file: `${folder}/test.db` }, `share ${folder} ${type} rw 0 0\n`))).toBe(
          true,
        )
        const lines = yield* LogCapture.logged("database on a shared file system")
        expect(lines.map(({ level, fields }) => [level, fields["type"]])).toEqual([["Warn", type]])
      }).pipe(Effect.provide(LogCapture.layer)),
  )
})

describe("a path that SQLite would open and lose data by", () => {
  const refused = (options: PathOptions) =>
    Effect.map(Effect.flip(locate(options)), ({ message, reason }) => ({ message, reason })).pipe(
      Effect.provide([NodeFileSystem.layer, NodePath.layer]),
    )

  it.effect("is refused where only the WAL is left, and nothing is created", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      const file = `${folder}/app.db`
      fs.writeFileSync(`${file}-wal`, "x".repeat(4152))
      expect(yield* refused({ file })).toEqual({
        reason: "WalWithoutDatabase",
        message: expect.stringContaining(
          `put the database back beside it, or move the WAL away (${file}-wal)`,
        ) as string,
      })
      expect(yield* list(folder)).toEqual(["app.db-wal"])
      fs.writeFileSync(`${file}-wal`, "")
      yield* locate({ file }).pipe(Effect.provide([NodeFileSystem.layer, NodePath.layer])) // it holds nothing
    }),
  )

  it.effect("is refused where the file itself is a mount point", () =>
    Effect.gen(function* () {
      const folder = fs.realpathSync(yield* TemporaryDatabase.folder)
      const file = `${folder}/app.db`
      fs.writeFileSync(file, "")
      const layer = Layer.effect(
        FileSystem.FileSystem,
        Effect.map(FileSystem.FileSystem, (real) => ({
          ...real,
          readFileString: (path: string) =>
            Effect.succeed(path === "/proc/self/mountinfo" ? `36 22 254:0 /x ${file} rw - ext4 /dev/vda rw\n` : ""),
        })),
      ).pipe(Layer.provide(NodeFileSystem.layer), Layer.merge(NodePath.layer))
      expect((yield* Effect.flip(Effect.provide(locate({ file }), layer))).reason).toBe("MountPoint")
    }),
  )

  it.effect("is refused under a second name for what copies or checkpoints, and a warning for what opens it", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      fs.writeFileSync(`${folder}/app.db`, "")
      fs.linkSync(`${folder}/app.db`, `${folder}/alias.db`)
      expect((yield* refused({ file: `${folder}/alias.db`, oneName: true })).reason).toBe("SeveralNames")
      yield* locate({ file: `${folder}/alias.db` }).pipe(Effect.provide([NodeFileSystem.layer, NodePath.layer]))
      const [line] = yield* LogCapture.logged("database has several names")
      expect([line?.level, line?.fields["hard_links"]]).toEqual(["Warn", 2])
    }).pipe(Effect.provide(LogCapture.layer)),
  )

  it.effect(
    "is refused while this process has the file open under another name, and may be opened under the same again",
    () =>
      Effect.gen(function* () {
        const folder = yield* TemporaryDatabase.folder
        const file = `${folder}/app.db`
        yield* Effect.gen(function* () {
          fs.linkSync(file, `${folder}/alias.db`)
          fs.symlinkSync("app.db", `${folder}/link.db`)
          const error = yield* Effect.flip(Layer.build(Database.layer({ filename: `${folder}/alias.db` })))
          expect([error.reason, error.detail]).toEqual(["OpenUnderOtherName", fs.realpathSync(file)])
          yield* Effect.scoped(Layer.build(Database.layer({ filename: `${folder}/link.db` })))
        }).pipe(Effect.provide(Database.layer({ filename: file })))
        yield* Layer.build(Database.layer({ filename: `${folder}/alias.db` }))
      }).pipe(Effect.scoped),
  )

  it.effect("is refused when it, or its name, is longer than SQLite or the system can use", () =>
    Effect.gen(function* () {
      const folder = yield* TemporaryDatabase.folder
      expect((yield* refused({ file: `${folder}/${"d/".repeat(250)}app.db` })).reason).toBe("PathTooLong")
      expect((yield* refused({ file: `${folder}/${"n".repeat(250)}` })).message).toContain("its name has 250 bytes")
      expect(yield* list(folder)).toEqual([])
    }),
  )

  it.effect("is refused with the limit to raise when the process may open no more files, or shares no memory", () =>
    Effect.gen(function* () {
      const limit = Object.assign(new Error("too many open files"), { code: "EMFILE" })
      const full = Layer.effect(
        FileSystem.FileSystem,
        Effect.map(FileSystem.FileSystem, (fs) => ({
          ...fs,
          stat: (path: string) =>
            Effect.fail(
              PlatformError.systemError({
                _tag: "Unknown",
                module: "FileSystem",
                method: "stat",
                pathOrDescriptor: path,
                cause: limit,
              }),
            ),
        })),
      ).pipe(Layer.provide(NodeFileSystem.layer), Layer.merge(NodePath.layer))
      const error = yield* Effect.flip(Effect.provide(locate({ file: "app.db" }), full))
      expect([error.reason, error.message]).toEqual(["NoDescriptor", expect.stringContaining("ulimit -n")])
      for (const errcode of [4618, 4874, 5130, 5386]) {
        const cause = Object.assign(new Error("disk I/O error"), { code: "ERR_SQLITE_ERROR", errcode })
        expect(fromNative("app.db", cause).reason, `${errcode}`).toBe("WalRefused")
      }
    }),
  )

  it.effect("has its new folders synced up to the one that was there", () =>
    Effect.gen(function* () {
      const folder = fs.realpathSync(yield* TemporaryDatabase.folder)
      const synced: Array<string> = []
      const watched = Layer.effect(
        FileSystem.FileSystem,
        Effect.map(FileSystem.FileSystem, (real) => ({
          ...real,
          open: (path: string) =>
            Effect.map(real.open(path), (file) => ({
              ...file,
              sync: Effect.andThen(file.sync, () => Effect.sync(() => void synced.push(path))),
            })),
        })),
      ).pipe(Layer.provide(NodeFileSystem.layer), Layer.merge(NodePath.layer))
      yield* Effect.provide(locate({ file: `${folder}/a/b/app.db` }), watched)
      expect(synced).toEqual([`${folder}/a/b`, `${folder}/a`, folder])
      yield* Effect.provide(locate({ file: `${folder}/a/b/app.db` }), watched)
      expect(synced).toHaveLength(3)
    }),
  )
})

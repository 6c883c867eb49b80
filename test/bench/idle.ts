/** A thousand guards on a thousand databases with nothing to do, on one thread: prints memory and CPU as one JSON line. */
import { Effect, Layer, Logger } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as GuardedDatabase from "../../src/wal/GuardedDatabase.ts"

const guards = 1000
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-idle-"))

const guarded = (n: number) => GuardedDatabase.layer({ filename: path.join(folder, `${n}.db`) })

const main = Effect.gen(function* () {
  globalThis.gc?.()
  const before = process.memoryUsage().rss
  for (let n = 0; n < guards; n++) yield* Layer.build(guarded(n))
  yield* Effect.sleep("1 second")
  globalThis.gc?.()
  const bytes = process.memoryUsage().rss - before
  const cpu = process.cpuUsage()
  yield* Effect.sleep("10 seconds")
  const { system, user } = process.cpuUsage(cpu)
  return { guards, kilobytesEach: bytes / guards / 1024, cpuMillisPerSecond: (system + user) / 1000 / 10 }
}).pipe(Effect.scoped, Effect.provide(Logger.layer([])))

const figures = await Effect.runPromise(main)
fs.rmSync(folder, { recursive: true })
process.stdout.write(`${JSON.stringify(figures)}\n`)

/**
 * A process of its own for one long piece of work on a file: signals and the event loop here stay alive, and what cannot be
 * called off inside SQLite can be killed. It prints JSON, and only reads files that are not its own.
 */
import { Effect, Path, Schedule, Schema } from "effect"
import { ChildProcess } from "effect/process"

/** A process that did not come to its end, whatever it had printed by then. */
class EndedEarly extends Schema.TaggedError<EndedEarly>()("EndedEarly", { what: Schema.String, code: Schema.Int }) {
  override get message() {
    return `the process that ${this.what} has ended with exit code ${this.code}`
  }
}

/** Says how far it is, as long as the scope is open: what takes a second is no news, and what takes long says so now and then. */
export const progress = <E, R>(line: Effect.Effect<void, E, R>) =>
  Effect.forkScoped(Effect.andThen(Effect.sleep("1 second"), Effect.repeat(line, Schedule.spaced("5 seconds"))))

/** What each of them does; beside this module there is a script of that name, as `.ts` in the sources and `.js` in a build. */
const work = { backupProcess: "copies", integrityProcess: "checks" } as const

/** Starts it, until the scope closes. */
export const start = Effect.fnUntraced(function* (name: keyof typeof work, ...files: ReadonlyArray<string>) {
  const path = yield* Path.Path
  const script = new URL(`./${name}.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url)
  const args = [yield* path.fromFileUrl(script), ...files.map((file) => path.resolve(file))]
  const child = yield* ChildProcess.make(process.execPath, args, {
    stdin: "ignore",
    stderr: "ignore",
    killSignal: "SIGKILL", // it holds nothing that it would have to put in order
  })
  return {
    pid: child.pid,
    stdout: child.stdout,
    /** Waits for its end, which must be a good one. */
    ended: Effect.flatMap(child.exitCode, (code) =>
      code === 0 ? Effect.void : Effect.fail(new EndedEarly({ what: work[name], code })),
    ),
  }
})

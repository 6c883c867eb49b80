/**
 * A shell that starts and ends things for a test, in a temporary folder of its own.
 *
 * It runs one command after the other. It cleans up when its input ends: when the scope closes, and also when the test's process
 * is killed. A command that runs at that moment ends first, so that nothing starts behind the clean-up. Ctrl+C does not reach it.
 * Whatever goes wrong here is a defect of the test.
 */
import { Effect, Semaphore } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"

/** The signal is caught, not ignored: what the shell starts would inherit that it is ignored. */
const program = `
trap : PIPE
folder=$(mktemp -d "$1-XXXXXX") && cd "$folder" || exit 1
echo "$folder" 2>/dev/null
while IFS= read -r line; do
  ( eval "$line" ) </dev/null >"$folder/said" 2>&1
  echo $? 2>/dev/null
done
( eval "$2" ) </dev/null >/dev/null 2>&1
cd / && rm -rf "$folder"
`

/** A server that does not stop by itself is killed by `pg_ctl` or by PostgreSQL in at most 20 s. */
const longestCleanUp = 30_000

export interface KeeperOptions {
  /** How its folder begins. */
  readonly name: string
  /** Shell that ends what it started; runs in the folder, which is removed afterwards. */
  readonly atEnd: string
  /** Who it is, and everything that it starts. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined
}

export interface Keeper {
  readonly folder: string
  /** Runs a line of shell in the folder, after those before it. Returns what it said; dies with it when the line fails. */
  readonly run: (line: string) => Effect.Effect<string>
}

/** A word for a shell. */
export const quoted = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`

/** Its environment has a path and nothing else: no setting of PostgreSQL, no language. */
const environment = { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin`, LC_ALL: "C" }

const spawned = ({ atEnd, name, user }: KeeperOptions) => {
  const child = spawn("sh", ["-c", program, "keeper", join(tmpdir(), name), atEnd], {
    cwd: "/",
    detached: true,
    env: environment,
    stdio: ["pipe", "pipe", "inherit"],
    ...user,
  })
  // That it is gone shows in its answer, which does not come.
  child.stdin.on("error", () => undefined)
  return { child, answers: createInterface({ input: child.stdout }), ended: once(child, "close") }
}

const end = ({ child, ended }: ReturnType<typeof spawned>) =>
  Effect.promise(async () => {
    child.stdin.end()
    const tooLong = setTimeout(() => child.kill("SIGKILL"), longestCleanUp)
    const [code] = await ended
    clearTimeout(tooLong)
    if (code !== 0) throw new Error(`the clean-up of ${child.spawnargs.at(-2)} ended with ${String(code)}`)
  })

export const make = Effect.fnUntraced(function* (options: KeeperOptions) {
  const shell = yield* Effect.acquireRelease(
    Effect.sync(() => spawned(options)),
    end,
  )
  const ask = (line: string) =>
    Effect.callback<string>((resume) => {
      const gone = () => resume(Effect.die(new Error(`the shell of ${options.name} ended`)))
      if (shell.child.exitCode !== null) return gone()
      shell.child.once("close", gone)
      shell.answers.once("line", (answer) => {
        shell.child.off("close", gone)
        resume(Effect.succeed(answer))
      })
      shell.child.stdin.write(line)
    })
  const folder = yield* Effect.uninterruptible(ask(""))
  const turn = yield* Semaphore.make(1)
  const run = (line: string) =>
    Effect.gen(function* () {
      const code = yield* ask(`${line}\n`)
      const said = fs.readFileSync(join(folder, "said"), "utf8")
      if (code !== "0") return yield* Effect.die(new Error(`ended with ${code}: ${line}\n${said}`))
      return said
    }).pipe(Effect.uninterruptible, turn.withPermits(1))
  return { folder, run } satisfies Keeper
})

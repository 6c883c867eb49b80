/**
 * Every command on every kind of file, as root, as another user, in a read-only file system and on a full disk. Whatever it
 * meets, a command ends by itself with an exit code that its help names and says one thing about it; one that only
 * looks, and one that failed, leaves everything as it was; and what could be read before can be read afterwards.
 */
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { type Ended, start } from "../support/Seawall.ts"
import { randomOf } from "../support/random.ts"
import { nothing, type Verdict } from "./database.ts"
import { type FileKind, kinds } from "./FileKinds.ts"
import { hasDefect, tailOf, twoAtATime } from "./session.ts"
import * as SmallDisk from "./SmallDisk.ts"

interface Tried {
  readonly args: (file: string) => ReadonlyArray<string>
  readonly codes: ReadonlyArray<number>
  /** Changes nothing even when it succeeds. */
  readonly looks?: true
  /** What it may leave that was not there before, by name. */
  readonly makes?: RegExp
  /** Says what went wrong in its log, which is standard output. */
  readonly logs?: true
  /** Prints a name as it is, for a script. */
  readonly names?: true
  /** Goes on until it is told to end. */
  readonly until?: string
}

const commands: ReadonlyArray<Tried> = [
  { args: (file) => ["status", file], codes: [0, 1], looks: true },
  { args: (file) => ["status", "--json", file], codes: [0, 1], looks: true },
  { args: (file) => ["doctor", file], codes: [0, 1, 2, 65], looks: true },
  { args: (file) => ["doctor", "--json", file], codes: [0, 1, 2, 65], looks: true },
  { args: (file) => ["checkpoint", file], codes: [0, 1, 2] },
  { args: (file) => ["checkpoint", file, "--mode", "truncate", "--json"], codes: [0, 1, 2] },
  { args: (file) => ["backup", file], codes: [0, 1], names: true, makes: /\.manual\.\d+T\d+Z$|-shm$/ },
  { args: (file) => ["backup", file, "copy.db", "--json"], codes: [0, 1], makes: /^copy\.db$|-shm$/ },
  { args: (file) => ["restore", file, "new.db"], codes: [0, 1, 65], makes: /^new\.db$/ },
  { args: (file) => ["restore", file, file], codes: [1, 65] },
  { args: (file) => ["restore", file, "new.db", "--dry-run"], codes: [0, 1, 65], looks: true },
  {
    args: (file) => ["restore", "good.bak", file],
    codes: [0, 1],
    makes: /\.db$|^42$|\.replaced\.\d+T\d+Z(?:-wal|-shm|-journal)?$/,
  },
  {
    args: (file) => ["capital", "deposit", "--db", file, "--amount", "5", "--source-note", "x"],
    codes: [0, 1],
    looks: true,
  },
  { args: (file) => ["capital", "basis", "--db", file, "--amount", "5", "--confirm"], codes: [0, 1] },
  { args: (file) => ["copy-state", "--db", file], codes: [0, 1, 78], looks: true },
  { args: (file) => ["guard", file, "--interval-seconds", "0.2"], codes: [0, 1], logs: true, until: "level=INFO" },
  { args: (file) => ["guard", file, "--strict"], codes: [0, 1], logs: true, until: "level=INFO" },
  {
    args: (file) => ["run", "--db", file, "--duration-seconds", "0.2"],
    codes: [0, 1, 65],
    makes: /^[^-]*$/,
    logs: true,
  },
]

const settings = ["root", "another user", "read-only", "full disk"] as const
type Setting = (typeof settings)[number]

/** What a trial needs of the machine: only root may mount, and become another user. */
export const canAll = SmallDisk.isPossible

/** Everything in a folder: names, whose they are, and what is in them. `-shm` is an index that any process may rebuild. */
const everything = (folder: string): ReadonlyArray<string> =>
  fs
    .readdirSync(folder, { recursive: true, encoding: "utf8" })
    .toSorted()
    .map((name) => {
      const it = fs.lstatSync(path.join(folder, name))
      const bytes = it.isFile() && !name.endsWith("-shm") ? fs.readFileSync(path.join(folder, name)) : ""
      const link = it.isSymbolicLink() ? fs.readlinkSync(path.join(folder, name)) : ""
      const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 12)
      return `${JSON.stringify(name)} ${it.mode.toString(8)} ${it.uid}:${it.gid} ${link}${it.isFile() ? hash : ""}`
    })

/** What a reader finds: of a copy, because a look may recover a WAL. */
const readable = (folder: string, name: string): string => {
  const aside = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-look-"))
  try {
    for (const suffix of ["", "-wal", "-journal"]) {
      const file = path.join(folder, name + suffix)
      if (fs.statSync(file, { throwIfNoEntry: false })?.isFile() !== true) continue
      fs.copyFileSync(file, path.join(aside, `copy${suffix}`))
    }
    const database = new DatabaseSync(path.join(aside, "copy"), { open: true })
    const found = database.prepare("SELECT count(*) AS rows, group_concat(b) AS b FROM t").get()
    database.close()
    return JSON.stringify(found)
  } catch {
    return "nothing"
  } finally {
    fs.rmSync(aside, { recursive: true, force: true })
  }
}

const patience = 40_000

const execute = async (command: Tried, file: string, folder: string, setting: Setting) => {
  const under = setting === "another user" ? ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"] : []
  const env = { SEAWALL_ENGINE_BACKUPS: "1", SEAWALL_POSTGRES_URL: "postgres://127.0.0.1:1/none" }
  const running = start(command.args(file), { cwd: folder, under, env })
  let hung = false
  const timer = setTimeout(() => {
    hung = true
    spawnSync("pkill", ["-KILL", "-P", String(running.pid)])
    running.kill("SIGKILL")
  }, patience)
  if (command.until !== undefined) {
    void running.says(command.until).then(
      () => running.kill("SIGTERM"),
      () => undefined,
    )
  }
  const ended = await running.ended
  clearTimeout(timer)
  return { ...ended, hung }
}

/** What it says of a failure: one line that tells of it, and none that only a programmer can read. */
const saidWrong = (command: Tried, { code, stderr, stdout }: Ended): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const lines = stderr.split("\n").filter((line) => line !== "")
  const errors = command.logs === true ? stdout.split("\n").filter((line) => line.includes("level=ERROR")) : lines
  const isFinding = code === 65 && /critical/i.test(stdout)
  if (code !== 0 && code !== 2 && errors.length === 0 && !isFinding) problems.push("said nothing")
  if (code !== 0 && lines.length > 4) problems.push(`${lines.length} lines`)
  const unclear = /FileSystem\.|\(node:|BadResource|undefined|\[object|SqlError|ERR_|NaN|E[A-Z]{4,}:/.exec(
    stderr + stdout,
  )
  if (unclear !== null) problems.push(`unclear: ${unclear[0]}`)
  // oxlint-disable-next-line no-control-regex -- what a terminal would obey is what is looked for
  if (/[\u0000-\u0009\u000b-\u001f\u007f]/.test(command.names === true ? stderr : stderr + stdout))
    problems.push("control characters")
  return problems
}

interface Trial {
  readonly kind: FileKind
  readonly command: Tried
  readonly setting: Setting
}

const prepare = async ({ kind, setting }: Trial, folder: string) => {
  if (setting === "read-only" || setting === "full disk") SmallDisk.mount(folder, 4096)
  const file = await kind.make(folder)
  const good = new DatabaseSync(path.join(folder, "good.bak"))
  good.exec("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'good')")
  good.close()
  fs.chmodSync(folder, 0o777)
  if (setting === "read-only") spawnSync("mount", ["-o", "remount,ro", folder])
  if (setting === "full disk") SmallDisk.fill(path.join(folder, "filler"))
  return file
}

const tryOne = async (trial: Trial): Promise<Verdict> => {
  const { command, kind, setting } = trial
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-commands-"))
  try {
    const file = await prepare(trial, folder)
    const before = everything(folder)
    const read = readable(folder, file)
    const ended = await execute(command, file, folder, setting)
    const after = everything(folder)
    const isReplaced = command.args(file)[1] === "good.bak" && ended.code === 0
    const problems = [...saidWrong(command, ended)]
    if (ended.hung) problems.push("it hung")
    else if (ended.code === null || !command.codes.includes(ended.code)) problems.push(`exit code ${ended.code}`)
    if (hasDefect(ended)) problems.push("a defect was not caught")
    const [gone, come] = [before.filter((it) => !after.includes(it)), after.filter((it) => !before.includes(it))]
    const nameOf = (entry: string) => JSON.parse(/^"(?:[^"\\]|\\.)*"/.exec(entry)![0]) as string
    const names = new Set(before.map(nameOf))
    const isUnwanted = (name: string) => !names.has(name) && command.makes?.test(name) !== true
    const mayChange = command.looks !== true && ended.code !== 1 && ended.code !== 65
    const isAmiss = mayChange ? come.some((entry) => isUnwanted(nameOf(entry))) : gone.length + come.length > 0
    if (isAmiss) problems.push(`changed: -${gone.join(" -")} +${come.join(" +")}`)
    const isLost = read !== "nothing" && !isReplaced && readable(folder, file) !== read
    if (isLost) problems.push("its rows are others")
    const how = `${command.args(file).join(" ")}, ${kind.name}, ${setting}`
    return {
      ...nothing,
      runs: 1,
      states: 1,
      checked: read === "nothing" ? 0 : 1,
      lost: isLost ? 1 : 0,
      hung: ended.hung ? 1 : 0,
      failures: problems.map((problem) => `${problem}: ${how}\n${tailOf(ended)}`),
    }
  } finally {
    SmallDisk.unmount(folder)
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

const all: ReadonlyArray<Trial> = settings.flatMap((setting) =>
  kinds.flatMap((kind) => commands.map((command) => ({ kind, command, setting }))),
)

/** How many trials there are. */
export const total = all.length

/** So many of them, chosen by chance. */
export const anyFile = (runs: number, seed: number): Promise<Verdict> => {
  const random = randomOf(seed)
  const left = all.map((trial) => ({ trial, at: random(1_000_000) })).toSorted((a, b) => a.at - b.at)
  return twoAtATime(
    left.slice(0, runs).map(({ trial }) => trial),
    tryOne,
  )
}

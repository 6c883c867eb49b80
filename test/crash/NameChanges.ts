/**
 * What is done to the names of a database, and the place where it is done: the database `app.db`, a healthy database of
 * another program, and programs in Python that have one of them open. Nothing here opens a file of a database in this
 * process once another process has it open.
 */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { DatabaseSync } from "node:sqlite"
import { own } from "./Owned.ts"
import * as SmallDisk from "./SmallDisk.ts"

/** So many rows every database of the table has from the start, in its file. */
export const rowsAtStart = 50

/** So many rows a Python program commits before it says that it is ready; they stay in its WAL. */
export const rowsOfPython = 20

/** A database with rows that say whose they are, closed and whole. */
const create = (file: string, whose: string) => {
  const database = new DatabaseSync(file)
  database.exec(`PRAGMA journal_mode = WAL;
    CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT NOT NULL);
    WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ${rowsAtStart})
      INSERT INTO t SELECT n, '${whose}' FROM i`)
  database.close()
}

const python = `
import os, select, sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
c.execute("PRAGMA wal_autocheckpoint = 0")
def write(): c.execute("INSERT INTO t (text) VALUES ('python')")
for _ in range(${rowsOfPython}): write()
print("ready", flush=True)
while sys.argv[2] != "leave":
    if not select.select([sys.stdin], [], [], 0.02 if sys.argv[2] == "write" else None)[0]:
        try: write()
        except sqlite3.Error: pass
        continue
    if not sys.stdin.readline(): break
    try:
        write()
        found = c.execute("PRAGMA integrity_check").fetchone()[0]
        print(found, c.execute("SELECT count(*) FROM t WHERE text = 'python'").fetchone()[0], flush=True)
    except sqlite3.Error as e: print(e, -1, flush=True)
os._exit(0)
`

export interface Python {
  readonly pid: number
  /** Writes one row more and looks at everything through the connection that it has had all the time. */
  readonly check: () => Promise<string>
  /** Ends it without a close, which would checkpoint into whatever has the names by then. */
  readonly end: () => Promise<void>
}

/** A Python program that has the database open: idle after its rows, or writing all the time. */
export const openInPython = async (file: string, how: "idle" | "write"): Promise<Python> => {
  const child = own(spawn("python3", ["-c", python, file, how], { stdio: ["pipe", "pipe", "inherit"] }))
  child.stdin.on("error", () => undefined)
  const ended = once(child, "close")
  const lines = createInterface({ input: child.stdout })
  const line = async () => {
    const [text] = (await Promise.race([once(lines, "line"), ended.then(() => ["it ended"])])) as [string]
    return text
  }
  const first = await line()
  if (first !== "ready") throw new Error(`python3 cannot open ${file}: ${first}`)
  return {
    pid: child.pid!,
    check: () => {
      const said = line()
      child.stdin.write("check\n")
      return said
    },
    end: async () => {
      child.kill("SIGKILL")
      await ended
    },
  }
}

/** The state of a process that was killed: rows in the WAL, and no process that has it open. */
const leaveByPython = (file: string) => spawnSync("python3", ["-c", python, file, "leave"])

export interface Place {
  readonly folder: string
  /** The database that the change is about, under the name that its user is given. */
  readonly file: string
  /** The name that other programs use for it. */
  readonly first: string
  /** The healthy database of another program. */
  readonly other: string
}

const mustRun = (command: string, ...args: ReadonlyArray<string>) => {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" })
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`)
}

/** What stands under a name, by another process: a hash, or nothing. */
export const contentsOf = (file: string): string =>
  spawnSync("sha256sum", [file], { encoding: "utf8" }).stdout.split(" ")[0] ?? ""

/** All names below the folder, with the hidden ones. */
export const namesIn = (folder: string): ReadonlyArray<string> =>
  fs.readdirSync(folder, { recursive: true }).map(String).toSorted()

export interface Change {
  readonly name: string
  /** Makes what stands there before its user opens it. */
  readonly prepare: (folder: string) => Place
  /** What happens while programs have `first` open. */
  readonly make: (place: Place) => void
  /** Whether no program has `first` open when the change is made for a command. */
  readonly isAtRest?: boolean
  /** Why it cannot be tried here. */
  readonly missing?: string
}

const beside = (folder: string): Place => {
  const place = {
    folder,
    file: path.join(folder, "app.db"),
    first: path.join(folder, "app.db"),
    other: path.join(folder, "other.db"),
  }
  create(place.file, "app")
  create(place.other, "other")
  return place
}

const remove = (place: Place, ...suffixes: ReadonlyArray<string>) => {
  for (const suffix of suffixes) fs.rmSync(place.first + suffix, { force: true })
}

/** Two file systems whose databases have the same inode number. */
const twins = (folder: string): Place => {
  const [one, two] = [path.join(folder, "one"), path.join(folder, "two")]
  for (const each of [one, two]) {
    fs.mkdirSync(each)
    mustRun("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", each)
  }
  const place = {
    folder,
    file: path.join(one, "app.db"),
    first: path.join(one, "app.db"),
    other: path.join(two, "app.db"),
  }
  create(place.file, "app")
  create(place.other, "other")
  const inodes = [place.file, place.other].map((file) => fs.statSync(file).ino)
  if (inodes[0] !== inodes[1]) throw new Error(`the inodes are not the same: ${inodes.join(", ")}`)
  return place
}

const needsRoot = SmallDisk.isPossible ? {} : { missing: "only root can mount" }

const copyOther = ({ first, other }: Place) => mustRun("cp", other, first)

export const changes = {
  renamed: {
    name: "replaced by rename",
    prepare: beside,
    make: (place) => {
      mustRun("cp", place.other, `${place.first}.new`)
      fs.renameSync(`${place.first}.new`, place.first)
    },
  },
  removed: { name: "removed", prepare: beside, make: (place) => remove(place, "") },
  remade: {
    name: "removed with its WAL, made again",
    prepare: beside,
    make: (place) => {
      remove(place, "", "-wal", "-shm")
      copyOther(place)
    },
  },
  hardLink: {
    name: "a hard link, used beside the first name",
    prepare: (folder) => {
      const place = beside(folder)
      fs.linkSync(place.file, path.join(folder, "alias.db"))
      return { ...place, file: path.join(folder, "alias.db") }
    },
    make: () => undefined,
  },
  linked: {
    name: "a hard link made meanwhile",
    prepare: beside,
    make: ({ first, folder }) => fs.linkSync(first, path.join(folder, "alias.db")),
  },
  symbolicLink: {
    name: "symbolic link moved to another",
    prepare: (folder) => {
      const place = beside(folder)
      const link = path.join(folder, "link.db")
      fs.symlinkSync("app.db", link)
      return { ...place, file: link }
    },
    make: ({ file }) => {
      fs.symlinkSync("other.db", `${file}.new`)
      fs.renameSync(`${file}.new`, file)
    },
  },
  mountedOver: {
    name: "another mounted over the file",
    prepare: beside,
    make: ({ first, other }) => mustRun("mount", "--bind", other, first),
    ...needsRoot,
  },
  mountedAlone: {
    name: "bind mount of the file alone",
    prepare: (folder) => {
      const place = beside(folder)
      const mounted = path.join(folder, "mounted")
      fs.mkdirSync(mounted)
      fs.writeFileSync(path.join(mounted, "app.db"), "")
      mustRun("mount", "--bind", place.first, path.join(mounted, "app.db"))
      return { ...place, file: path.join(mounted, "app.db") }
    },
    make: () => undefined,
    ...needsRoot,
  },
  walRemoved: { name: "-wal removed", prepare: beside, make: (place) => remove(place, "-wal") },
  shmRemoved: { name: "-shm removed", prepare: beside, make: (place) => remove(place, "-shm") },
  otherWal: {
    name: "the WAL of another beside it",
    prepare: (folder) => {
      const place = beside(folder)
      create(path.join(folder, "foreign.db"), "foreign")
      leaveByPython(path.join(folder, "foreign.db"))
      return place
    },
    make: ({ first, folder }) => fs.renameSync(path.join(folder, "foreign.db-wal"), `${first}-wal`),
    isAtRest: true,
  },
  twinMounted: {
    name: "same inode number, mounted over its folder",
    prepare: twins,
    make: ({ first, other }) => mustRun("mount", "--bind", path.dirname(other), path.dirname(first)),
    ...needsRoot,
  },
  twinElsewhere: {
    name: "same inode number, in use elsewhere",
    prepare: (folder) => {
      const { file, other, ...place } = twins(folder)
      return { ...place, file: other, first: file, other }
    },
    make: () => undefined,
    ...needsRoot,
  },
} satisfies Record<string, Change>

export type ChangeName = keyof typeof changes

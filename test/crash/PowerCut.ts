/**
 * What a power cut could leave, from the system calls that an engine really made.
 *
 * At a place of the trace the power goes. Of each file everything is there that was written before its last completed sync
 * started, and stays; of what came later any part may be: each write wholly, not at all, or cut at sectors of 512 bytes;
 * each change of length or not. The two files know nothing of each other, and `-shm` is gone. Each such state is opened as
 * the next start would, and must be sound, without a gap, and hold what was promised.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { Durability } from "../../src/sql/Durability.ts"
import { randomOf } from "../support/random.ts"
import { create, judge, nothing, plus, type Verdict } from "./database.ts"
import { argumentsOf } from "./EngineProcess.ts"
import { type Call, parse, type Trace } from "./Trace.ts"

export const hasStrace = spawnSync("strace", ["--version"]).status === 0

const sector = 512

/** Runs an engine to its clean end under `strace`. Returns what the files were before, and what happened to them. */
const record = (folder: string, durability: Durability, seed: number, writes: number) => {
  const file = path.join(folder, "test.db")
  const output = path.join(folder, "trace")
  create(file)
  const db = fs.readFileSync(file)
  const calls = "trace=write,pwrite64,ftruncate,unlink,fsync,fdatasync"
  const options = ["-f", "-y", "-xx", "-s", "1000000", "-qq", "-e", calls, "-e", "signal=none", "-o", output]
  const args = [...options, process.execPath, ...argumentsOf(file, { durability, seed, writes })]
  const ended = spawnSync("strace", args, { encoding: "utf8", timeout: 300_000 })
  if (ended.status !== 0) throw new Error(`the engine under strace ended with ${ended.status}: ${ended.stderr}`)
  const trace = parse(fs.readFileSync(output, "latin1"))
  if (trace.acks.length !== writes)
    throw new Error(`${trace.acks.length} of ${writes} acknowledgements are in the trace`)
  return { db, trace }
}

/** The contents of a file that grows and shrinks. */
class Image {
  bytes: Buffer
  length: number

  constructor(bytes: Buffer, length: number) {
    this.bytes = bytes
    this.length = length
  }

  copy() {
    return new Image(Buffer.from(this.bytes.subarray(0, this.length)), this.length)
  }

  resize(length: number) {
    if (length > this.bytes.length) {
      const grown = Buffer.alloc(Math.max(length, 2 * this.bytes.length))
      this.bytes.copy(grown, 0, 0, this.length)
      this.bytes = grown
    }
    if (length > this.length) this.bytes.fill(0, this.length, length)
    this.length = length
  }

  write(offset: number, bytes: Buffer) {
    if (offset + bytes.length > this.length) this.resize(offset + bytes.length)
    bytes.copy(this.bytes, offset)
  }

  apply(call: Call) {
    if (call.kind === "write") this.write(call.offset, call.bytes)
    if (call.kind === "truncate") this.resize(call.length)
  }
}

/** How much of what was not synced survives. */
const fates = ["nothing", "all", "some", "some", "torn", "torn"] as const

/** A part of a write, cut at the sectors of its file. */
const tear = ({ bytes, offset }: Extract<Call, { kind: "write" }>, random: (below: number) => number, image: Image) => {
  const first = Math.floor(offset / sector)
  const last = Math.ceil((offset + bytes.length) / sector)
  const cut = first + random(last - first + 1)
  const keep = [(n: number) => n < cut, (n: number) => n >= cut, () => random(2) === 0][random(3)]!
  for (let n = first; n < last; n++) {
    if (!keep(n)) continue
    const from = Math.max(offset, n * sector)
    const to = Math.min(offset + bytes.length, (n + 1) * sector)
    image.write(from, bytes.subarray(from - offset, to - offset))
  }
}

/** The files as they are when the power goes at ever later places. */
class Disk {
  readonly images: { readonly db: Image; readonly wal: Image }
  readonly trace: Trace
  #next = 0
  #pending: Array<Call> = []

  constructor(db: Buffer, trace: Trace) {
    this.images = { db: new Image(Buffer.from(db), db.length), wal: new Image(Buffer.alloc(1 << 20), 0) }
    this.trace = trace
  }

  /** Everything that had begun by then; what a completed sync covers goes to the image, for good. */
  advance(at: number) {
    const { calls } = this.trace
    for (; this.#next < calls.length && calls[this.#next]!.start <= at; this.#next++) {
      this.#pending.push(calls[this.#next]!)
    }
    for (const file of ["db", "wal"] as const) {
      const syncs = this.#pending.filter((call) => call.kind === "sync" && call.file === file && call.end <= at)
      const covered = Math.max(-1, ...syncs.map(({ start }) => start))
      if (covered < 0) continue
      const isCovered = (call: Call) =>
        call.file === file && (call.kind === "sync" ? call.end <= at : call.end < covered)
      for (const call of this.#pending) if (isCovered(call)) this.images[file].apply(call)
      this.#pending = this.#pending.filter((call) => !isCovered(call))
    }
  }

  /** One of the states that a power cut here could leave. */
  state(random: (below: number) => number) {
    const left = { db: this.images.db.copy(), wal: this.images.wal.copy() }
    for (const file of ["db", "wal"] as const) {
      const fate = fates[random(fates.length)]!
      for (const call of this.#pending) {
        if (call.file !== file || call.kind === "sync" || fate === "nothing") continue
        if (fate === "all" || random(2) === 0) left[file].apply(call)
        else if (fate === "torn" && call.kind === "write") tear(call, random, left[file])
      }
    }
    return left
  }
}

/** How many writes must be there: those that were said to be, or at `normal` those before the last sync of the WAL began. */
const promisedAt = ({ acks, calls }: Trace, durability: Durability, at: number) => {
  const until =
    durability === "normal"
      ? Math.max(
          -1,
          ...calls
            .filter(({ end, file, kind }) => kind === "sync" && file === "wal" && end <= at)
            .map(({ start }) => start),
        )
      : at
  return Math.max(0, ...acks.filter((ack) => ack.at <= until).map(({ n }) => n))
}

export interface PowerCutOptions {
  readonly durability: Durability
  readonly seed: number
  readonly writes: number
  readonly states: number
}

export const powerCut = ({ durability, seed, states, writes }: PowerCutOptions): Verdict => {
  // In memory where there is one: the states are many, and only the engine needs a disk.
  const recording = fs.mkdtempSync(path.join(os.tmpdir(), "seawall-power-"))
  const trying = fs.mkdtempSync(path.join(fs.existsSync("/dev/shm") ? "/dev/shm" : os.tmpdir(), "seawall-power-"))
  try {
    const { db, trace } = record(recording, durability, seed, writes)
    const random = randomOf(seed)
    const [firstCall] = trace.calls
    const from = firstCall?.start ?? 0
    const places = Array.from({ length: states }, () => from + random(trace.length - from)).toSorted((a, b) => a - b)
    const disk = new Disk(db, trace)
    const file = path.join(trying, "test.db")
    let all: Verdict = { ...nothing, runs: 1 }
    for (const [index, at] of places.entries()) {
      disk.advance(at)
      const stateSeed = seed * 1_000_003 + index
      const left = disk.state(randomOf(stateSeed))
      for (const suffix of ["-wal", "-shm"]) fs.rmSync(`${file}${suffix}`, { force: true })
      fs.writeFileSync(file, left.db.bytes.subarray(0, left.db.length))
      if (left.wal.length > 0) fs.writeFileSync(`${file}-wal`, left.wal.bytes.subarray(0, left.wal.length))
      const how = `power cut at ${durability}, --seed ${seed}, state ${index} of ${states}, line ${at} of the trace`
      all = plus(all, judge(file, promisedAt(trace, durability, at), how))
    }
    return all
  } finally {
    fs.rmSync(recording, { recursive: true, force: true })
    fs.rmSync(trying, { recursive: true, force: true })
  }
}
